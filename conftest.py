"""Fixtures of the whole suite, some of which examples in docstrings use by their names."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# Fixtures that an example gets if it names them.
MODELS = {"backbone", "emotion_model", "finished_run", "saved_model", "x"}
FILES = {"speech_wav", "synthetic_data", "tmp_path"}
# Without examples, and Beam takes seconds to load.
collect_ignore = ["tfds_mosei/beam_pipeline.py"]


@pytest.fixture(scope="session")
def speech_wav(tmp_path_factory) -> Path:
    """One second of a buzz at 120 Hz, as an audio file."""
    import numpy as np

    soundfile = pytest.importorskip("soundfile")
    path = tmp_path_factory.mktemp("examples") / "speech.wav"
    soundfile.write(
        path, np.sign(np.sin(2 * np.pi * 120 * np.arange(16_000) / 16_000)) / 10, 16_000
    )
    return path


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory) -> Path:
    """A data directory with one prepared dataset: a small synthetic corpus."""
    import tfds_mosei

    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        # To draw the report's page takes longer than all else.
        patch.setattr("tfds_mosei.report_page.render_page", lambda *_: "<html></html>")
        tfds_mosei.build("synthetic", data_dir=folder, size=8)
    return folder


@pytest.fixture
def backbone():
    """A tiny backbone with fresh weights."""
    from mosei_ssl.models import TransformerBackbone

    size = {"hidden_dim": 8, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16}
    return TransformerBackbone([0.0] * 74, [1.0] * 74, **size)


@pytest.fixture
def x() -> dict:
    """A batch of two segments, inputs of models."""
    import numpy as np

    features = np.random.default_rng(0).normal(size=(2, 35, 74)).astype("float32")
    return {"features": features, "padding_mask": np.arange(35) < np.array([[35], [20]])}


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
    (run / "config.yaml").write_text(f"data_dir: {run}/data\nlabels: 8\ncontext: true\n")
    (run / "videos.json").write_text("{}")
    return run


@pytest.fixture(scope="session")
def saved_model(finished_run, tmp_path_factory) -> Path:
    """Its export, NAME/1: for reading only."""
    from mosei_ssl.serving import export

    return export(finished_run, tmp_path_factory.mktemp("saved_models") / "emotion")


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory) -> Iterator[None]:
    """The user's cache is not for tests, whose child processes inherit this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOSEI_SSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def example_names(request, doctest_namespace) -> None:
    """Gives examples, and only them, the files that they name."""
    node = request.node
    if isinstance(node, pytest.DoctestItem):
        code = " ".join(example.source for example in node.dtest.examples)
        names = set(re.findall(r"\w+", code))
        for module in {"keras", "np"} & names:
            doctest_namespace[module] = importlib.import_module({"np": "numpy"}.get(module, module))
        for name in (MODELS | FILES) & names:
            doctest_namespace[name] = request.getfixturevalue(name)
