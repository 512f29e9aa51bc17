"""Values that no training could use end as one line and leave no run behind."""

import json

import pytest

from mosei_ssl.cli import main

BAD = {
    "pretrain": [
        ("--epochs", "-3", "--epochs must be at least 1, not -3"),
        ("--epochs", "0", "--epochs must be at least 1"),
        ("--seed", "-1", "--seed must be at least 0"),
        ("--seed", str(2**32), "--seed must be"),
        ("--splits", "[]", "--splits is empty"),
        ("--optimizer.learning-rate", "-1", "--optimizer.learning-rate must be above 0, not -1"),
        ("--optimizer.learning-rate", ".nan", "--optimizer.learning-rate must be above 0"),
        (
            "--optimizer.warmup-fraction",
            "7",
            "--optimizer.warmup-fraction must be at least 0 and at",
        ),
        ("--optimizer.clip-norm", "0", "--optimizer.clip-norm must be above 0"),
        ("--batch-size", "0", "--batch-size must be"),
    ],
    "finetune": [
        ("--epochs", "0", "--epochs must be at least 1"),
        ("--labels", "-1", "--labels must be at least 0"),
        ("--patience", "-1", "--patience must be at least 0"),
        ("--weight-prior", "-1", "--weight-prior must be at least 0"),
        ("--head.dropout", "2", "--head.dropout must be at least 0 and below 1, not 2"),
        ("--optimizer.layer-decay", "2", "--optimizer.layer-decay must be"),
    ],
}


@pytest.mark.parametrize(
    ("verb", "option", "value", "message"),
    [(verb, *case) for verb, cases in BAD.items() for case in cases],
)
def test_a_value_out_of_range_is_one_line_and_leaves_nothing(
    verb, option, value, message, tmp_path, capsys
):
    arm = ["--from-scratch"] if verb == "finetune" else []
    assert main([verb, "--run", str(tmp_path / "r"), option, value, *arm]) == 2
    error = capsys.readouterr().err
    assert f"mosei-ssl {verb}: {message}" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_the_bounds_themselves_are_allowed(tmp_path, capsys):
    line = ["--epochs", "1", "--optimizer.warmup_fraction", "1", "--head.dropout", "0"]
    place = ["--run", str(tmp_path / "r"), "--data-dir", str(tmp_path / "none")]
    assert main(["finetune", "--from-scratch", *place, *line]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.fixture
def cut_pretraining(tmp_path):
    """A pretraining run whose backbone was cut short."""
    run = tmp_path / "pre"
    run.mkdir()
    info = {"format": 2, "kind": "pretrain", "state": "finished"}
    dataset = {"name": "covarep", "fingerprint": "another", "row_period": 0.01}
    (run / "run.json").write_text(json.dumps({**info, "dataset": dataset}))
    (run / "videos.json").write_text("{}")
    (run / "config.yaml").write_text(json.dumps({"backbone": {"hidden_dim": 8}}))
    (run / "backbone.keras").write_bytes(b"PK")
    return run


@pytest.mark.parametrize(
    ("verb", "option", "value", "message"),
    [
        ("pretrain", "--backbone.kind", "foo", "--backbone.kind must be one of"),
        ("pretrain", "--backbone.num-heads", "3", "heads"),
        ("pretrain", "--task.name", "foo", "--task.name must be one of"),
        (
            "pretrain",
            "--task.mask-ratio",
            "7",
            "--task.mask-ratio must be above 0 and below 1, not 7",
        ),
        ("pretrain", "--splits", "[test]", "held-out speakers"),
        ("finetune", "--backbone.kind", "foo", "--backbone.kind must be one of"),
        ("finetune", "--monitor", "val_los", "no score named 'val_los'; there are val_loss, "),
        ("finetune", "--labels", "100000", "label budget 100000 is impossible"),
    ],
)
def test_what_does_not_fit_together_leaves_no_run(
    verb, option, value, message, synthetic_data, tmp_path, capsys
):
    arm = ["--from-scratch"] if verb == "finetune" else []
    place = ["--run", str(tmp_path / "r"), "--data-dir", str(synthetic_data)]
    assert main([verb, *place, option, value, *arm]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_damaged_pretraining_leaves_no_run(cut_pretraining, synthetic_data, tmp_path, capsys):
    place = ["--run", str(tmp_path / "r"), "--data-dir", str(synthetic_data)]
    assert main(["finetune", *place, "--pretrained", str(cut_pretraining)]) == 2
    assert f"{cut_pretraining / 'backbone.keras'} cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
