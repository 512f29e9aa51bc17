"""The export in other readers of SavedModels: OpenVINO, TensorFlow's C API, saved_model_cli."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from children import start_child

from mosei_ssl.serving.signatures import OUTPUTS
from tfds_mosei.schema import EMOTIONS

HERE = Path(__file__).parent


def batch(*lengths):
    draw = np.random.default_rng(3)
    features = draw.normal(scale=3.0, size=(len(lengths), max(lengths), 74)).astype(np.float32)
    features[0, 0, 7] = -np.inf
    return features, np.array(lengths, np.int32)


def served(saved_model, features, length):
    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    answers = signature(features=tf.constant(features), length=tf.constant(length))
    return {name: answers[name].numpy() for name in OUTPUTS}


def test_openvino_reads_it_and_gives_the_same_numbers(saved_model):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    core = openvino.Core()
    whole = core.read_model(str(saved_model))
    # Its CPU device has no strings, so the names of the emotions are left out.
    numbers = [r for r in whole.get_results() if r.output(0).get_any_name() in OUTPUTS]
    model = openvino.Model(numbers, whole.get_parameters(), "emotion")
    # Left to itself it computes in bfloat16 where the processor can.
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", settings)
    for lengths in ((1,), (95, 40), (650,)):
        features, length = batch(*lengths)
        answers = compiled({"features": features, "length": length})
        truth = served(saved_model, features, length)
        for name in OUTPUTS:
            np.testing.assert_allclose(answers[name], truth[name], atol=1e-5)


def saved_model_cli(arguments) -> int:
    """TensorFlow's command of this name."""
    from tensorflow.python.tools import saved_model_cli as command

    sys.argv = ["saved_model_cli", *arguments]
    command.main()
    return 0


@pytest.mark.slow
def test_saved_model_cli_runs_it(saved_model, tmp_path):
    features, length = batch(40, 7)
    np.save(tmp_path / "features.npy", features)
    np.save(tmp_path / "length.npy", length)
    arguments = [
        *("run", "--dir", saved_model, "--tag_set", "serve"),
        *("--signature_def", "serving_default", "--outdir", tmp_path / "out", "--inputs"),
        f"features={tmp_path}/features.npy;length={tmp_path}/length.npy",
    ]
    log = tmp_path / "log"
    child = start_child(saved_model_cli, [*map(str, arguments)], log=log)
    child.join(60)
    assert child.exitcode == 0, log.read_text()
    truth = served(saved_model, features, length)
    for name in OUTPUTS:
        np.testing.assert_allclose(
            np.load(tmp_path / "out" / f"{name}.npy"), truth[name], atol=1e-5
        )
    emotions = np.load(tmp_path / "out" / "emotions.npy", allow_pickle=True)
    assert [name.decode() for name in emotions[0]] == list(EMOTIONS)


@pytest.fixture(scope="session")
def c_program(tmp_path_factory):
    """A C program on the library inside TensorFlow's wheel; nothing of Python is in it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    root = Path(tf.sysconfig.get_lib())
    library = root / "libtensorflow_cc.so.2"
    if not library.exists():
        pytest.skip("this TensorFlow has no libtensorflow_cc")
    program = tmp_path_factory.mktemp("c") / "predict"
    # The library has a gigabyte, over which gold takes a fifth of the time.
    linker = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []
    headers = tf.sysconfig.get_include()
    subprocess.run(
        [
            *(compiler, *linker, "-O1", "-o", program, HERE / "predict.c", "-I", headers),
            *(library, root / "libtensorflow_framework.so.2", f"-Wl,-rpath,{root}"),
        ],
        check=True,
    )
    return program


def names_of(saved_model):
    """Names of the graph's inputs and outputs, which a C program must know."""
    from tensorflow.core.protobuf import saved_model_pb2

    meta = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    definition = meta.meta_graphs[0].signature_def["serving_default"]
    pairs = {**definition.inputs, **definition.outputs}
    return {name: pairs[name].name for name in ("features", "length", "present")}


def run_c(program, saved_model, features, length):
    names = names_of(saved_model)
    shape = (*features.shape, len(length))
    return subprocess.run(
        [program, saved_model, *names.values(), *map(str, shape)],
        input=features.tobytes() + length.tobytes(),
        capture_output=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.mark.slow
def test_c_program_gives_the_same_numbers(c_program, saved_model):
    features, length = batch(40, 7)
    found = run_c(c_program, saved_model, features, length)
    assert found.returncode == 0, found.stderr
    answers = np.array(found.stdout.split(), np.float32).reshape(2, 6)
    truth = served(saved_model, features, length)
    np.testing.assert_allclose(answers, truth["present"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "length", "message"),
    [
        ((1, 5, 73), [5], b"features must be [batch, frames, 74]"),
        ((1, 5, 1), [5], b"features must be [batch, frames, 74]"),
        ((1, 0, 74), [0], b"every length must be from 1"),
        ((2, 5, 74), [5], b"length must be [batch]"),
        ((1, 12_001, 74), [9], b"at most 12000 frames"),
    ],
)
def test_c_program_gets_the_reason(c_program, saved_model, shape, length, message):
    # As in a server, only the graph itself compares shapes here.
    found = run_c(c_program, saved_model, np.zeros(shape, np.float32), np.array(length, np.int32))
    assert found.returncode == 3  # TF_INVALID_ARGUMENT
    assert message in found.stderr
    assert found.stdout == b""
