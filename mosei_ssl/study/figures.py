"""Figures of the report: readable in print, in grey and for the colour-blind."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mosei_ssl.metrics import EMOTIONS, METRIC_LABELS, PREDICTOR_LABELS

# Okabe and Ito's palette without yellow; markers and line styles tell arms apart in grey too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")
_REFERENCES = {
    "all_zero": ("#666666", ":"),
    "train_median": ("#999999", "--"),
    "ridge": ("#444444", "-."),
    "svr": ("#777777", "-"),
    "svr_per_speaker": ("#AAAAAA", (0, (5, 1, 1, 1, 1, 1))),
}
_SETTINGS = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "mosei_ssl",
    "svg.fonttype": "none",
}


def svg(figure: Figure) -> str:
    """Draw a figure as SVG text, the same for the same data.

    Args:
        figure: The figure.

    Returns:
        An ``<svg>`` element.

    Example:
        >>> svg(Figure()).startswith("<svg")
        True
    """
    out = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _style(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """How an arm looks in every figure, whichever other arms are in it."""
    # All arms of the study have a place here, those without a finished cell too.
    number = list(result["curves"]).index(arm)
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _LINES[number % len(_LINES)],
        "markersize": 5,
        "linewidth": 1.6,
    }


def _new(columns: int, rows: int, width: float, height: float, stamp: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return _stamped(figure, stamp), axes


def _legend(figure: Figure, axes: Any) -> None:
    """One legend for all panels, each of which may lack what another has."""
    found: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center",
            ncols=min(4, len(found)),
            frameon=False,
        )


def _stamped(figure: Figure, stamp: str) -> Figure:
    if stamp:
        figure.text(0.5, 0.5, stamp, rotation=25, ha="center", va="center", fontsize=28, alpha=0.15)
    return figure


def _label_axis(axis: Any, budgets: Mapping[str, float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(list(budgets.values()), list(budgets))
    axis.minorticks_off()
    axis.set_xlabel("labelled segments")
    axis.grid(axis="y", linewidth=0.4, alpha=0.6)


def budget_figure(
    result: Mapping[str, Any],
    arms: Sequence[str],
    panels: Sequence[tuple[str, str]],
    *,
    references: bool = True,
    columns: int = 2,
    stamp: str = "",
) -> str:
    """Draw scores against label budget with interval bands.

    Args:
        result: Outcome of `analyse`.
        arms: Arms to draw as lines with bands.
        panels: (metric, emotion or "overall") of each panel.
        references: Whether to draw trivial and classical predictors.
        columns: Panels per row.
        stamp: Text laid over the figure, for synthetic data.

    Returns:
        SVG text.

    Example:
        >>> budget_figure(result, ["ssl"], [("mae", "overall")])  # doctest: +SKIP
    """
    budgets = result["budgets"]
    rows = -(-len(panels) // columns)
    with mpl.rc_context(_SETTINGS):
        figure, axes = _new(columns, rows, 4.0 * columns, 2.9 * rows + 0.5, stamp)
        for axis in axes.flat[len(panels) :]:
            axis.axis("off")
        for axis, (metric, emotion) in zip(axes.flat, panels, strict=False):
            if references:
                _draw_references(axis, result, budgets, metric, emotion)
            for arm in arms:
                _draw_arm(axis, result, budgets, arm, metric, emotion)
            title = METRIC_LABELS[metric] + ("" if emotion == "overall" else f", {emotion}")
            axis.set_title(title, fontsize=10)
            _label_axis(axis, budgets)
        _legend(figure, axes)
        return svg(figure)


def _draw_arm(
    axis: Any,
    result: Mapping[str, Any],
    budgets: Mapping[str, float],
    arm: str,
    metric: str,
    emotion: str,
) -> None:
    by_budget = result["scores"].get(arm, {})
    points = [(budgets[b], by_budget[b][metric][emotion]) for b in budgets if b in by_budget]
    points = [(x, p) for x, p in points if p["value"] is not None]
    if not points:
        return
    x = [x for x, _ in points]
    style = _style(result, arm)
    axis.plot(x, [p["value"] for _, p in points], label=arm, zorder=3, **style)
    bands = [(x, p["low"], p["high"]) for x, p in points if p["low"] is not None]
    if bands:
        axis.fill_between(
            [b[0] for b in bands],
            [b[1] for b in bands],
            [b[2] for b in bands],
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )


def _draw_references(
    axis: Any, result: Mapping[str, Any], budgets: Mapping[str, float], metric: str, emotion: str
) -> None:
    for name, (colour, line) in _REFERENCES.items():
        by_budget = result["scores"].get(name, {})
        points = [
            (budgets[b], by_budget[b][metric][emotion]["value"]) for b in budgets if b in by_budget
        ]
        points = [(x, y) for x, y in points if y is not None]
        if points:
            short = {"svr_per_speaker": "SVR per speaker (sees the speaker)"}
            label = short.get(name, PREDICTOR_LABELS.get(name, name))
            axis.plot(*zip(*points, strict=True), color=colour, linestyle=line, label=label, lw=1)


def difference_figure(result: Mapping[str, Any], metrics: Sequence[str], *, stamp: str = "") -> str:
    """Draw each arm's difference to the baseline with its interval, and the zero line.

    Args:
        result: Outcome of `analyse`.
        metrics: Metrics, one panel each.
        stamp: Text laid over the figure.

    Returns:
        SVG text.

    Example:
        >>> difference_figure(result, ["mae", "accuracy"])  # doctest: +SKIP
    """
    budgets, baseline = result["budgets"], result["baseline"]
    with mpl.rc_context(_SETTINGS):
        figure, axes = _new(len(metrics), 1, 4.0 * len(metrics), 3.1, stamp)
        for axis, metric in zip(axes.flat, metrics, strict=True):
            axis.axhline(0, color="black", linewidth=0.8)
            arms = list(result["differences"])
            for number, arm in enumerate(arms):
                found = result["differences"][arm]
                shift = 1.04 ** (number - (len(arms) - 1) / 2)
                points = [
                    (budgets[b] * shift, found[b][metric]["overall"]) for b in budgets if b in found
                ]
                points = [(x, p) for x, p in points if p["low"] is not None]
                if not points:
                    continue
                y = np.array([p["value"] for _, p in points])
                spread = np.array(
                    [[p["value"] - p["low"], p["high"] - p["value"]] for _, p in points]
                )
                style = {**_style(result, arm), "linestyle": "none"}
                x = [x for x, _ in points]
                axis.errorbar(x, y, yerr=spread.T, label=arm, capsize=3, **style)
            axis.set_title(f"{METRIC_LABELS[metric]}: arm minus {baseline}", fontsize=10)
            _label_axis(axis, budgets)
        _legend(figure, axes)
        return svg(figure)


def curve_figure(
    result: Mapping[str, Any], arms: Sequence[str], metrics: Sequence[str], *, stamp: str = ""
) -> str:
    """Draw the fitted learning curves with the scores that they were fitted to.

    Args:
        result: Outcome of `analyse`.
        arms: Arms to draw.
        metrics: Metrics, one panel each.
        stamp: Text laid over the figure.

    Returns:
        SVG text.

    Example:
        >>> curve_figure(result, ["ssl"], ["mae"])  # doctest: +SKIP
    """
    budgets = result["budgets"]
    values = list(budgets.values())
    inside = np.geomspace(min(values), max(values), 60)
    outside = np.geomspace(max(values), 4 * max(values), 20)
    with mpl.rc_context(_SETTINGS):
        figure, axes = _new(len(metrics), 1, 4.0 * len(metrics), 3.1, stamp)
        for axis, metric in zip(axes.flat, metrics, strict=True):
            for arm in arms:
                fitted = result["curves"].get(arm, {}).get(metric)
                if not fitted:
                    continue
                limit, gain, exponent = (
                    fitted[key]["value"] for key in ("limit", "gain", "exponent")
                )
                style = _style(result, arm)
                points = result["scores"][arm]
                x = [budgets[b] for b in budgets if b in points]
                y = [points[b][metric]["overall"]["value"] for b in budgets if b in points]
                axis.plot(x, y, label=arm, **{**style, "linestyle": "none"})
                for labels, line in ((inside, "-"), (outside, "--")):
                    curve = limit + gain * labels**-exponent
                    axis.plot(labels, curve, color=style["color"], linestyle=line, linewidth=1.2)
            axis.set_title(METRIC_LABELS[metric], fontsize=10)
            _label_axis(axis, budgets)
        _legend(figure, axes)
        return svg(figure)


def savings_figure(result: Mapping[str, Any], metrics: Sequence[str], *, stamp: str = "") -> str:
    """Draw how many labels the baseline needs to match each arm.

    Args:
        result: Outcome of `analyse`.
        metrics: Metrics, one panel each.
        stamp: Text laid over the figure.

    Returns:
        SVG text.

    Example:
        >>> savings_figure(result, ["mae"])  # doctest: +SKIP
    """
    budgets = result["budgets"]
    values = list(budgets.values())
    with mpl.rc_context(_SETTINGS):
        figure, axes = _new(len(metrics), 1, 4.0 * len(metrics), 3.3, stamp)
        for axis, metric in zip(axes.flat, metrics, strict=True):
            axis.plot(values, values, color="black", linewidth=0.8, label="as many labels")
            for arm, by_metric in result["label_savings"].items():
                found = by_metric.get(metric)
                found = {b: p for b, p in (found or {}).items() if p["baseline_labels"] is not None}
                if not found:
                    continue
                style = _style(result, arm)
                x = [budgets[b] for b in found]
                axis.plot(x, [p["baseline_labels"] for p in found.values()], label=arm, **style)
                _draw_savings_ends(axis, x, list(found.values()), style["color"])
            axis.set_title(METRIC_LABELS[metric], fontsize=10)
            _label_axis(axis, budgets)
            axis.set_yscale("log")
            axis.set_yticks(values, list(budgets))
            axis.minorticks_off()
            axis.set_ylabel(f"labels {result['baseline']} needs")
        _legend(figure, axes)
        return svg(figure)


def _draw_savings_ends(
    axis: Any, x: Sequence[float], found: Sequence[Mapping[str, Any]], colour: str
) -> None:
    """Draw the intervals, and a sign at what lies outside the budgets and was cut to them."""
    bands = [
        (at, p["low"], p["high"]) for at, p in zip(x, found, strict=True) if p["low"] is not None
    ]
    if bands:
        axis.fill_between(*zip(*bands, strict=True), color=colour, alpha=0.15, linewidth=0)
    for at, point in zip(x, found, strict=True):
        sign = "≤" if point["below"] else "≥" if point["beyond"] else ""
        if sign:
            place = (at, point["baseline_labels"])
            axis.annotate(
                sign, place, (0, 6), textcoords="offset points", ha="center", color=colour
            )


def emotion_panels(metric: str) -> list[tuple[str, str]]:
    """The six panels of a metric.

    Args:
        metric: The metric.

    Returns:
        (metric, emotion) pairs.

    Example:
        >>> emotion_panels("mae")[0]
        ('mae', 'happy')
    """
    return [(metric, emotion) for emotion in EMOTIONS]


def pretraining_figure(histories: Mapping[str, Mapping[str, Sequence[float]]], stamp: str) -> str:
    """Draw pretraining losses against epochs.

    Args:
        histories: By name of the pretraining: columns of its history, "epoch" among them.
        stamp: Text laid over the figure.

    Returns:
        SVG text.

    Example:
        >>> pretraining_figure({"fold 1": {"epoch": [1], "loss": [0.5]}}, "")[:4]
        '<svg'
    """
    with mpl.rc_context(_SETTINGS):
        figure, axes = _new(1, 1, 6.0, 3.2, stamp)
        axis = axes[0, 0]
        for number, columns in enumerate(histories.values()):
            for key, line in (("loss", "-"), ("val_loss", "--")):
                if key in columns:
                    axis.plot(
                        columns["epoch"],
                        columns[key],
                        color=_COLOURS[number % len(_COLOURS)],
                        linestyle=line,
                        linewidth=1,
                        alpha=0.8,
                    )
        axis.plot([], [], color="black", linestyle="-", label="training")
        axis.plot([], [], color="black", linestyle="--", label="validation")
        axis.set_xlabel("epoch")
        axis.set_ylabel("loss of the pretraining task")
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
        axis.legend(frameon=False)
        return svg(figure)


def reconstruction_figure(
    target: np.ndarray,
    reconstruction: np.ndarray,
    hidden: np.ndarray,
    stamp: str,
) -> str:
    """Draw what a segment was, what was hidden of it, and what the model filled in.

    Args:
        target: [T, F] standardised timesteps.
        reconstruction: [T, F] the model's.
        hidden: [T] bool.
        stamp: Text laid over the figure.

    Returns:
        SVG text.

    Example:
        >>> zeros = np.zeros((4, 2))
        >>> reconstruction_figure(zeros, zeros, np.zeros(4, bool), "")[:4]
        '<svg'
    """
    from mosei_ssl.training.reconstruction import draw_reconstruction

    with mpl.rc_context(_SETTINGS):
        return svg(_stamped(draw_reconstruction(target, reconstruction, hidden), stamp))
