"""Scores for people (a table in the terminal) and for programs (JSON)."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mosei_ssl.metrics.scores import LOWER_IS_BETTER, METRICS
from mosei_ssl.utils.files import write_text

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
}

# They say the same of every segment.
_CONSTANT = ("all_zero", "train_median")

# The train median is all zero wherever emotions are rare.
_COMPARED_WITH = ("all_zero", "ridge", "svr")


def format_score(value: float | None) -> str:
    """Write one score with three digits after the point, an undefined one as a dash.

    Examples:
        >>> format_score(0.16349), format_score(None)
        ('0.163', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def metrics_table(
    results: Mapping[str, Mapping[str, Any]], *, title: str = "Scores", per_emotion: bool = False
) -> Group:
    """Put predictors side by side, and below the table what each model is not better than.

    Args:
        results: Outcomes of `evaluate_predictions` by name; known names such as "model" and
            "ridge" are written out.
        title: Heading, for instance "test split, 4662 segments".
        per_emotion: whether a table per metric over emotions follows.

    Returns:
        A rich renderable.

    Examples:
        >>> from mosei_ssl.metrics import all_zero, evaluate_predictions
        >>> scores = evaluate_predictions(np.eye(6), all_zero(6))
        >>> metrics_table({"all_zero": scores}, title="test split").renderables[1].row_count
        1
    """
    arrows = {m: f"{METRIC_LABELS[m]} {'↓' if m in LOWER_IS_BETTER else '↑'}" for m in METRICS}
    parts: list[Table] = []
    varying = {name: s for name, s in results.items() if name not in _CONSTANT}
    emotions = list(next(iter(results.values()))["per_emotion"]) if results else []
    for metric in METRICS if varying and per_emotion else ():
        table = _table(f"{arrows[metric]} per emotion", emotions)
        for name, scores in varying.items():
            cells = [format_score(scores["per_emotion"][e][metric]) for e in emotions]
            table.add_row(Text(_label(name)), *cells)
        parts.append(table)
    # Headings broken at words leave the room of a narrow terminal to the names.
    overall = _table(None, [text.replace(" ", "\n", 1) for text in arrows.values()])
    for name, scores in results.items():
        cells = [format_score(scores["overall"][metric]) for metric in METRICS]
        overall.add_row(Text(_label(name)), *cells)
    return Group(Text(title), overall, *map(Text, verdicts(results)), *parts)


def _label(name: str) -> str:
    return PREDICTOR_LABELS.get(name, name)


def _table(title: str | None, columns: Sequence[str]) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), min_width=60
    )
    table.add_column("predictor", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def verdicts(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say of every model what it is not better than, in the digits that the table shows.

    Examples:
        >>> from mosei_ssl.metrics import all_zero, evaluate_predictions
        >>> scores = evaluate_predictions(np.eye(6), all_zero(6))
        >>> verdicts({"model": scores, "all_zero": scores})[0][:43]
        'this model is not better than all zero in: '
    """
    references = [name for name in _COMPARED_WITH if name in results]
    if not references:
        return []
    lines = []
    for name, scores in results.items():
        if name in PREDICTOR_LABELS and name != "model":
            continue
        worse = {
            _label(other): ", ".join(
                METRIC_LABELS[metric]
                for metric in METRICS
                if not _better(scores["overall"], results[other]["overall"], metric)
            )
            for other in references
        }
        failures = [f"than {other} in: {metrics}" for other, metrics in worse.items() if metrics]
        if failures:
            lines.append(f"{_label(name)} is not better {'; nor '.join(failures)}")
        else:
            others = ", ".join(list(worse)[:-1])
            others = f"{others} and {list(worse)[-1]}".removeprefix(" and ")
            lines.append(f"{_label(name)} is better than {others} in every score")
    return lines


def _better(one: Mapping[str, Any], other: Mapping[str, Any], metric: str) -> bool:
    """Whether a score is better as printed; a correlation that is undefined counts as none."""
    values = [
        0.0 if value is None or not math.isfinite(value) else round(float(value), 3)
        for value in (one[metric], other[metric])
    ]
    return values[0] < values[1] if metric in LOWER_IS_BETTER else values[0] > values[1]


def json_safe(value: Any) -> Any:
    """Nested mappings, sequences, arrays and scalars as JSON can hold them: NaN becomes None.

    Examples:
        >>> json_safe({"a": np.float32(0.5), "b": float("nan")})
        {'a': 0.5, 'b': None}
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return json_safe(value.tolist())
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write anything that `json_safe` takes as JSON that any parser reads, whole or not at all.

    Examples:
        >>> write_json(tmp_path / "metrics.json", {"mae": np.float32(0.5)}).read_text()
        '{\\n  "mae": 0.5\\n}\\n'
    """
    text = json.dumps(json_safe(value), indent=2, sort_keys=True, allow_nan=False)
    write_text(Path(path), text + "\n")
    return Path(path)
