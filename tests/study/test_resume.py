"""A study killed with kill -9 ends in the same numbers as an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys
from mosei_ssl.config import DataConfig
from mosei_ssl.study import StudyConfig, run_study

def run(data_dir, out, workers):
    config = StudyConfig(
        data=DataConfig(data_dir=data_dir, batch_size=8),
        budgets=[8],
        seeds=[0],
        backbone={"kind": "codebook", "hidden_dim": 16, "code_dim": 8},
        pretrain={"task": {"name": "codebook"}, "epochs": 3},
        finetune={"epochs": 3, "min_steps_per_epoch": 4, "patience": 0},
    )
    config.statistics.samples = 100
    result = run_study(config, out, workers=workers)
    assert not result.failed, result.failed

if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], 1)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A script that runs a small study, and the corpus it runs on."""
    import tfds_mosei

    folder = tmp_path_factory.mktemp("study")
    (folder / "program.py").write_text(PROGRAM)
    tfds_mosei.build("synthetic", data_dir=str(folder / "data"), size=6)
    return folder


def start(program, out):
    arguments = [sys.executable, "program.py", str(program / "data"), str(out)]
    return subprocess.Popen(arguments, cwd=program, stderr=subprocess.DEVNULL)


def busy(out):
    """When a cell last began: workers touch its lock before they run it."""
    return max((path.stat().st_mtime_ns for path in (out / "locks").glob("*")), default=0)


def kill(process, out, seconds):
    """Kill a study with kill -9 so many seconds after one of its cells has begun."""
    before = busy(out)
    while busy(out) == before:
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.02)
    time.sleep(seconds)
    assert process.poll() is None, "the study ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def hparams(out):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    found = set()
    for folder in (out / "cells" / "train").rglob("run/hparams"):
        content = EventAccumulator(str(folder)).Reload().PluginTagToContent("hparams")
        started = content[metadata.SESSION_START_INFO_TAG]
        values = metadata.parse_session_start_info_plugin_data(started).hparams
        found.add((values["arm"].string_value, values["fold"].string_value))
    return found


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(program, here, monkeypatch):
    monkeypatch.syspath_prepend(program)
    from program import run

    # Undisturbed and in one process, without workers.
    monkeypatch.setattr("mosei_ssl.study.runner.LocalEngine", lambda *_: here)
    began = time.monotonic()
    run(str(program / "data"), program / "whole", 1)
    duration = time.monotonic() - began
    expected = (program / "whole" / "results.csv").read_bytes()
    assert expected.count(b"\n") > 100
    assert hparams(program / "whole") == {("ssl", "1"), ("baseline", "1")}
    moments = random.Random(int(os.environ.get("MOSEI_SSL_KILL_SEED", "0")))
    out = program / "killed"
    kill(start(program, "killed"), out, moments.uniform(0, 0.5) * duration)
    assert not (out / "results.csv").exists()
    run(str(program / "data"), out, 1)
    assert (out / "results.csv").read_bytes() == expected
    assert "SYNTHETIC" in (out / "report.html").read_text()
