"""Several devices train as one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax_children
import keras
import numpy as np
import pytest
import replica_process
import tensorflow as tf
from children import start_child

from mosei_ssl.config import PretrainConfig
from mosei_ssl.training import RunDirectory, finetune, pretrain
from mosei_ssl.training.devices import (
    compiled,
    is_deterministic,
    memory_errors_reported,
    share_gpus,
    steps_between_looks,
)
from mosei_ssl.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("quick")

BACKBONE = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16, "dropout": 0}


def runs_of(data: Path, folder: Path, logical_devices: int = 0) -> dict:
    """Options of a process that trains on one device and on two."""
    return {
        "runs": {str(folder / "one"): "none", str(folder / "two"): "mirrored"},
        "config": {"data_dir": str(data), "batch_size": 32, "backbone": BACKBONE, "epochs": 1},
        "logical_devices": logical_devices,
    }


def curve(run) -> np.ndarray:
    """[epochs, 4] losses and errors in training and validation."""
    names = ("loss", "relative_error", "val_loss", "val_relative_error")
    return np.array([[row[name] for name in names] for row in RunDirectory(run).history()])


@pytest.mark.slow
def test_mirrored_on_tensorflow_gives_nearly_the_curve_of_one_device(synthetic_data, tmp_path):
    child = start_child(
        replica_process.main,
        runs_of(synthetic_data, tmp_path, logical_devices=2),
        log=tmp_path / "log",
        # Devices wait for each other in threads of TensorFlow: one would wait for ever.
        environment={"TF_NUM_INTEROP_THREADS": "4"},
    )
    child.join(400)
    assert child.exitcode == 0, (tmp_path / "log").read_text()[-3000:]
    # Each replica takes the mean over its own timesteps, which are not equally many.
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=0.01)


@pytest.fixture(scope="module")
def on_jax(synthetic_data, tmp_path_factory) -> Path:
    """Folder of what processes on JAX have trained: one with two devices, several with one each."""
    folder = tmp_path_factory.mktemp("jax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    jobs = {"replicas": ("replicas", [runs_of(synthetic_data, folder)], 2)}
    for processes, rank in PROCESSES:
        arguments = [str(synthetic_data), str(folder / "w"), address, processes, rank]
        jobs[f"several-{processes}-{rank}"] = ("several", arguments, 1)
    subprocess.run(
        [sys.executable, jax_children.__file__, folder, json.dumps(jobs)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=500,
    )
    return folder


PROCESSES = [(1, 0), (2, 0), (2, 1)]


def assert_ended_well(folder: Path, kind: str) -> None:
    codes = json.loads((folder / "exitcodes.json").read_text())
    for name, code in codes.items():
        if name.startswith(kind):
            assert code == 0, (folder / f"{name}.log").read_text()[-3000:]


@pytest.mark.slow
def test_data_parallel_on_jax_gives_the_curve_of_one_device(on_jax):
    assert_ended_well(on_jax, "replicas")
    np.testing.assert_allclose(curve(on_jax / "two"), curve(on_jax / "one"), rtol=1e-4)


@pytest.mark.slow
def test_two_processes_on_jax_give_the_weights_of_one(on_jax):
    assert_ended_well(on_jax, "several")
    one, first, second = (np.load(on_jax / f"w-{n}-{rank}.npz") for n, rank in PROCESSES)
    for name in one:
        np.testing.assert_allclose(first[name], one[name], atol=1e-5)
        np.testing.assert_array_equal(first[name], second[name])


def test_what_cannot_be_combined_is_told(pretraining):
    with pytest.raises(UserError, match="loss scale of mixed_float16"):
        pretrain(pretraining("run", precision="mixed_float16"), strategy="mirrored")


def test_devices_that_do_not_divide_the_batch_are_told(pretraining, monkeypatch):
    cpu = tf.config.list_logical_devices("CPU")[0]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [cpu] * 3)
    with pytest.raises(UserError, match="batch_size 40 is not divisible by 3"):
        pretrain(pretraining("run"), strategy="mirrored")


def test_a_full_disk_is_told_apart_from_other_errors_of_tensorflow():
    from mosei_ssl.utils.files import storage_errors_reported

    def write():
        with storage_errors_reported(Path("runs/pre"), lambda: "Nothing is lost"):
            raise tf.errors.InternalError(None, None, "events.v2; No space left on device")

    def compute():
        with storage_errors_reported(Path("runs/pre"), lambda: "Nothing is lost"):
            raise tf.errors.InternalError(None, None, "Collective ops is aborted")

    with pytest.raises(UserError, match=r"cannot write to runs/pre: No space left on device\. No"):
        write()
    with pytest.raises(tf.errors.InternalError):
        compute()


def test_gpu_memory_is_settled_before_anything_uses_tensorflow(
    pretraining, finetuning, monkeypatch, gpu
):
    class Reached(Exception):
        pass

    calls = []

    def load(*arguments):
        calls.append("data")
        raise Reached

    monkeypatch.setenv("TF_XLA_FLAGS", "")
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda device, on: calls.append((device, on))
    )
    monkeypatch.setattr("mosei_ssl.training.pretraining.load_pretraining_segments", load)
    monkeypatch.setattr("mosei_ssl.training.finetuning.load_segments", load)
    with pytest.raises(Reached):
        pretrain(pretraining("run"))
    with pytest.raises(Reached):
        finetune(finetuning("run", from_scratch=True))
    assert calls == [(gpu, True), "data"] * 2


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is only listed."""
    listed = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: listed)
    details = {"device_name": "NVIDIA H200"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    return listed[0]


@pytest.mark.parametrize(
    ("options", "steps", "jit", "lengths"),
    [
        ({}, 20_000, "auto", 4),  # Keras then compiles
        ({}, 2_000, False, None),
        ({"deterministic": True}, 20_000, False, None),
        ({"jit_compile": True}, 10, True, 4),
        ({"jit_compile": False}, 20_000, False, None),
        ({"max_lengths": 6}, 20_000, "auto", 6),
    ],
)
def test_long_runs_on_a_gpu_are_compiled_for_few_lengths(options, steps, jit, lengths, gpu):
    config = PretrainConfig(run="run", **options)
    found = compiled(config, steps)
    assert (found.jit_compile, found.max_lengths) == (jit, lengths)
    assert is_deterministic(config) == ("deterministic" in options)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_tensorflow_takes_little_of_a_gpu_and_under_jax_nothing(gpu, backend, monkeypatch):
    if backend == "jax":
        pytest.importorskip("jax", reason="mosei_ssl[jax] is not installed")
    did = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *given: did.append(given))
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda *given: did.append(given)
    )
    share_gpus()
    assert did == [([], "GPU") if backend == "jax" else (gpu, True)]


@pytest.mark.parametrize(("devices", "steps"), [(["cpu:0"], 1), (["gpu:0", "gpu:1"], 32)])
def test_losses_are_looked_at_seldom_on_a_gpu(devices, steps, monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: devices)
    assert steps_between_looks() == steps


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes."),
        tf.errors.InternalError(None, None, "CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("failed to allocate: CUDA_ERROR_OUT_OF_MEMORY"),
    ],
)
def test_a_batch_too_large_for_the_device_is_told(error, pretraining, finetuning, monkeypatch):
    def fit(*arguments, **options):
        raise error

    monkeypatch.setattr(keras.Model, "fit", fit)
    told = r"batch_size 40: give --batch-size 20, with another --run"
    with pytest.raises(UserError, match=told):
        pretrain(pretraining("pre"))
    with pytest.raises(UserError, match=told):
        finetune(finetuning("base", from_scratch=True))
    with pytest.raises(UserError, match="a smaller --max-frames"), memory_errors_reported(1):
        raise error
    with pytest.raises(RuntimeError, match="otherwise"), memory_errors_reported(1):
        raise RuntimeError("otherwise")


@pytest.mark.parametrize("choice", ["auto", True])
def test_xla_is_off_on_tensorflow_unless_chosen(choice, pretraining, finetuning, monkeypatch):
    from tensorflow.python.framework import config

    models, deterministic = [], []

    class Built(Exception):
        pass

    def fit(model, *arguments, **options):
        models.append(model)
        raise Built

    # As in a process of its own, which has not settled this yet.
    monkeypatch.setattr(config, "is_op_determinism_enabled", lambda: bool(deterministic))
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: deterministic.append(True)
    )
    monkeypatch.setattr("mosei_ssl.training.pretraining.fit", fit)
    monkeypatch.setattr("mosei_ssl.training.finetuning.fit", fit)
    with pytest.raises(Built):
        pretrain(pretraining("pre", jit_compile=choice))
    with pytest.raises(Built):
        finetune(finetuning("base", jit_compile=choice, from_scratch=True))
    assert [model.jit_compile for model in models] == [choice is True] * 2
    assert bool(deterministic) == (choice is not True)
