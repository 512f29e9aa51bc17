"""Values that no training could use end as one line and leave no run behind."""

import json

import pytest

from mosei_ssl.cli import main

BAD = {
    "pretrain": [
        ("--epochs", "-3", "epochs must be at least 1, not -3"),
        ("--epochs", "0", "epochs must be at least 1"),
        ("--seed", "-1", "seed must be at least 0"),
        ("--seed", str(2**32), "seed must be"),
        ("--splits", "[]", "splits is empty"),
        ("--checkpoint-steps", "-1", "checkpoint_steps must be at least 0"),
        ("--optimizer.learning-rate", "-1", "optimizer.learning_rate must be above 0, not -1"),
        ("--optimizer.learning-rate", ".nan", "optimizer.learning_rate must be above 0"),
        ("--optimizer.warmup-fraction", "7", "optimizer.warmup_fraction must be at least 0 and at"),
        ("--optimizer.clip-norm", "0", "optimizer.clip_norm must be above 0"),
        ("--data.batch-size", "0", "data.batch_size must be"),
        ("--backbone.clip", "0", "backbone.clip must be above 0"),
        ("--backbone.clip", ".nan", "backbone.clip must be above 0"),
        ("--backbone.epsilon", "0", "backbone.epsilon must be above 0"),
    ],
    "finetune": [
        ("--epochs", "0", "epochs must be at least 1"),
        ("--labels", "0", "labels must be at least 1"),
        ("--patience", "-1", "patience must be at least 0"),
        ("--weight-prior", "-1", "weight_prior must be at least 0"),
        ("--head.dropout", "2", "head.dropout must be at least 0 and below 1, not 2"),
        ("--head.min-crop", "0", "head.min_crop must be above 0 and at most 1"),
        ("--head.label-smoothing", "1.5", "head.label_smoothing must be"),
        ("--optimizer.layer-decay", "2", "optimizer.layer_decay must be"),
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
    place = ["--run", str(tmp_path / "r"), "--data.data_dir", str(tmp_path / "none")]
    assert main(["finetune", "--from-scratch", *place, *line]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.fixture
def cut_pretraining(tmp_path):
    """A pretraining run whose backbone was cut short."""
    run = tmp_path / "pre"
    run.mkdir()
    (run / "run.json").write_text('{"format": 1, "kind": "pretrain", "state": "finished"}')
    (run / "config.yaml").write_text(json.dumps({"backbone": {"hidden_dim": 8}}))
    (run / "backbone.keras").write_bytes(b"PK")
    return run


@pytest.mark.parametrize(
    ("verb", "option", "value", "message"),
    [
        ("pretrain", "--backbone.kind", "foo", "backbone.kind is 'foo'"),
        ("pretrain", "--backbone.num-heads", "3", "heads"),
        ("pretrain", "--task.name", "foo", "task.name 'foo' is unknown"),
        ("pretrain", "--task.mask-ratio", "7", "options of pretraining task 'masked_timestep'"),
        ("pretrain", "--splits", "[test]", "held-out speakers"),
        ("finetune", "--backbone.kind", "foo", "backbone.kind is 'foo'"),
        ("finetune", "--head.kind", "foo", "head.kind is 'foo'"),
        ("finetune", "--monitor", "val_los", "no score named 'val_los'; there are val_loss, "),
        ("finetune", "--labels", "100000", "label budget 100000 is impossible"),
    ],
)
def test_what_does_not_fit_together_leaves_no_run(
    verb, option, value, message, synthetic_data, tmp_path, capsys
):
    arm = ["--from-scratch"] if verb == "finetune" else []
    place = ["--run", str(tmp_path / "r"), "--data.data_dir", str(synthetic_data)]
    assert main([verb, *place, option, value, *arm]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_damaged_pretraining_leaves_no_run(cut_pretraining, synthetic_data, tmp_path, capsys):
    place = ["--run", str(tmp_path / "r"), "--data.data_dir", str(synthetic_data)]
    assert main(["finetune", *place, "--pretrained", str(cut_pretraining)]) == 2
    assert f"{cut_pretraining / 'backbone.keras'} cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
