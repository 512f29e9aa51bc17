"""The table and the JSON file."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from mosei_ssl.metrics import (
    all_zero,
    evaluate_predictions,
    format_score,
    json_safe,
    metrics_table,
    prediction_dict,
    verdicts,
    write_json,
)


def test_table_shows_every_predictor_metric_and_emotion():
    labels = np.eye(6) * 2
    results = {
        "model": evaluate_predictions(labels, prediction_dict(labels)),
        "all_zero": evaluate_predictions(labels, all_zero(6)),
    }
    out = io.StringIO()
    table = metrics_table(results, title="test split", per_emotion=True)
    Console(file=out, width=160).print(table)
    text = out.getvalue()
    for word in ("this model", "all zero", "MAE ↓", "AUROC ↑", "surprise", "test split"):
        assert word in text
    assert "0.333" in text  # all-zero's MAE: one 2 in six values


def test_brackets_in_names_are_shown_as_they_are():
    zero = evaluate_predictions(np.eye(6), all_zero(6))
    out = io.StringIO()
    rows = {"ssl (runs[v2]/[/x])": zero, "ridge": zero}
    table = metrics_table(rows, title="corpus[a] split", per_emotion=True)
    Console(file=out, width=160).print(table)
    assert out.getvalue().count("ssl (runs[v2]/[/x])") == 7  # six tables and the sentence
    assert "corpus[a] split" in out.getvalue()


def test_at_80_columns_names_stay_whole_and_the_overall_table_comes_first():
    labels = np.eye(6) * 2
    zero = evaluate_predictions(labels, all_zero(6))
    names = ["baseline, frozen (base200)", "ssl, frozen (ssl200)"]
    results = {**dict.fromkeys(names, zero), "ridge": zero, "all_zero": zero, "train_median": zero}
    out = io.StringIO()
    table = metrics_table(results, title="test split", per_emotion=True)
    Console(file=out, width=80).print(table)
    overall, per_emotion = out.getvalue().split("MAE ↓ per emotion")
    assert overall.startswith("test split\n")
    for name in (*names, "ridge (pooled)"):
        assert f" {name} " in overall
        assert f" {name} " in per_emotion
    # What says the same of every segment tells nothing about emotions.
    for constant in ("all zero", "train median"):
        assert f" {constant} " in overall
        assert constant not in per_emotion
    assert "…" not in per_emotion + overall


def test_scores_per_emotion_are_left_out_unless_asked_for():
    zero = evaluate_predictions(np.eye(6), all_zero(6))
    out = io.StringIO()
    Console(file=out, width=80).print(metrics_table({"ssl": zero, "all_zero": zero}))
    assert "per emotion" not in out.getvalue()
    assert out.getvalue().count("MAE") == 2  # the column, and the sentence below


def test_a_sentence_says_what_a_model_is_not_better_than():
    labels = np.eye(6) * 2
    perfect = evaluate_predictions(labels, prediction_dict(labels))
    zero = evaluate_predictions(labels, all_zero(6))
    level = {**perfect, "overall": {**perfect["overall"], "mae": zero["overall"]["mae"] - 1e-5}}
    assert verdicts({"ssl": perfect, "base": level, "all_zero": zero, "ridge": perfect}) == [
        "ssl is not better than ridge (pooled) in: MAE, 4-class accuracy, Pearson r, "
        "balanced accuracy, AUROC",
        "base is not better than all zero in: MAE; nor than ridge (pooled) in: MAE, "
        "4-class accuracy, Pearson r, balanced accuracy, AUROC",
    ]
    assert verdicts({"ssl": perfect, "all_zero": zero}) == [
        "ssl is better than all zero in every score"
    ]
    # An undefined correlation is beaten by any positive one, not by another undefined one.
    assert "Pearson r" in verdicts({"ssl": zero, "all_zero": zero})[0]
    assert verdicts({"ssl": perfect}) == []


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (float("nan"), "-"), (0.16349, "0.163")])
def test_format_score(value, text):
    assert format_score(value) == text


def test_json_holds_no_nan_and_is_replaced_whole(tmp_path):
    path = tmp_path / "run" / "metrics.json"
    write_json(path, {"old": 1})
    write_json(path, {"mae": np.float32(0.5), "r": np.nan, "n": np.int64(3), "a": np.arange(2)})
    assert json.loads(path.read_text()) == {"mae": 0.5, "r": None, "n": 3, "a": [0, 1]}
    assert [p.name for p in path.parent.iterdir()] == ["metrics.json"]
    assert json_safe((1, float("inf"))) == [1, None]
