"""Predictions of runs and presets need neither TensorFlow, TFDS nor JAX."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mosei_ssl import presets
from mosei_ssl.serving import LocalModel

# What is not installed with the package alone; Keras's NumPy backend asks for JAX.
BLOCKED = ("tensorflow", "tensorflow_datasets", "apache_beam", "tensorboard", "jax")
COMMAND = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED}))
from mosei_ssl.cli import console_script
sys.exit(console_script())
"""


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Features of seven seconds, with what real ones hold, in a file."""
    draw = np.random.default_rng(5)
    rows = draw.normal(scale=3, size=(700, 74)).astype("float32")
    rows[draw.random(rows.shape) < 0.02] = -np.inf
    rows[draw.random(rows.shape) < 0.02] = np.nan
    file = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(file, rows)
    return file, rows


@pytest.mark.parametrize("model", ["run", "preset"])
def test_answers_are_those_of_the_export_in_tensorflow(rows, finished_run, saved_model, model):
    file, features = rows
    shipped = presets.find(presets.DEFAULT)
    place, export = {"run": (finished_run, saved_model), "preset": (shipped, shipped / "1")}[model]
    found = run("predict", file, "--model", place, "--context=none", "--format=json", "--full")
    assert found.returncode == 0, found.stderr
    assert not found.stderr
    (record,) = json.loads(found.stdout)
    truth = LocalModel(export)
    answers = truth.predict([features])
    for name in ("present", "expected", "class"):
        given = [emotion[name] for emotion in record["emotions"].values()]
        np.testing.assert_allclose(given, answers[name][0], rtol=0, atol=1e-5)
    here = LocalModel(place)
    assert {key: here.manifest[key] for key in ("run", "dataset", "model")} == {
        key: truth.manifest[key] for key in ("run", "dataset", "model")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("pretrain", "--run", "runs/pre"),
        ("build", "--synthetic"),
        ("predict", "{rows}", "--model", "{saved_model}"),
        ("predict", "{data}"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_all_else_says_what_to_install(
    rows, saved_model, synthetic_data, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    places = {"rows": rows[0], "saved_model": saved_model, "data": synthetic_data}
    found = run(*(word.format(**places) for word in arguments))
    assert found.returncode == 2, found.stderr
    assert "pip install 'mosei_ssl[train]'" in found.stderr
    assert found.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
