"""LiteRT and ONNX answer as the SavedModel does, each in its own runtime.

ONNX of the other backbone: test_golden.py.
"""

import numpy as np
import pytest
import tensorflow as tf

from mosei_ssl.config import CodebookConfig, TransformerConfig
from mosei_ssl.serving.portable import check_formats, to_litert, to_onnx
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError

LENGTHS = (1, 9, 10, 11, 130, 650)
SCORES = ("present", "expected")


def segments():
    draw = np.random.default_rng(5)
    found = [draw.normal(scale=3.0, size=(n, 74)).astype(np.float32) for n in LENGTHS]
    found[3][2, 7] = -np.inf
    found[4][1, 0] = np.nan
    return found


BACKBONES = [
    CodebookConfig(hidden_dim=16, code_dim=12),
    TransformerConfig(hidden_dim=16, num_layers=1, num_heads=2),
]


@pytest.fixture(scope="module", params=BACKBONES, ids=lambda config: config.kind)
def model(request):
    from mosei_ssl.models import EmotionModel, build_backbone

    draw = np.random.default_rng(1)
    backbone = build_backbone(
        request.param,
        mean=draw.normal(size=74),
        std=draw.uniform(0.5, 2.0, size=74),
    )
    built = EmotionModel(backbone)
    for variable in built.trainable_variables:
        variable.assign(variable.numpy() + draw.normal(scale=0.2, size=variable.shape))
    return built


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    """Answers of the exported SavedModel, one segment at a time."""
    from mosei_ssl.serving.signatures import serving_signatures

    folder = str(tmp_path_factory.mktemp("saved_model"))
    tf.saved_model.save(tf.Module(), folder, signatures=serving_signatures(model))
    loaded = tf.saved_model.load(folder)

    def answers(rows):
        inputs = {"features": tf.constant(rows[None]), "length": tf.constant([len(rows)])}
        found = loaded.signatures["serving_default"](**inputs)
        return {name: found[name].numpy() for name in OUTPUTS}

    return answers


def lite(content):
    runtime = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")
    interpreter = runtime.Interpreter(model_content=content, num_threads=1)
    return interpreter.get_signature_runner("serving_default")


@pytest.fixture(scope="module")
def whole(model):
    """Its LiteRT form in float32."""
    return to_litert(model)


@pytest.mark.slow
def test_litert_gives_the_same_numbers(whole, served):
    run = lite(whole)
    for rows in segments():
        answers, truth = run(features=rows[None]), served(rows)
        for name in OUTPUTS:
            np.testing.assert_allclose(answers[name], truth[name], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "precision", "tolerance"),
    [(BACKBONES[0], "float16", 1e-3), (BACKBONES[1], "int8", 4e-2)],
    indirect=["model"],
    ids=["float16", "int8"],
    scope="module",
)
def test_smaller_litert_is_smaller_and_close(model, whole, served, precision, tolerance):
    content = to_litert(model, precision)
    assert len(content) < len(whole)
    run = lite(content)
    # On the whole: what this does to scores is measured on a trained model by the benchmark.
    differences = [
        np.abs(run(features=rows[None])[name] - served(rows)[name])
        for rows in segments()
        for name in SCORES
    ]
    assert np.mean(differences) < tolerance
    assert np.mean(differences) > 0


@pytest.mark.slow
@pytest.mark.parametrize("model", BACKBONES[:1], indirect=True, ids=["codebook"])
def test_onnx_gives_the_same_numbers_in_batches_too(model, served):
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    session = runtime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    length = np.array(LENGTHS, np.int32)
    features = np.full((len(LENGTHS), max(LENGTHS) + 5, 74), np.nan, np.float32)
    for row, rows in zip(features, segments(), strict=True):
        row[: len(rows)] = rows
    values = session.run(names, {"features": features, "length": length})
    together = dict(zip(names, values, strict=True))
    assert together["embedding"].shape == (len(LENGTHS), model.embedding_dim)
    for index, rows in enumerate(segments()):
        truth = served(rows)
        for name in OUTPUTS:
            np.testing.assert_allclose(together[name][index], truth[name][0], atol=1e-5)


def test_unknown_formats_are_refused(emotion_model, tmp_path, monkeypatch):
    from mosei_ssl.serving import export_model

    with pytest.raises(UserError, match="unknown export format 'tflite'; known: litert,"):
        export_model(emotion_model, tmp_path / "emotion", formats=["tflite"])
    assert not (tmp_path / "emotion").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs tf2onnx"):
        check_formats(["onnx"])
