"""A model trained on real speech is exported, verified, scored and asked over REST and gRPC."""

import os
import subprocess

import numpy as np
import pytest
from quick_runs import padded_to_one_length, quick_runs

from mosei_ssl.config import DataConfig, FinetuneConfig, TransformerConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics import METRICS
from mosei_ssl.serving import LocalModel, connect, evaluate_saved_model, export, verify
from mosei_ssl.serving.model_card import MODEL_CARD
from mosei_ssl.serving.signatures import OUTPUTS


@pytest.fixture(scope="module")
def trained(shared_data, tmp_path_factory):
    """A short fine-tuning on EMO-DB, its metrics, and its data."""
    import tfds_mosei
    from mosei_ssl.training import evaluate, finetune

    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfds_mosei.report_page.render_page", lambda *_: "<html></html>")
        corpus = shared_data / "emodb_covarep"
        tfds_mosei.build("covarep", data_dir=folder / "data", manual_dir=corpus)
    data = DataConfig(data_dir=str(folder / "data"))
    size = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16}
    config = FinetuneConfig(
        run=str(folder / "run"),
        data_dir=str(folder / "data"),
        labels=50,
        from_scratch=True,
        epochs=1,
        min_steps_per_epoch=1,
        backbone=TransformerConfig(**size),
    )
    with quick_runs(), padded_to_one_length():
        finetune(config)
        return folder / "run", evaluate(folder / "run", "test"), data


@pytest.mark.slow
def test_from_real_speech_to_answers(trained, tmp_path, start_server):
    run, metrics, data = trained
    version = export(run, tmp_path / "emotion", licence="CC BY-NC-SA 4.0")
    assert verify(version).manifest["dataset"]["synthetic"] is False
    card = (version / MODEL_CARD).read_text()
    assert "| all | " in card
    assert "CC BY-NC-SA 4.0" in card

    served = evaluate_saved_model(version, data, "test")
    truth = metrics["predictors"]["model"]
    assert served["segments"] == metrics["segments"]
    assert served["dataset"] == served["trained_on"]
    for metric in METRICS:
        assert served["predictors"]["model"]["overall"][metric] == pytest.approx(
            truth["overall"][metric], abs=1e-5
        )

    split = load_segments(data, "test")
    segments = [split.rows(index) for index in range(12)]
    local = LocalModel(version).predict(segments)
    server = start_server(base=tmp_path / "emotion")
    for url in (server.rest, server.grpc):
        with connect(url) as client:
            answers = client.predict(segments)
        for name in OUTPUTS:
            np.testing.assert_allclose(answers[name], local[name], atol=1e-5)
    server.stop()


ONLY_TENSORFLOW = """
import importlib.util, sys
import numpy as np
import tensorflow as tf

assert importlib.util.find_spec("mosei_ssl") is None
inputs = np.load(sys.argv[2])
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
outputs = signature(features=tf.constant(inputs["features"]), length=tf.constant(inputs["length"]))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in outputs.items()})
"""


@pytest.mark.slow
def test_it_answers_where_only_tensorflow_is_installed(saved_model, tmp_path):
    """One of the environments should have the TensorFlow of the server's image."""
    pythons = os.environ.get("MOSEI_SSL_TENSORFLOW_PYTHON")
    if not pythons:
        pytest.skip(
            "set MOSEI_SSL_TENSORFLOW_PYTHON to the python of an environment in which nothing but "
            f"tensorflow was installed, or to several, with {os.pathsep!r} between them"
        )
    rows = np.random.default_rng(0).normal(size=(77, 74)).astype(np.float32)
    np.savez(tmp_path / "in.npz", features=rows[None], length=np.array([77], np.int32))
    files = [saved_model, tmp_path / "in.npz", tmp_path / "out.npz"]
    truth = LocalModel(saved_model).predict([rows])
    for python in pythons.split(os.pathsep):
        subprocess.run([python, "-I", "-c", ONLY_TENSORFLOW, *files], check=True, cwd=tmp_path)
        with np.load(tmp_path / "out.npz") as found:
            for name in OUTPUTS:
                np.testing.assert_allclose(found[name], truth[name], atol=1e-5)
