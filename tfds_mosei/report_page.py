"""The data report as files: ``report.json`` and one HTML page with its plots inside."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.utils.files import write_text
from mosei_ssl.utils.svg import svg
from tfds_mosei.report import DURATION_EDGES
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES
from tfds_mosei.segments import DROP_REASONS

JSON_FILE = "report.json"
HTML_FILE = "report.html"
IRREGULARITIES = {
    "unsorted_videos": "videos whose segments are not in order of time",
    "overlapping_neighbours": "neighbouring segments that overlap",
    "negative_starts": "segments that start before 0 s",
    "ends_after_features": "segments that end after the last row",
    "unsorted_rows": "rows that lie before the row before them, sorted by time",
    "gaps_in_rows": "holes between rows",
    "unusable_rows": "rows without usable times, left out",
}
_SENTIMENTS = ("-3", "-2", "-1", "0", "+1", "+2", "+3")
_COLOURS = ("#2b6cb0", "#dd8a1f", "#3b9b5f", "#8a63b8", "#8c96a3")


def write_report(folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
    """Writes the data report of a dataset into its directory."""
    content = {"dataset": name, **metadata}
    write_text(folder / JSON_FILE, json.dumps(content, indent=1) + "\n")
    write_text(folder / HTML_FILE, render_page(name, metadata))


def render_page(name: str, metadata: Mapping[str, Any]) -> str:
    """One HTML page that needs no other file."""
    # Heavy, and needed only at the end of a build.
    import jinja2

    template = importlib.resources.files("tfds_mosei").joinpath("templates/report.html")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined)
    splits = metadata["report"]["splits"]
    plots = {
        "durations": _plot_durations(splits),
        "emotions": _plot_bars(splits, "emotion_levels", "0123", EMOTIONS),
        "sentiment": _plot_bars(splits, "sentiment_histogram", _SENTIMENTS, [""]),
        "columns": _plot_columns(splits),
    }
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        name=name,
        plots=plots,
        reasons=DROP_REASONS,
        irregularities=IRREGULARITIES,
        names=list(FEATURE_NAMES),
        **metadata,
    )


def _figure(width: float, height: float, panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plot_durations(splits: Mapping[str, Any]) -> str:
    figure, (axis,) = _figure(9, 3, 1)
    middles = np.array(DURATION_EDGES[:-1]) + 0.5
    for colour, (split, part) in zip(_COLOURS, splits.items(), strict=False):
        counts = np.array(part.get("duration_histogram", []))
        if len(counts):
            axis.step(middles, counts / counts.sum(), where="mid", color=colour, label=split)
    axis.set_xlabel(f"seconds ({DURATION_EDGES[-1]} and more in the last bin)")
    axis.set_ylabel("share of the split")
    axis.legend(frameon=False)
    return svg(figure)


def _plot_bars(
    splits: Mapping[str, Any], key: str, ticks: Sequence[str], groups: Sequence[str]
) -> str:
    """Shares of what a split counts under a key, group beside group on one axis."""
    labelled = {split: part for split, part in splits.items() if part.get(key)}
    figure, (axis,) = _figure(9.5, 2.8, 1)
    width = 0.8 / max(len(labelled), 1)
    firsts = (len(ticks) + 1) * np.arange(len(groups))
    places = np.add.outer(firsts, np.arange(len(ticks))).ravel()
    for number, (split, part) in enumerate(labelled.items()):
        counts = np.array([part[key][group] if group else part[key] for group in groups])
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shifted = places + (number - (len(labelled) - 1) / 2) * width
        axis.bar(shifted, share.ravel(), width, color=_COLOURS[number], label=split)
    for first, group in zip(firsts + (len(ticks) - 1) / 2, groups, strict=True):
        axis.text(first, 1.03, group, transform=axis.get_xaxis_transform(), ha="center")
    axis.set_xticks(places, [*ticks] * len(groups))
    axis.set_ylabel("share of the split")
    if labelled:
        axis.legend(frameon=False, fontsize=8)
    return svg(figure)


def _plot_columns(splits: Mapping[str, Any]) -> str:
    figure, (shift, missing) = _figure(9.5, 3.4, 2)
    first = "train" if "train" in splits else next(iter(splits))
    train = {key: np.array(value) for key, value in splits[first]["columns"].items()}
    numbers = np.arange(len(FEATURE_NAMES))
    for colour, (split, part) in zip(_COLOURS, splits.items(), strict=False):
        columns = part["columns"]
        if split != first:
            # Columns that hardly vary would make any rounding look like a shift.
            scale = np.maximum(train["std"], 1e-6 + 1e-6 * np.abs(train["mean"]))
            difference = (np.array(columns["mean"]) - train["mean"]) / scale
            shift.plot(numbers, difference, ".-", color=colour, linewidth=0.6, label=split)
        share = np.array(columns["non_finite"]) / max(columns["count"], 1)
        missing.plot(numbers, 100 * share, ".-", color=colour, linewidth=0.6, label=split)
    shift.set_ylabel(f"shift of the mean ({first} std)")
    missing.set_ylabel("not finite (%)")
    starts = [0, 11, 36, 61]
    for axis in (shift, missing):
        axis.set_xticks(starts, [FEATURE_NAMES[start] for start in starts], ha="left")
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    return svg(figure)
