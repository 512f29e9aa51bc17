"""What is served scores as the model it was exported from."""

import pytest

from mosei_ssl.config import DataConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics import METRICS, evaluate_predictions
from mosei_ssl.serving import evaluate_saved_model
from mosei_ssl.training.evaluation import predict_segments
from tfds_mosei import CorpusError


def test_scores_are_those_of_the_keras_model(saved_model, emotion_model, synthetic_data):
    config = DataConfig(data_dir=str(synthetic_data))
    mean = emotion_model.backbone.standardize.center.numpy()
    segments = load_segments(config, "test", mean).labelled()
    truth = evaluate_predictions(
        segments.emotions, predict_segments(emotion_model, segments, config)
    )
    seen = []
    found = evaluate_saved_model(
        saved_model, config, "test", progress=lambda done, total: seen.append((done, total))
    )
    assert found["segments"] == len(segments) == sum(done for done, _ in seen)
    assert found["trained_on"] == "0123456789"
    assert found["dataset"] == segments.metadata["fingerprint"]
    zero = found["predictors"]["all_zero"]["overall"]
    assert zero["mae"] == pytest.approx(segments.emotions.mean(), abs=1e-5)
    scores = found["predictors"]["model"]
    for metric in METRICS:
        assert scores["overall"][metric] == pytest.approx(truth["overall"][metric], abs=1e-5)
        for emotion, values in truth["per_emotion"].items():
            assert scores["per_emotion"][emotion][metric] == pytest.approx(values[metric], abs=1e-5)


def test_a_missing_dataset_is_reported(saved_model, tmp_path):
    with pytest.raises(CorpusError, match="no prepared dataset"):
        evaluate_saved_model(saved_model, DataConfig(data_dir=str(tmp_path)))
