"""What was found in a dataset, as tables on the screen."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text


def dataset_report(metadata: Mapping[str, Any]) -> Group:
    """Lay out the report that a prepared dataset carries in `builder.info.metadata`."""
    parts: list[Any] = []
    if metadata["synthetic"]:
        parts.append(Text("SYNTHETIC data, not speech", style="bold"))
    report = metadata["report"]
    parts += [*map(Text, report["taken"])]
    parts += [_size_table(report["splits"]), _emotion_table(report["splits"])]
    lines = [
        *_counts("segments dropped", report["dropped"]),
        *_counts("values clipped", report["clipped"]),
        *_counts("irregularities", report["irregularities"]),
        *_counts("videos", report["videos"]),
    ]
    for split, counts in report["folds"].items():
        missing = {key: counts[key] for key in ("without_labels", "without_features")}
        lines += _counts(f"fold {split}: of {counts['videos']} videos", missing, " ")
    return Group(*parts, *map(Text, lines))


def _counts(title: str, counts: Mapping[str, int], sign: str = ": ") -> list[str]:
    found = [f"{value} {key.replace('_', ' ')}" for key, value in counts.items() if value]
    return [f"{title}{sign}{', '.join(found)}"] if found else []


def _size_table(splits: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("splits", ["videos", "segments", "hours", "median s", "longest s"])
    for split, counts in splits.items():
        seconds = counts.get("seconds", {})
        table.add_row(
            split,
            str(counts["videos"]),
            str(counts["segments"]),
            f"{counts['hours']:.2f}",
            *(f"{seconds[key]:.1f}" if key in seconds else "-" for key in ("median", "max")),
        )
    return table


def _emotion_table(splits: Mapping[str, Mapping[str, Any]]) -> Table:
    labelled = {split: c for split, c in splits.items() if "emotion_levels" in c}
    emotions = list(next(iter(labelled.values()))["emotion_levels"]) if labelled else []
    table = _table("segments in which each emotion is of level 1 to 3", [*emotions, "none"])
    for split, counts in labelled.items():
        present = [str(sum(counts["emotion_levels"][emotion][1:])) for emotion in emotions]
        table.add_row(split, *present, str(counts.get("no_emotion", "-")))
    return table


def _table(title: str, numbers: list[str]) -> Table:
    table = Table("split", title=title, title_justify="left")
    for column in numbers:
        table.add_column(column, justify="right")
    return table
