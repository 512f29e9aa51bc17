"""The walk through all stages: its own options, and which runs it asks for."""

import os
import subprocess
from pathlib import Path

import pytest

WALK = Path(__file__).parents[2] / "scripts" / "walk.sh"

# Stands for the real command, whose verbs are tested elsewhere.
STAND_IN = r"""#!/usr/bin/env bash
echo "$@" >> "$WALKED"
case "$* " in build*--labels\ 999\ *) echo "budget 999 is impossible" >&2; exit 2 ;; esac
while [ $# -gt 0 ]; do
  case "$1" in --run) mkdir -p "$2" ;; --to) mkdir -p "$2/1" ;; esac
  shift
done
"""


@pytest.fixture
def walk(tmp_path):
    command = tmp_path / "bin" / "mosei-ssl"
    command.parent.mkdir()
    command.write_text(STAND_IN)
    command.chmod(0o755)
    walked = tmp_path / "walked"

    def run(*arguments):
        walked.write_text("")
        environment = os.environ | {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "WALKED": str(walked),
        }
        done = subprocess.run(
            ["bash", WALK, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        return done, walked.read_text()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels"], "--labels needs a value"),
        (["--seed", "1", "--manual-dir"], "--manual-dir needs a value"),
        (["--folds", "folds.json"], "--folds goes with --manual-dir"),
        (["--manual-dir", "nowhere"], "--manual-dir nowhere: no such folder"),
    ],
)
def test_a_bad_option_is_one_line(walk, arguments, message):
    done, walked = walk(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not walked


def test_another_seed_gets_runs_of_its_own(walk):
    first, plain = walk("--labels", "50")
    second, seeded = walk("--labels", "50", "--seed", "3", "--epochs", "2")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    for name in ("pre", "ssl50", "base50"):
        assert f"/runs/{name} " in plain
        assert f"/runs/{name} " not in seeded
        assert f"/runs/{name}-seed3" in seeded
    assert "--seed 3" in seeded
    assert "--labels 50" in seeded


def test_the_hint_names_the_version_that_this_run_exported(walk, tmp_path):
    report = tmp_path / "quickstart/synthetic/data/tfds_mosei/synthetic/1.1.0/report.html"
    report.parent.mkdir(parents=True)
    report.touch()
    walk()
    saved = tmp_path / "saved_models" / "synthetic"
    (saved / "2").mkdir()
    done, walked = walk()
    assert f"--model {saved / '1'}\n" in walked
    assert f"mosei-ssl predict INPUT --model {saved / '1'} --format json" in done.stdout
    assert f"SavedModel              {saved / '1'}\n" in done.stdout
    assert f"dataset and its report  {report}\n" in done.stdout


def test_a_budget_that_is_too_large_is_told_before_anything_is_trained(walk):
    done, walked = walk("--labels", "999")
    assert done.returncode == 2
    assert "budget 999 is impossible" in done.stderr
    assert walked.splitlines() == [walked.strip()]
    assert walked.startswith("build ")
