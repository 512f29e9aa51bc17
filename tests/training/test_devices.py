"""Several replicas train as one does; one that dies ends the others with a message."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mosei_ssl.errors import UserError
from mosei_ssl.training import RunDirectory, pretrain
from mosei_ssl.training.devices import open_devices

EPOCHS = 2
TOLERANCE = 1e-4
"""Largest relative difference of any epoch's loss from that of one device."""

PROCESS = Path(__file__).with_name("replica_process.py")


@pytest.fixture
def start(synthetic_data):
    """Starts a process of a training; it is gone when the test ends."""
    processes = []

    def start_process(runs: dict, environment=None, logical_devices=0, die_before=0):
        options = {
            "runs": {str(run): strategy for run, strategy in runs.items()},
            "data": {"data_dir": str(synthetic_data), "batch_size": 16, "max_buckets": 2},
            "backbone": {
                "hidden_dim": 16,
                "num_layers": 1,
                "num_heads": 2,
                "feedforward_dim": 16,
                "dropout": 0.0,
            },
            "epochs": EPOCHS,
            "logical_devices": logical_devices,
            "die_before": die_before,
        }
        process = subprocess.Popen(
            [sys.executable, str(PROCESS), json.dumps(options)],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(start, run, die_before=0):
    """Two workers on this machine; the second one may die."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(config)}
        dies = die_before if index else 0
        workers.append(start({run: "multiworker"}, environment, die_before=dies))
    return workers


def finish(process, seconds: int = 240) -> str:
    _, messages = process.communicate(timeout=seconds)
    assert process.returncode == 0, messages[-3000:]
    return messages


def curve(run) -> np.ndarray:
    """[epochs, 4] losses and errors in training and validation."""
    names = ("loss", "relative_error", "val_loss", "val_relative_error")
    with open(Path(run) / "history.csv", newline="") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


@pytest.mark.slow
def test_replicas_give_the_curve_of_one_device_and_survive_a_dead_worker(start, tmp_path):
    runs = {tmp_path / "one": "none", tmp_path / "mirrored": "mirrored"}
    reference = start(runs, logical_devices=2)

    survivor, victim = start_workers(start, tmp_path / "workers", die_before=4)
    _, messages = survivor.communicate(timeout=240)
    victim.communicate(timeout=60)
    assert victim.returncode == -9
    assert survivor.returncode == 2, messages[-3000:]
    assert "another worker of this run has gone" in messages
    assert RunDirectory(tmp_path / "workers").open().info["state"] == "running"

    for worker in start_workers(start, tmp_path / "workers"):
        finish(worker)
    finish(reference)
    expected = curve(tmp_path / "one")
    np.testing.assert_allclose(curve(tmp_path / "mirrored"), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(curve(tmp_path / "workers"), expected, rtol=TOLERANCE)


@pytest.mark.slow
def test_data_parallel_on_jax_gives_the_curve_of_one_device(start, tmp_path):
    runs = {tmp_path / "one": "none", tmp_path / "two": "mirrored"}
    flags = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    finish(start(runs, flags))
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
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "data.batch_size 16 does not divide by the 3 replicas" in messages
