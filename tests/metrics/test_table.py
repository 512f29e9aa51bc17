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
    write_json,
)


def test_table_shows_every_predictor_metric_and_emotion():
    labels = np.eye(6) * 2
    results = {
        "model": evaluate_predictions(labels, prediction_dict(labels)),
        "all_zero": evaluate_predictions(labels, all_zero(6)),
    }
    out = io.StringIO()
    Console(file=out, width=160).print(metrics_table(results, title="test split"))
    text = out.getvalue()
    for word in ("this model", "all zero", "MAE ↓", "AUROC ↑", "surprise", "test split"):
        assert word in text
    assert "0.333" in text  # all-zero's MAE: one 2 in six values


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
