"""Tables and sentences of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mosei_ssl.metrics import (
    EMOTIONS,
    LOWER_IS_BETTER,
    METRIC_LABELS,
    METRICS,
    PREDICTOR_LABELS,
    format_score,
)
from mosei_ssl.study.cells import Fold
from mosei_ssl.study.config import StudyConfig
from mosei_ssl.study.document import Block, Table


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, an undefined one as a dash.

    Args:
        value: The number.
        digits: Digits after the point.

    Returns:
        Text.

    Example:
        >>> number(0.12345)
        '0.123'
    """
    return format_score(value, digits)


def with_interval(found: Mapping[str, float | None], *, signed: bool = False) -> str:
    """Write an estimate with its interval.

    Args:
        found: "value", "low", "high".
        signed: Whether to write a plus sign.

    Returns:
        Text such as "0.123 [0.100, 0.146]".

    Example:
        >>> with_interval({"value": 0.1, "low": -0.05, "high": 0.25}, signed=True)
        '+0.100 [-0.050, +0.250]'
    """
    texts = []
    for key in ("value", "low", "high"):
        value = found[key]
        text = number(None if value is None else value + 0.0)  # no minus before zero
        texts.append(f"+{text}" if signed and value is not None and value >= 0 else text)
    return texts[0] if found["low"] is None else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def sentences(result: Mapping[str, Any], arm: str, metric: str) -> list[str]:
    """Say in words what the comparison of an arm with the baseline found.

    Args:
        result: Outcome of `analyse`.
        arm: The arm.
        metric: The primary metric.

    Returns:
        Paragraphs.

    Example:
        >>> sentences(result, "ssl", "mae")  # doctest: +SKIP
    """
    found = result["differences"].get(arm)
    if not found:
        return [f"{arm}: no complete budget to compare with {result['baseline']}."]
    # "all" alone reads like "every".
    names = {b: f"all {count:.0f}" if b == "all" else b for b, count in result["budgets"].items()}
    better: list[str] = []
    worse: list[str] = []
    open_: list[str] = []
    for budget, by_metric in found.items():
        point = by_metric[metric]["overall"]
        if point["low"] is None or point["low"] <= 0 <= point["high"]:
            open_.append(names[budget])
        elif (point["value"] < 0) == (metric in LOWER_IS_BETTER):
            better.append(names[budget])
        else:
            worse.append(names[budget])
    label = METRIC_LABELS[metric]
    said = [
        f"{arm} is {word} than {result['baseline']} in {label} at {', '.join(budgets)} labels"
        for word, budgets in (("better", better), ("worse", worse))
        if budgets
    ]
    if open_:
        said.append(f"No difference in {label} can be told at {', '.join(open_)} labels")
    values = "; ".join(
        f"{names[budget]}: {with_interval(by_metric[metric]['overall'], signed=True)}"
        for budget, by_metric in found.items()
    )
    return [f"{'. '.join(said)}. Difference in {label} by budget: {values}."]


def score_tables(result: Mapping[str, Any]) -> list[Block]:
    """One table per metric: predictors by budgets, overall.

    Args:
        result: Outcome of `analyse`.

    Returns:
        The tables.

    Example:
        >>> score_tables(result)  # doctest: +SKIP
    """
    budgets = list(result["budgets"])
    blocks: list[Block] = []
    for metric in METRICS:
        rows = []
        for name, by_budget in result["scores"].items():
            row = [PREDICTOR_LABELS.get(name, name)]
            row += [
                with_interval(by_budget[b][metric]["overall"]) if b in by_budget else "-"
                for b in budgets
            ]
            rows.append(row)
        direction = "lower" if metric in LOWER_IS_BETTER else "higher"
        caption = f"{METRIC_LABELS[metric]} ({direction} is better) by number of labels"
        blocks.append(Table(["predictor", *budgets], rows, caption))
    return blocks


def difference_tables(result: Mapping[str, Any], arm: str) -> list[Block]:
    """Differences of an arm to the baseline, overall and per emotion.

    Args:
        result: Outcome of `analyse`.
        arm: The arm.

    Returns:
        The tables.

    Example:
        >>> difference_tables(result, "ssl")  # doctest: +SKIP
    """
    found = result["differences"][arm]
    rows = []
    for metric in METRICS:
        row = [METRIC_LABELS[metric] + (" (primary)" if metric == result["primary"] else "")]
        for by_metric in found.values():
            point = by_metric[metric]["overall"]
            p = point["p"] if metric == result["primary"] else point["p_holm"]
            row.append(f"{with_interval(point, signed=True)} p {_p(p)}")
        rows.append(row)
    caption = f"{arm} minus {result['baseline']}, overall"
    blocks: list[Block] = [Table(["metric", *found], rows, caption)]
    for metric in dict.fromkeys((result["primary"], "mae", "accuracy")):
        rows = [
            [
                emotion,
                *(
                    f"{with_interval(by_metric[metric][emotion], signed=True)} "
                    f"p {_p(by_metric[metric][emotion]['p_holm'])}"
                    for by_metric in found.values()
                ),
            ]
            for emotion in EMOTIONS
        ]
        caption = f"{arm} minus {result['baseline']}, {METRIC_LABELS[metric]} per emotion"
        blocks.append(Table(["emotion", *found], rows, caption))
    return blocks


def curve_table(result: Mapping[str, Any]) -> Table:
    """Parameters of the fitted curves, with their intervals.

    Args:
        result: Outcome of `analyse`.

    Returns:
        The table.

    Example:
        >>> curve_table(result).header  # doctest: +SKIP
    """
    rows = [
        [
            arm,
            METRIC_LABELS[metric],
            *(with_interval(fitted[key]) for key in ("limit", "gain", "exponent")),
            number(fitted["residual"]),
        ]
        for arm, by_metric in result["curves"].items()
        for metric, fitted in by_metric.items()
        if fitted
    ]
    header = ["arm", "metric", "limit", "gain", "exponent", "rms residual"]
    return Table(header, rows, "Fitted curves; a gain of 0 means that more labels did not help")


def convergence_tables(result: Mapping[str, Any], arm: str) -> list[Block]:
    """Budget of convergence and labels saved by an arm.

    Args:
        result: Outcome of `analyse`.
        arm: The arm.

    Returns:
        The tables.

    Example:
        >>> convergence_tables(result, "ssl")  # doctest: +SKIP
    """
    # Budgets that one of the two lacks say nothing about where they meet.
    beyond = f"beyond {list(result['differences'][arm])[-1]}"
    rows = []
    for metric, found in result["convergence"][arm].items():
        if found:
            texts = [found[key] or beyond for key in ("budget", "low", "high")]
            note = "" if found["ever_differs"] else " (never told apart)"
            rows.append([METRIC_LABELS[metric], texts[0] + note, f"{texts[1]} to {texts[2]}"])
    caption = f"Budget from which on {arm} and {result['baseline']} cannot be told apart"
    blocks: list[Block] = [Table(["metric", "budget", "interval"], rows, caption)]
    savings = {m: f for m, f in result["label_savings"].get(arm, {}).items() if f}
    if savings:
        budgets = list(next(iter(savings.values())))
        rows = [
            [METRIC_LABELS[metric], *(_saving(found[b]) for b in budgets)]
            for metric, found in savings.items()
        ]
        caption = (
            f"Labels that {result['baseline']} needs to match {arm} at each budget; a dash where "
            f"{result['baseline']} does not improve with labels"
        )
        blocks.append(Table(["metric", *budgets], rows, caption))
    return blocks


def _saving(found: Mapping[str, Any]) -> str:
    if found["baseline_labels"] is None:
        return "-"
    value = _within(found, "baseline_labels", "")
    if found["low"] is None:
        return value
    return f"{value} [{_within(found, 'low', 'low_')}, {_within(found, 'high', 'high_')}]"


def _within(found: Mapping[str, Any], key: str, flag: str) -> str:
    """A number of labels, with a sign where it was cut to the budgets."""
    sign = "≤ " if found[f"{flag}below"] else "≥ " if found[f"{flag}beyond"] else ""
    return f"{sign}{found[key]:.0f}"


def data_blocks(config: StudyConfig, folds: Sequence[Fold]) -> list[Block]:
    """The data report: size of every fold and all that was odd.

    Args:
        config: The study.
        folds: Its folds.

    Returns:
        Table and paragraphs.

    Example:
        >>> data_blocks(config, folds)  # doctest: +SKIP
    """
    from mosei_ssl.data import find_dataset, load_prepared

    rows: list[list[str]] = []
    notes: list[str] = []
    for fold in folds:
        data = dataclasses.replace(config.data, dataset=fold.dataset)
        directory = find_dataset(data.data_dir, fold.dataset)
        report = load_prepared(directory, "test", data).metadata.get("report") or {}
        for split, counts in report.get("splits", {}).items():
            levels = counts.get("emotion_levels", {})
            rows.append(
                [
                    fold.name,
                    split,
                    str(counts["videos"]),
                    str(counts["segments"]),
                    f"{counts['hours']:.2f}",
                    *(str(sum(levels[e][1:])) if e in levels else "-" for e in EMOTIONS),
                    str(counts.get("no_emotion", "-")),
                ]
            )
        for title in ("dropped", "clipped", "oddities"):
            found = {k: v for k, v in (report.get(title) or {}).items() if v}
            if found:
                listed = ", ".join(f"{v} {k.replace('_', ' ')}" for k, v in found.items())
                notes.append(f"Fold {fold.name}, {title}: {listed}.")
        for split, counts in (report.get("folds") or {}).items():
            for key in ("without_labels", "without_features"):
                if counts.get(key):
                    notes.append(
                        f"Fold {fold.name}, {split}: {counts[key]} of {counts['videos']} videos "
                        f"{key.replace('_', ' ')}."
                    )
    header = ["fold", "split", "videos", "segments", "hours", *EMOTIONS, "none"]
    caption = "Segments, and those in which each emotion is of level 1 to 3"
    names = ", ".join(f"{f.name}: {f.dataset} (fingerprint {f.fingerprint})" for f in folds)
    return [f"Datasets by fold: {names}.", Table(header, rows, caption), *notes]
