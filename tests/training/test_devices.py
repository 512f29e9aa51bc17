"""Several devices train as one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import one_of_several
import pytest
import replica_process
import tensorflow as tf

from mosei_ssl.training import RunDirectory, finetune, pretrain
from mosei_ssl.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("quick")

# Programs that run once are hardly worth optimising.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
BACKBONE = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16, "dropout": 0}


def train(data: Path, runs: dict, logical_devices: int = 0, **environment) -> None:
    """Runs of these places and strategies, in a process of several devices."""
    config = {"data_dir": str(data), "batch_size": 32, "backbone": BACKBONE, "epochs": 2}
    options = {
        "runs": {str(run): strategy for run, strategy in runs.items()},
        "config": config,
        "logical_devices": logical_devices,
    }
    done = subprocess.run(
        [sys.executable, replica_process.__file__, json.dumps(options)],
        # Devices wait for each other in threads of TensorFlow: one would wait for ever.
        env={**os.environ, "TF_NUM_INTEROP_THREADS": "4", **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def curve(run) -> np.ndarray:
    """[epochs, 4] losses and errors in training and validation."""
    names = ("loss", "relative_error", "val_loss", "val_relative_error")
    return np.array([[row[name] for name in names] for row in RunDirectory(run).history()])


@pytest.mark.slow
def test_mirrored_on_tensorflow_gives_nearly_the_curve_of_one_device(synthetic_data, tmp_path):
    runs = {tmp_path / "one": "none", tmp_path / "two": "mirrored"}
    train(synthetic_data, runs, logical_devices=2)
    # Each replica takes the mean over its own timesteps, which are not equally many.
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=0.01)


@pytest.mark.slow
def test_data_parallel_on_jax_gives_the_curve_of_one_device(synthetic_data, tmp_path):
    runs = {tmp_path / "one": "none", tmp_path / "two": "mirrored"}
    flags = f"--xla_force_host_platform_device_count=2 {QUICK}"
    train(synthetic_data, runs, KERAS_BACKEND="jax", XLA_FLAGS=flags)
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-4)


@pytest.mark.slow
def test_two_processes_on_jax_give_the_weights_of_one(synthetic_data, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, one_of_several.__file__, synthetic_data, tmp_path / "w", address]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK}
    pairs = [(1, 0), (2, 0), (2, 1)]
    children = [
        subprocess.Popen([*command, *map(str, pair)], env=environment, stderr=subprocess.PIPE)
        for pair in pairs
    ]
    for child in children:
        _, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors.decode()[-3000:]
    one, first, second = (np.load(tmp_path / f"w-{n}-{rank}.npz") for n, rank in pairs)
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
    pretraining, finetuning, monkeypatch
):
    class Reached(Exception):
        pass

    calls = []

    def load(*arguments):
        calls.append("data")
        raise Reached

    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
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
