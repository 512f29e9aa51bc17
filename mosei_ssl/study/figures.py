"""Figures of the report and for papers, readable in print, in grey and for the colour-blind.

What they give is what `finish` makes of them, by default SVG. With `width`, in inches, the whole
figure has that width, as a journal's columns want it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mosei_ssl.metrics import METRIC_LABELS, PREDICTOR_LABELS
from mosei_ssl.utils.svg import svg

# Okabe and Ito's palette, a brown for its yellow; markers and line styles tell arms apart in grey.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C564B"]
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":")
_REFERENCES = {
    "all_zero": ("#666666", ":"),
    "train_median": ("#999999", "--"),
    "ridge": ("#444444", "-."),
    "svr": ("#777777", "-"),
}
_SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# Type of figures that are printed at their own size.
_SMALL = {"font.size": 7, "axes.titlesize": 8, "xtick.labelsize": 6, "ytick.labelsize": 6}

Finish = Callable[[Figure], str]


def _panels(
    items: Sequence[Any],
    draw: Callable[[Any, Any], None],
    stamp: str,
    *,
    columns: int = 0,
    height: float = 3.1,
    extra: float = 0.0,
    share_y: bool = False,
    width: float | None = None,
    finish: Finish | None = None,
) -> str:
    """Draw one panel per item and a legend for all, each of which may lack some entries."""
    columns = columns or len(items)
    rows = -(-len(items) // columns)
    scale = 1.0 if width is None else max(0.6, width / (4.0 * columns))
    size = (width or 4.0 * columns, (height * rows + extra) * scale)
    with mpl.rc_context(_SETTINGS if width is None else {**_SETTINGS, **_SMALL}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
        _stamp(figure, stamp)
        for axis in axes.flat[len(items) :]:
            axis.axis("off")
        found: dict[str, Any] = {}
        for axis, item in zip(axes.flat, items, strict=False):
            draw(axis, item)
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        if found:
            figure.legend(
                list(found.values()),
                list(found),
                loc="outside lower center",
                ncols=min(4 if width is None or width > 5 else 2, len(found)),
                frameon=False,
            )
        return (finish or svg)(figure)


def _stamp(figure: Figure, stamp: str) -> None:
    if stamp:
        figure.text(0.5, 0.5, stamp, rotation=25, ha="center", va="center", fontsize=28, alpha=0.15)


def _style(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """How an arm looks in every figure, whichever other arms are in it."""
    # All arms of the study have a place here, those without a finished run too.
    number = result["arms"].index(arm)
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _LINES[number % len(_LINES)],
        "markersize": 5,
        "linewidth": 1.6,
    }


def _place(budgets: Mapping[str, float], name: str) -> float:
    """Where a budget is on a logarithmic axis; 0 is left of all others."""
    return budgets[name] or min(filter(None, budgets.values())) / 2


def _label_axis(axis: Any, title: str, budgets: Mapping[str, float]) -> None:
    axis.set_title(title)
    axis.set_xscale("log")
    axis.set_xticks([_place(budgets, name) for name in budgets], list(budgets))
    axis.minorticks_off()
    axis.set_xlabel("labelled segments")
    axis.grid(axis="y", linewidth=0.4, alpha=0.6)


def _points(
    result: Mapping[str, Any], by_budget: Mapping[str, Any], metric: str, emotion: str, key: str
) -> list[tuple[float, dict[str, Any]]]:
    """Number of labels and score of each budget where `key` of the score is defined."""
    budgets = result["budgets"]
    points = [
        (_place(budgets, b), by_budget[b][metric][emotion]) for b in budgets if b in by_budget
    ]
    return [(x, p) for x, p in points if p[key] is not None]


def _band(axis: Any, points: Sequence[tuple[float, Mapping[str, Any]]], colour: str) -> None:
    bands = [(x, p["low"], p["high"]) for x, p in points if p["low"] is not None]
    if bands:
        axis.fill_between(*zip(*bands, strict=True), color=colour, alpha=0.15, linewidth=0)


def budget_figure(
    result: Mapping[str, Any],
    arms: Sequence[str],
    panels: Sequence[tuple[str, str]],
    *,
    columns: int = 2,
    stamp: str = "",
    width: float | None = None,
    finish: Finish | None = None,
) -> str:
    """Draw scores against label budget with interval bands; panels are (metric, emotion).

    Panels of one metric have one scale.
    """

    def draw(axis: Any, panel: tuple[str, str]) -> None:
        metric, emotion = panel
        for name, (colour, line) in _REFERENCES.items():
            points = _points(result, result["scores"].get(name, {}), metric, emotion, "value")
            if points:
                x, y = [x for x, _ in points], [p["value"] for _, p in points]
                label = PREDICTOR_LABELS.get(name, name)
                axis.plot(x, y, color=colour, linestyle=line, label=label, lw=1)
        for arm in arms:
            points = _points(result, result["scores"].get(arm, {}), metric, emotion, "value")
            if points:
                style = _style(result, arm)
                x, y = [x for x, _ in points], [p["value"] for _, p in points]
                axis.plot(x, y, label=arm, zorder=3, **style)
                if len(arms) <= 4:  # more would hide each other; differences have intervals, too
                    _band(axis, points, style["color"])
        title = METRIC_LABELS[metric] + ("" if emotion == "overall" else f", {emotion}")
        _label_axis(axis, title, result["budgets"])

    share_y = len({metric for metric, _ in panels}) == 1
    layout: Any = {"share_y": share_y, "width": width, "finish": finish}
    return _panels(panels, draw, stamp, columns=columns, height=2.9, extra=0.5, **layout)


def difference_figure(
    result: Mapping[str, Any],
    metrics: Sequence[str],
    *,
    stamp: str = "",
    width: float | None = None,
    finish: Finish | None = None,
) -> str:
    """Draw each arm's difference to its baseline with its interval, and the zero line."""

    def draw(axis: Any, metric: str) -> None:
        axis.axhline(0, color="black", linewidth=0.8)
        arms = list(result["differences"])
        for number, arm in enumerate(arms):
            points = _points(result, result["differences"][arm], metric, "overall", "low")
            if points:
                shift = 1.04 ** (number - (len(arms) - 1) / 2)
                ends = ("value", "low", "high")
                y, low, high = np.array([[p[key] for key in ends] for _, p in points]).T
                style = {**_style(result, arm), "linestyle": "none"}
                x = [x * shift for x, _ in points]
                axis.errorbar(x, y, yerr=(y - low, high - y), label=arm, capsize=3, **style)
        title = f"{METRIC_LABELS[metric]}: arm minus its baseline"
        _label_axis(axis, title, result["budgets"])

    return _panels(metrics, draw, stamp, width=width, finish=finish)


def savings_figure(result: Mapping[str, Any], metrics: Sequence[str], *, stamp: str = "") -> str:
    """Draw how many labels the baseline needs; a sign marks what was cut to the budgets."""
    budgets = result["budgets"]
    values = list(budgets.values())

    def draw(axis: Any, metric: str) -> None:
        axis.plot(values, values, color="black", linewidth=0.8, label="as many labels")
        for arm, by_metric in result["label_savings"].items():
            found = (by_metric.get(metric) or {}).items()
            points = [(budgets[b], p) for b, p in found if p["baseline_labels"] is not None]
            if not points:
                continue
            style = _style(result, arm)
            x, y = [x for x, _ in points], [p["baseline_labels"] for _, p in points]
            axis.plot(x, y, label=arm, **style)
            _band(axis, points, style["color"])
            for place, (_, point) in zip(zip(x, y, strict=True), points, strict=True):
                sign = "≤" if point["below"] else "≥" if point["beyond"] else ""
                if sign:
                    centred = {"textcoords": "offset points", "ha": "center"}
                    axis.annotate(sign, place, (0, 6), color=style["color"], **centred)
        _label_axis(axis, METRIC_LABELS[metric], budgets)
        axis.set_yscale("log")
        axis.set_yticks(values, list(budgets))
        axis.minorticks_off()
        axis.set_ylabel("labels its baseline needs")

    return _panels(metrics, draw, stamp, height=3.3)


def pretraining_figure(histories: Mapping[str, Mapping[str, Sequence[float]]], stamp: str) -> str:
    """Draw pretraining losses against epochs; histories are columns by name of the pretraining."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axis = figure.subplots()
        _stamp(figure, stamp)
        for number, columns in enumerate(histories.values()):
            colour = _COLOURS[number % len(_COLOURS)]
            style: dict[str, Any] = {"color": colour, "linewidth": 1, "alpha": 0.8}
            for key, line in (("loss", "-"), ("val_loss", "--")):
                if key in columns:
                    axis.plot(columns["epoch"], columns[key], linestyle=line, **style)
        axis.plot([], [], color="black", linestyle="-", label="training")
        axis.plot([], [], color="black", linestyle="--", label="validation")
        axis.set_xlabel("epoch")
        axis.set_ylabel("loss of the pretraining task")
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
        axis.legend(frameon=False)
        return svg(figure)
