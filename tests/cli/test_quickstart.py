"""The walk through all stages: its own options, and which runs it asks for."""

import re
from pathlib import Path

import numpy as np
import pytest

from mosei_ssl.cli import main, quickstart
from mosei_ssl.metrics import METRICS
from mosei_ssl.utils.errors import UserError

# Validation r, and test predictions that are the truth blurred by so much noise.
SCORES = {"ssl": (0.3, 1.0), "baseline": (0.1, 3.0), "emotion": (0.4, 0.5)}


@pytest.fixture
def walk(tmp_path, monkeypatch, capsys):
    """Runs the verb with stages that do nothing but leave their files behind."""
    monkeypatch.chdir(tmp_path)
    steps = []

    def stage(verb, *line):
        words = list(map(str, line))
        steps.append(" ".join([verb, *words]))
        if verb == "build":
            if "999" in words:
                raise UserError("budget 999 is impossible")
            return "covarep-0123456789"
        if "--to" in words:
            to = Path(words[words.index("--to") + 1])
            (to / str(1 + len(list(to.glob("*"))))).mkdir(parents=True)
        if verb == "finetune":
            keep(Path(words[1]))
        return None

    def keep(run):
        run.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 4, (60, 6)).astype(float)
        found = labels + SCORES[run.name.split("-")[0]][1] * rng.normal(size=labels.shape)
        values = dict.fromkeys(("intensity", "class", "present", "expected"), found.clip(0, 3))
        videos = np.repeat([f"v{number}" for number in range(20)], 3)
        ids = {"video_ids": videos, "speakers": videos}
        np.savez(run / "predictions-test.npz", labels=labels, **ids, **values)
        (run / "metrics.json").write_text('{"labels": 50}')

    def evaluate(run, split):
        overall = dict.fromkeys(METRICS, SCORES[run.name.split("-")[0]][0])
        return {"predictors": {"model": {"overall": overall}}}

    monkeypatch.setattr(quickstart, "run_step", stage)
    monkeypatch.setattr(quickstart, "build", lambda *line: stage("build", *line))
    monkeypatch.setattr("mosei_ssl.training.evaluate", evaluate)

    def run(*arguments):
        steps.clear()
        code = main(["quickstart", *map(str, arguments)])
        return code, list(steps), capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1", "--manual-dir"], "expected one argument"),
        (["--folds", "folds.json"], "--folds goes with"),
        (["--manual-dir", "nowhere"], "nowhere: there is no such folder"),
        (["clips"], "--labels is missing"),
        (["--labels", "50"], "How many labels to use is --budget"),
        (["clips", "--labels", "x.csv", "--manual-dir", "."], "either recordings or --manual-dir"),
    ],
)
def test_a_bad_option_is_one_line(walk, arguments, message):
    code, steps, told = walk(*arguments)
    assert code == 2
    assert told.err.count("\n") == 1
    assert message in told.err
    assert not steps


def test_recordings_go_through_every_stage_and_the_best_on_validation_is_exported(walk):
    code, steps, told = walk("my clips", "--labels", "x.xlsx", "--budget", "50")
    assert code == 0
    verbs = [step.split()[0] for step in steps]
    assert verbs == [
        *["extract", "build", "pretrain"],
        *["finetune"] * 3,
        *["evaluate", "export", "predict"],
    ]
    assert "my clips --out quickstart/my clips/corpus/features.csd" in steps[0]
    assert "--labels x.xlsx" in steps[0]
    assert "--labels 50" in steps[1]
    assert "--splits" not in steps[2]
    assert "runs/covarep-0123456789/emotion-small-50" in steps[-2]
    last = re.search(
        r"With 50 labels: r ([\d.]+) \[.*pretraining changed r by \+([\d.]+) \[", told.out
    )
    assert last, told.out
    assert "(95 % intervals over 20 recordings)" in told.out
    # That of the exported run, with a noise of 0.5; noise of 1 leaves more of the truth than of 3.
    assert float(last[1]) > 0.9
    assert float(last[2]) > 0.2


def test_the_synthetic_corpus_is_said_to_be_and_has_nothing_to_do_with_the_shipped_model(walk):
    _, steps, told = walk()
    assert "SYNTHETIC" in told.out
    assert not any("emotion-small" in step for step in steps)
    assert "--labels 200" in steps[0]


def test_other_options_get_runs_of_their_own_and_an_export_is_not_repeated(walk):
    _, first, _ = walk("--budget", "50")
    _, again, told = walk("--budget", "50")
    _, other, _ = walk("--budget", "50", "--seed", "3", "--epochs", "2")
    assert [step for step in first if step not in again] == [s for s in first if "export" in s]
    assert "Exported before: saved_models/synthetic/1" in told.out
    runs = {word for step in first for word in step.split() if "/runs/" in word}
    assert runs
    assert not runs & {word for step in other for word in step.split()}


def test_a_budget_that_is_too_large_is_told_before_anything_is_trained(walk):
    code, steps, told = walk("--budget", "999")
    assert code == 2
    assert "budget 999 is impossible" in told.err
    assert len(steps) == 1
