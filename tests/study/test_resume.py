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
from mosei_ssl.data import DataConfig
from mosei_ssl.study import StudyConfig, run_study

if __name__ == "__main__":
    config = StudyConfig(
        data=DataConfig(data_dir=sys.argv[1], batch_size=8),
        budgets=[8],
        seeds=[0],
        backbone={"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16},
        pretrain={"epochs": 4},
        finetune={"epochs": 4, "min_steps_per_epoch": 4, "patience": 0},
    )
    config.statistics.samples = 100
    result = run_study(config, sys.argv[2], workers=int(sys.argv[3]))
    assert not result.failed, result.failed
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A script that runs a small study, and the corpus it runs on."""
    import tfds_mosei

    folder = tmp_path_factory.mktemp("study")
    (folder / "program.py").write_text(PROGRAM)
    tfds_mosei.build("synthetic", data_dir=str(folder / "data"), size=6)
    return folder


def start(program, out, workers):
    arguments = [sys.executable, "program.py", "data", str(out), str(workers)]
    return subprocess.Popen(arguments, cwd=program, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_at_three_random_moments_and_resumed(program):
    began = time.monotonic()
    assert start(program, "whole", 1).wait() == 0
    duration = time.monotonic() - began
    expected = (program / "whole" / "results.csv").read_bytes()
    assert expected.count(b"\n") > 100
    moments = random.Random(int(os.environ.get("MOSEI_SSL_KILL_SEED", "0")))
    for _ in range(3):
        process = start(program, "killed", 2)
        try:
            process.wait(moments.uniform(0.25, 0.6) * duration)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert start(program, "killed", 2).wait() == 0
    assert (program / "killed" / "results.csv").read_bytes() == expected
    report = (program / "killed" / "report.html").read_text()
    assert "SYNTHETIC" in report
