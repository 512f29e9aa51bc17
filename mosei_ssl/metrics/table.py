"""Scores for people (a table in the terminal) and for programs (JSON)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from mosei_ssl.metrics.scores import LOWER_IS_BETTER, METRICS

METRIC_LABELS = {
    "mae": "MAE",
    "accuracy": "4-class accuracy",
    "pearson_r": "Pearson r",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
}

PREDICTOR_LABELS = {
    "model": "this model",
    "all_zero": "all zero",
    "train_median": "train median",
    "ridge": "ridge (pooled)",
    "svr": "SVR (pooled)",
    "svr_per_speaker": "SVR, per-speaker standardised (sees the speaker's other clips)",
}


def format_score(value: float | None, digits: int = 3) -> str:
    """Write one score, an undefined one as a dash.

    Args:
        value: Score or None.
        digits: Digits after the point.

    Returns:
        Text such as "0.163" or "-".

    Example:
        >>> format_score(None)
        '-'
    """
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}"


def _arrow(metric: str) -> str:
    return f"{METRIC_LABELS[metric]} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def metrics_table(
    results: Mapping[str, Mapping[str, Any]],
    *,
    title: str = "Scores",
    per_emotion: Sequence[str] = METRICS,
) -> Group:
    """Put predictors side by side: one overall table, then one per metric over emotions.

    Args:
        results: Outcomes of `evaluate_predictions` by name; known names such as "model" and
            "ridge" are written out.
        title: Heading, for instance "test split, 4662 segments".
        per_emotion: Metrics that get a table of their own; empty for none.

    Returns:
        A rich renderable.

    Example:
        >>> from rich.console import Console
        >>> from mosei_ssl.metrics import all_zero, evaluate_predictions
        >>> scores = evaluate_predictions(np.eye(6), all_zero(6))
        >>> Console().print(metrics_table({"all_zero": scores}))  # doctest: +SKIP
    """
    tables = [Table(title=title, title_justify="left")]
    tables[0].add_column("predictor")
    for metric in METRICS:
        tables[0].add_column(_arrow(metric), justify="right")
    for name, scores in results.items():
        cells = [format_score(scores["overall"][metric]) for metric in METRICS]
        tables[0].add_row(PREDICTOR_LABELS.get(name, name), *cells)
    for metric in per_emotion:
        table = Table(title=f"{_arrow(metric)} per emotion", title_justify="left")
        table.add_column("predictor")
        emotions = list(next(iter(results.values()))["per_emotion"]) if results else []
        for emotion in emotions:
            table.add_column(emotion, justify="right")
        for name, scores in results.items():
            cells = [format_score(scores["per_emotion"][e][metric]) for e in emotions]
            table.add_row(PREDICTOR_LABELS.get(name, name), *cells)
        tables.append(table)
    return Group(*tables)


def json_safe(value: Any) -> Any:
    """Replace numpy numbers and arrays by plain ones, and NaN and infinities by None.

    Args:
        value: Nested mappings, sequences, arrays and scalars.

    Returns:
        The same made of dict, list, str, int, float, bool and None only.

    Example:
        >>> json_safe({"a": np.float32(0.5), "b": float("nan")})
        {'a': 0.5, 'b': None}
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return json_safe(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write JSON that any parser reads (no NaN), whole or not at all.

    Args:
        path: File to write; its folder is made.
        value: Anything that `json_safe` takes.

    Returns:
        The path.

    Example:
        >>> write_json("/tmp/metrics.json", {"mae": 0.5}).read_text()  # doctest: +SKIP
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = json.dumps(json_safe(value), indent=2, sort_keys=True, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path
