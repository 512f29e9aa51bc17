"""Fixed inputs give the predictions on file: from Keras, the export, its reload, LiteRT, ONNX."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mosei_ssl.serving import LocalModel, export_model, verify
from mosei_ssl.serving.portable import FORMATS
from mosei_ssl.serving.signatures import OUTPUTS

sys.path.insert(0, str(Path(__file__).parent))
import golden


@pytest.fixture(scope="module")
def truth():
    return {name: np.array(v) for name, v in json.loads(golden.FILE.read_text()).items()}


def check(found, truth):
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], truth[name], atol=1e-5, err_msg=name)


def test_keras_still_says_what_is_on_file(truth):
    check(golden.predictions(), truth)


@pytest.mark.slow
def test_every_way_out_says_what_is_on_file(truth, tmp_path):
    pytest.importorskip("tf2onnx", reason="mosei_ssl[portable] is not installed")
    onnx = pytest.importorskip("onnxruntime", reason="mosei_ssl[portable] is not installed")
    lite = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")
    version = export_model(golden.model(), tmp_path / "golden", formats=["litert", "onnx"])
    assert {FORMATS["litert"], FORMATS["onnx"]} <= set(verify(version).manifest["files"])
    check(LocalModel(version).predict(golden.segments()), truth)

    interpreter = lite.Interpreter(str(version / FORMATS["litert"]), num_threads=1)
    run = interpreter.get_signature_runner()
    answers = [run(features=rows[None]) for rows in golden.segments()]
    check({n: np.concatenate([a[n] for a in answers]) for n in OUTPUTS}, truth)

    session = onnx.InferenceSession(version / FORMATS["onnx"], providers=["CPUExecutionProvider"])
    # In one batch, padded with what must not matter.
    length = np.array(golden.LENGTHS, np.int32)
    features = np.full((len(length), length.max() + 5, 74), np.nan, np.float32)
    for row, rows in zip(features, golden.segments(), strict=True):
        row[: len(rows)] = rows
    found = session.run(list(OUTPUTS), {"features": features, "length": length})
    check(dict(zip(OUTPUTS, found, strict=True)), truth)
