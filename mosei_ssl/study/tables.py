"""Tables and sentences of the report, from the outcome of `analyse`."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mosei_ssl.metrics import EMOTIONS, LOWER_IS_BETTER, METRIC_LABELS, METRICS, PREDICTOR_LABELS
from mosei_ssl.metrics.comparison import score_cell
from mosei_ssl.study.cells import Fold
from mosei_ssl.study.document import Block, Table
from mosei_ssl.study.options import StudyConfig


def with_interval(found: Mapping[str, float | None], *, signed: bool = False) -> str:
    """Write an estimate with its interval; of arms that are the same, no difference.

    >>> with_interval({"value": 0.1, "low": -0.05, "high": 0.25}, signed=True)
    '+0.100 [-0.050, +0.250]'
    >>> with_interval({"value": 0.0, "low": 0.0, "high": 0.0}, signed=True)
    '0.000'
    """
    ends = (found[key] for key in ("value", "low", "high"))
    # No minus before zero.
    rounded = [math.nan if end is None else round(end, 3) + 0.0 for end in ends]
    if signed and rounded == [0.0, 0.0, 0.0]:
        return "0.000"
    return score_cell(rounded, "+" if signed else "")


def _with_p(found: Mapping[str, float | None], key: str = "p_holm") -> str:
    p = found[key]
    text = "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    difference = with_interval(found, signed=True)
    return f"{difference} p {text}" if "[" in difference else difference


def references(result: Mapping[str, Any]) -> str:
    """The arms that others are compared with."""
    return " or ".join(dict.fromkeys(result["against"].values()))


def sentences(result: Mapping[str, Any], arm: str, metric: str) -> str:
    """Say in words what the comparison of an arm with its baseline found."""
    found = result["differences"].get(arm)
    if not found:
        return f"{arm}: no complete label budget to compare with {result['against'][arm]}."
    # "all" alone reads like "every".
    names = {b: f"all {count:.0f}" if b == "all" else b for b, count in result["budgets"].items()}
    verdicts: dict[str, list[str]] = {"better": [], "worse": [], "open": []}
    for budget, by_metric in found.items():
        point = by_metric[metric]["overall"]
        if point["low"] is None or point["low"] <= 0 <= point["high"]:
            verdict = "open"
        else:
            verdict = "better" if (point["value"] < 0) == (metric in LOWER_IS_BETTER) else "worse"
        verdicts[verdict].append(names[budget])
    label, other = METRIC_LABELS[metric], result["against"][arm]
    said = [
        f"{arm} is {word} than {other} in {label} at {', '.join(budgets)} labels"
        for word, budgets in verdicts.items()
        if budgets and word != "open"
    ]
    if verdicts["open"]:
        budgets = ", ".join(verdicts["open"])
        said.append(f"{arm} and {other}: no difference in {label} can be told at {budgets} labels")
    values = "; ".join(
        f"{names[budget]}: {with_interval(by_metric[metric]['overall'], signed=True)}"
        for budget, by_metric in found.items()
    )
    return f"{'. '.join(said)}. Difference in {label} by label budget: {values}."


def score_tables(result: Mapping[str, Any]) -> list[Block]:
    """One table per metric: predictors by label budgets, overall."""
    budgets = list(result["budgets"])
    blocks: list[Block] = []
    for metric in METRICS:
        rows = [
            [
                PREDICTOR_LABELS.get(name, name),
                *(
                    with_interval(found[b][metric]["overall"]) if b in found else "-"
                    for b in budgets
                ),
            ]
            for name, found in result["scores"].items()
        ]
        direction = "lower" if metric in LOWER_IS_BETTER else "higher"
        caption = f"{METRIC_LABELS[metric]} ({direction} is better) by number of labels"
        blocks.append(Table(["predictor", *budgets], rows, caption))
    return blocks


def difference_tables(result: Mapping[str, Any], arm: str) -> list[Block]:
    """Differences of an arm to its baseline, overall and per emotion."""
    found, primary = result["differences"][arm], result["primary"]
    rows = [
        [
            METRIC_LABELS[metric] + (" (primary)" if metric == primary else ""),
            *(
                _with_p(by_metric[metric]["overall"], "p" if metric == primary else "p_holm")
                for by_metric in found.values()
            ),
        ]
        for metric in METRICS
    ]
    caption = f"{arm} minus {result['against'][arm]}, overall"
    blocks: list[Block] = [Table(["metric", *found], rows, caption)]
    for metric in dict.fromkeys((primary, "mae", "accuracy")):
        rows = [
            [emotion, *(_with_p(by_metric[metric][emotion]) for by_metric in found.values())]
            for emotion in EMOTIONS
            # An emotion that neither arm ever finds.
            if any(m[metric][emotion][key] for m in found.values() for key in ("value", "low"))
        ]
        caption = f"{arm} minus {result['against'][arm]}, {METRIC_LABELS[metric]} per emotion"
        blocks.append(Table(["emotion", *found], rows, caption))
    return blocks


def convergence_tables(result: Mapping[str, Any], arm: str) -> list[Block]:
    """Budget of convergence and labels saved by an arm."""
    baseline = result["against"][arm]
    # Budgets that one of the two lacks say nothing about where they meet.
    beyond = f"beyond {list(result['differences'][arm])[-1]}"
    rows = []
    for metric, found in result["convergence"][arm].items():
        if found:
            texts = [found[key] or beyond for key in ("budget", "low", "high")]
            note = "" if found["ever_differs"] else " (never told apart)"
            rows.append([METRIC_LABELS[metric], texts[0] + note, f"{texts[1]} to {texts[2]}"])
    caption = f"Budget from which on {arm} and {baseline} cannot be told apart"
    blocks: list[Block] = [Table(["metric", "budget", "interval"], rows, caption)]
    savings = {m: f for m, f in result["label_savings"].get(arm, {}).items() if f}
    if savings:
        budgets = list(next(iter(savings.values())))
        rows = [
            [METRIC_LABELS[metric], *(_saving(found[b]) for b in budgets)]
            for metric, found in savings.items()
        ]
        caption = (
            f"Labels that {baseline} needs to match {arm} at each budget; a dash where {baseline} "
            "does not improve with labels"
        )
        blocks.append(Table(["metric", *budgets], rows, caption))
    return blocks


def _saving(found: Mapping[str, Any]) -> str:
    """Numbers of labels, with a sign where they were cut to the budgets."""
    texts = []
    for key, flag in (("baseline_labels", ""), ("low", "low_"), ("high", "high_")):
        if found[key] is not None:
            sign = "≤ " if found[f"{flag}below"] else "≥ " if found[f"{flag}beyond"] else ""
            texts.append(f"{sign}{found[key]:.0f}")
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if len(texts) == 3 else "".join(texts) or "-"


def data_blocks(config: StudyConfig, folds: Sequence[Fold]) -> list[Block]:
    """The data report: size of every fold and everything unusual in it."""
    from mosei_ssl.data import load_segments

    rows: list[list[str]] = []
    notes: list[str] = []
    for fold in folds:
        data = dataclasses.replace(config.data, dataset=fold.dataset, context=False)
        report = load_segments(data, "test").metadata["report"]
        for split, counts in report["splits"].items():
            levels = counts.get("emotion_levels", {})
            row = [fold.name, split, counts["videos"], counts["segments"], f"{counts['hours']:.2f}"]
            row += [sum(levels[e][1:]) if e in levels else "-" for e in EMOTIONS]
            rows.append([str(value) for value in (*row, counts.get("no_emotion", "-"))])
        for key in ("dropped", "clipped", "irregularities"):
            found = {k: v for k, v in report[key].items() if v}
            if found:
                listed = ", ".join(f"{v} {k.replace('_', ' ')}" for k, v in found.items())
                notes.append(f"Fold {fold.name}, {key}: {listed}.")
        for split, counts in report["folds"].items():
            notes += [
                f"Fold {fold.name}, {split}: {counts[key]} of {counts['videos']} videos "
                f"{key.replace('_', ' ')}."
                for key in ("without_labels", "without_features")
                if counts[key]
            ]
    header = ["fold", "split", "videos", "segments", "hours", *EMOTIONS, "none"]
    caption = "Segments, and those in which each emotion is of level 1 to 3"
    names = ", ".join(f"{f.name}: {f.dataset} (fingerprint {f.fingerprint})" for f in folds)
    return [f"Datasets by fold: {names}.", Table(header, rows, caption), *notes]
