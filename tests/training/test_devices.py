"""Several replicas train as one does; one that dies ends the others with a message."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import replica_process
import tensorflow as tf
from children import start_child

from mosei_ssl.data import load_segments, make_training_dataset
from mosei_ssl.training import RunDirectory, finetune, pretrain
from mosei_ssl.training.devices import ahead_on_gpu, open_devices
from mosei_ssl.utils.errors import UserError

EPOCHS = 2
TOLERANCE = 1e-4
"""Largest relative difference of any epoch's loss from that of one device."""


def options_of(runs: dict, data: Path, **changes) -> dict:
    """What `replica_process` is to do: runs of these places and strategies, one after another."""
    return {
        "runs": {str(run): strategy for run, strategy in runs.items()},
        "data": {"data_dir": str(data), "batch_size": 16, "max_buckets": 2},
        "backbone": {
            "hidden_dim": 16,
            "num_layers": 1,
            "num_heads": 2,
            "feedforward_dim": 16,
            "dropout": 0.0,
        },
        "epochs": EPOCHS,
        "checkpoint_steps": 2,
        "logical_devices": 0,
        "signal": None,
        **changes,
    }


@pytest.fixture
def start(synthetic_data, tmp_path):
    """Starts a process of a training; it is gone when the test ends."""
    processes = []

    def start_process(runs: dict, environment=None, **changes):
        log = tmp_path / f"log-{len(processes)}"
        options = options_of(runs, synthetic_data, **changes)
        process = start_child(replica_process.main, options, log=log, environment=environment)
        process.log = log
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        if process.is_alive():
            process.kill()
        process.join()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(start, run, second=None):
    """Two workers on this machine; the second one may get a signal."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(config)}
        workers.append(start({run: "multiworker"}, environment, signal=second if index else None))
    return workers


def finish(process, code: int = 0) -> str:
    """Wait for a process and give what it said."""
    process.join(240)
    messages = process.log.read_text()
    assert process.exitcode == code, messages[-3000:]
    return messages


def curve(run) -> np.ndarray:
    """[epochs, 4] losses and errors in training and validation."""
    names = ("loss", "relative_error", "val_loss", "val_relative_error")
    with open(Path(run) / "history.csv", newline="") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def steps(options) -> int:
    """Steps of one epoch."""
    segments = load_segments(options["data"], "train")
    return make_training_dataset(segments, options["data"], seed=0).steps_per_epoch


@pytest.mark.slow
def test_replicas_give_the_curve_of_one_device_and_survive_a_stopped_and_a_dead_worker(
    start, tmp_path, steps
):
    run = tmp_path / "workers"
    runs = {tmp_path / "one": "none", tmp_path / "mirrored": "mirrored"}
    reference = start(runs, logical_devices=2)

    # All stop together, after the last step of an epoch, though only the second was asked to.
    for worker in start_workers(start, run, second=(steps, signal.SIGTERM)):
        assert f"stopped after epoch 1, step {steps}; state saved" in finish(worker)
    with np.load(run / "checkpoints" / "state.npz", allow_pickle=False) as state:
        header = json.loads(str(state["header"]))
    assert (header["epoch"], header["step"]) == (0, steps)

    survivor, victim = start_workers(start, run, second=(4, signal.SIGKILL))
    assert "another worker of this run has gone" in finish(survivor, code=2)
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    assert RunDirectory(run).open().info["state"] == "running"

    for worker in start_workers(start, run):
        finish(worker)
    finish(reference)
    expected = curve(tmp_path / "one")
    np.testing.assert_allclose(curve(tmp_path / "mirrored"), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(curve(run), expected, rtol=TOLERANCE)


@pytest.mark.slow
def test_data_parallel_on_jax_gives_the_curve_of_one_device(synthetic_data, tmp_path):
    runs = {tmp_path / "one": "none", tmp_path / "two": "mirrored"}
    # Compiling is most of the time, and its result runs a few steps only: one shape will do.
    options = options_of(runs, synthetic_data)
    options["data"]["max_buckets"] = 1
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [
            sys.executable,
            replica_process.__file__,
            json.dumps(options),
        ],
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=TOLERANCE)


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}']
)
def test_a_missing_or_bad_tf_config_is_told_with_an_example(text, pretraining, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"TF_CONFIG on every worker.*host1:3333"):
        pretrain(pretraining("run"), strategy="multiworker")


def test_what_cannot_be_combined_is_told(pretraining):
    with open_devices("mirrored", 16) as devices:
        assert devices.replicas == 1
    with pytest.raises(UserError, match="loss scale of mixed_float16"):
        pretrain(pretraining("run", precision="mixed_float16"), strategy="mirrored")


def test_replicas_that_do_not_divide_the_batch_are_told(start, tmp_path):
    process = start({tmp_path / "run": "mirrored"}, logical_devices=3)
    assert "data.batch_size 16 does not divide by the 3 replicas" in finish(process, code=2)


def test_a_full_disk_is_not_taken_for_a_worker_that_has_gone():
    from mosei_ssl.utils.files import storage_errors_told

    def write():
        with storage_errors_told(Path("runs/pre"), lambda: "Nothing is lost"):
            raise tf.errors.InternalError(None, None, "events.v2; No space left on device")

    def compute():
        with storage_errors_told(Path("runs/pre"), lambda: "Nothing is lost"):
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


def test_batches_are_put_on_a_gpu_ahead_and_are_the_same(monkeypatch):
    batches = tf.data.Dataset.from_tensor_slices(np.arange(5.0))
    assert ahead_on_gpu(batches) is batches
    # The CPU stands in for a device to copy to.
    cpu = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: cpu)
    ahead = ahead_on_gpu(batches)
    assert ahead is not batches
    np.testing.assert_array_equal(list(ahead.as_numpy_iterator()), np.arange(5.0))


@pytest.mark.parametrize("choice", ["auto", True, False])
def test_xla_is_off_on_tensorflow_unless_chosen(choice, pretraining, finetuning, monkeypatch):
    from tensorflow.python.framework import config

    models, deterministic = [], []

    class Built(Exception):
        pass

    def train(model, *arguments):
        models.append(model)
        raise Built

    # As in a process of its own, which has not settled this yet.
    monkeypatch.setattr(config, "is_op_determinism_enabled", lambda: bool(deterministic))
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: deterministic.append(True)
    )
    monkeypatch.setattr("mosei_ssl.training.pretraining.train", train)
    monkeypatch.setattr("mosei_ssl.training.finetuning.train", train)
    with pytest.raises(Built):
        pretrain(pretraining("pre", jit_compile=choice))
    with pytest.raises(Built):
        finetune(finetuning("base", jit_compile=choice, from_scratch=True))
    assert [model.jit_compile for model in models] == [choice is True] * 2
    assert bool(deterministic) == (choice is not True)
