"""Fixtures that every room of the test suite may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED = Path(os.environ.get("MOSEI_SSL_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no core waits for one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not present: {SHARED} (set MOSEI_SSL_SHARED to its place)")
    return SHARED


@pytest.fixture(scope="session")
def voice():
    """1.5 s of a synthetic voice at 125 Hz (period 128 samples)."""
    from voices import pulse_train

    return pulse_train(125.0, 1.5)


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The corpora in MOSEI's layout: ravdess_covarep, emodb_covarep and others."""
    return shared / "data"


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory) -> Path:
    """A data directory with one prepared dataset: a small synthetic corpus."""
    import tfds_mosei

    folder = tmp_path_factory.mktemp("data")
    tfds_mosei.build("synthetic", data_dir=folder, size=8)
    return folder


@pytest.fixture(scope="session")
def emotion_model():
    """A tiny emotion model whose answers differ from segment to segment."""
    import numpy as np

    from mosei_ssl.config import TransformerConfig
    from mosei_ssl.models import EmotionModel, build_backbone

    draw = np.random.default_rng(0)
    backbone = build_backbone(
        TransformerConfig(hidden_dim=16, num_layers=1, num_heads=2, feedforward_dim=16),
        mean=draw.normal(size=74),
        std=draw.uniform(0.5, 2.0, size=74),
    )
    model = EmotionModel(backbone)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + draw.normal(scale=0.2, size=variable.shape))
    return model


@pytest.fixture(scope="session")
def finished_run(emotion_model, tmp_path_factory) -> Path:
    """The directory of a finished fine-tuning run of that model."""
    import json

    run = tmp_path_factory.mktemp("runs") / "ssl8"
    run.mkdir()
    emotion_model.save(run / "model.keras")
    info = {
        "format": 2,
        "kind": "finetune",
        "state": "finished",
        "seed": 3,
        "backend": "tensorflow",
        "dataset": {"name": "covarep-0123456789", "version": "1.0.0", "fingerprint": "0123456789"},
        "command": "mosei-ssl finetune",
        "result": {"arm": "ssl", "labels": 8, "epoch": 1},
        "versions": {"mosei_ssl": "0.1.0"},
    }
    (run / "run.json").write_text(json.dumps(info))
    return run


@pytest.fixture(scope="session")
def saved_model(finished_run, tmp_path_factory) -> Path:
    """Its export, NAME/1: for reading only."""
    from mosei_ssl.serving import export

    return export(finished_run, tmp_path_factory.mktemp("saved_models") / "emotion")
