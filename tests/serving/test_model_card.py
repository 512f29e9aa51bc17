"""The model card says what is known, and what is not."""

import json

import numpy as np
import pytest

import tfds_mosei
from mosei_ssl.serving import model_card
from mosei_ssl.serving.manifest import stamp
from mosei_ssl.serving.model_card import LABELS, MODEL_CARD, score_rows, write_model_card
from mosei_ssl.utils.errors import UserError
from tfds_mosei.prepared import train_seconds

PROVENANCE = {
    "run": {"name": "ssl200", "seed": 1, "result": {"arm": "ssl", "labels": 200}},
    "dataset": {"name": "covarep-0123456789", "fingerprint": "0123456789", "synthetic": False},
    "model": {"backbone": "TransformerBackbone", "parameters": 12345},
}


def test_exported_card_names_its_origin(saved_model):
    text = (saved_model / MODEL_CARD).read_text()
    assert "# emotion" in text
    assert "fine-tuned on 8 labelled segments" in text
    assert "`covarep-0123456789`" in text
    assert "had not been evaluated" in text
    assert "not stated at export" in text
    assert (saved_model / LABELS).read_text().split() == [
        "happy",
        "sad",
        "anger",
        "surprise",
        "disgust",
        "fear",
    ]


def test_rates_of_the_recordings_are_told_where_they_are_known(tmp_path):
    for rates, told in (
        ({"8000": 3, "48000": 60}, "their sampling rate: 3 at 8000 Hz, 60 at 48000 Hz.\n"),
        ({}, "At which rate the training recordings were sampled is not known.\n"),
    ):
        dataset = PROVENANCE["dataset"] | {"sampling_rates": rates}
        card = write_model_card(tmp_path, "emotion", PROVENANCE | {"dataset": dataset} | stamp())
        assert told in card.read_text()


def scored(videos=12, per_video=5):
    draw = np.random.default_rng(0)
    ids = np.repeat([f"v{i}" for i in range(videos)], per_video)
    labels = draw.integers(0, 4, size=(len(ids), 6)).astype(np.float32)
    guess = np.clip(labels + draw.integers(-1, 2, size=labels.shape), 0, 3)
    predictions = {name: guess.astype(np.float32) for name in ("intensity", "present", "expected")}
    return ids, labels, {**predictions, "class": guess.astype(np.int32)}


def test_intervals_hold_the_score_and_shrink_with_more_recordings(monkeypatch):
    def mae(rows):
        value, low, high = rows[-1][1].replace("[", "").replace("]", "").replace(",", "").split()
        return float(value), float(low), float(high)

    # Fewer resamples than in a card: what is compared here differs by more than their noise.
    monkeypatch.setattr(model_card, "RESAMPLES", 150)
    few, many = score_rows(*scored(8)), score_rows(*scored(80))
    assert [row[0] for row in few] == [
        "happy",
        "sad",
        "anger",
        "surprise",
        "disgust",
        "fear",
        "all",
    ]
    for value, low, high in (mae(few), mae(many)):
        assert low <= value <= high
    _, labels, predictions = scored(8)
    assert mae(few)[0] == pytest.approx(
        np.abs(predictions["intensity"] - labels).mean(), abs=0.0006
    )
    assert float(few[-1][6]) == pytest.approx(labels.mean(), abs=0.0006)
    assert mae(many)[2] - mae(many)[1] < 0.6 * (mae(few)[2] - mae(few)[1])


def test_card_shows_scores_beside_all_zero(tmp_path):
    ids, labels, predictions = scored()
    same = {"video_ids": ids, "speakers": ids}
    np.savez(tmp_path / "predictions-test.npz", labels=labels, **same, **predictions)
    card = write_model_card(
        tmp_path,
        "emotion",
        {**stamp(), **PROVENANCE},
        tmp_path / "predictions-test.npz",
        "CC BY-NC-SA 4.0",
    )
    text = card.read_text()
    assert "On the test split: 60 segments of 12 recordings" in text
    assert "| fear | " in text
    assert "Licence of the data: CC BY-NC-SA 4.0" in text
    assert "SYNTHETIC" not in text
    assert "not been evaluated" not in text


def test_synthetic_is_called_synthetic(tmp_path):
    made_up = {**PROVENANCE, "dataset": {"name": "synthetic-1", "synthetic": True}}
    text = write_model_card(tmp_path, "toy", {**stamp(), **made_up}).read_text()
    assert "Made from SYNTHETIC data" in text


def test_lengths_are_those_of_the_training_segments_or_left_out(tmp_path):
    unknown = write_model_card(tmp_path, "x", {**stamp(), **PROVENANCE}).read_text()
    assert "of one speaker, 0.01 to 120 s long.\n\n## Limits" in unknown
    dataset = {**PROVENANCE["dataset"], "train_seconds": {"median": 2.31, "longest": 5.06}}
    known = write_model_card(tmp_path, "x", {**stamp(), **PROVENANCE, "dataset": dataset})
    assert "last 2.3 s in the median and 5.1 s at most" in known.read_text()


def test_lengths_come_from_the_dataset_that_was_trained_on(synthetic_data, tmp_path):
    directory = tfds_mosei.find_prepared(synthetic_data)
    metadata = json.loads((directory / "metadata.json").read_text())
    found = train_seconds(synthetic_data, {"fingerprint": metadata["fingerprint"]})
    seconds = metadata["report"]["splits"]["train"]["seconds"]
    assert found == {
        "median": pytest.approx(seconds["median"], abs=0.01),
        "longest": pytest.approx(seconds["max"], abs=0.01),
    }
    assert train_seconds(synthetic_data, {"fingerprint": "0123456789"}) is None
    assert train_seconds(tmp_path, {}) is None


def test_damaged_predictions_are_reported(tmp_path):
    (tmp_path / "predictions-test.npz").write_bytes(b"PK junk")
    with pytest.raises(UserError, match="evaluate the run again"):
        write_model_card(
            tmp_path, "x", {**stamp(), **PROVENANCE}, tmp_path / "predictions-test.npz"
        )
