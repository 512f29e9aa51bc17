"""Preparing a dataset and telling what was found in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mosei_ssl.data.budgets import check_label_budget
from mosei_ssl.utils.errors import UserError


def build_dataset(
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    folds: str | os.PathLike[str] | None = None,
    *,
    synthetic: bool = False,
    size: int | None = None,
    unlabelled: str = "train",
    file_format: str | None = None,
    overwrite: bool = False,
    labels: int | str | None = None,
) -> Group:
    """Prepare a TFDS dataset, or find it prepared, and report what it holds.

    Args:
        data_dir: Where datasets are kept.
        manual_dir: Folder of the corpus; None looks in `data_dir`/downloads/manual.
        folds: Folds file instead of the folder's own.
        synthetic: Make up a small corpus instead.
        size: Number of videos of the made-up corpus.
        unlabelled: Videos of the split "unlabelled": "train", "all" (those in no fold too) or
            "none".
        file_format: "tfrecord" (the default) or "array_record".
        overwrite: Prepare again, even if it is there; the old dataset stays until the new one is
            complete.
        labels: A label budget to check: a number of labelled segments, or "all".

    Returns:
        A rich renderable: where the dataset, its report and its folds are, and what it holds.

    Raises:
        UserError: If options contradict each other, or the train split has fewer labelled
            segments than `labels`.
        tfds_mosei.CorpusError: If the corpus or the folds are not usable.

    Example:
        >>> Console().print(build_dataset("data", "downloads/mosei"))  # doctest: +SKIP
    """
    import tfds_mosei
    from tfds_mosei.report_page import HTML_FILE

    if synthetic and manual_dir is not None:
        raise UserError("--synthetic makes its own corpus: leave out --manual-dir, or --synthetic")
    if size is not None and not synthetic:
        raise UserError("the size can be chosen for the synthetic corpus only")
    if not synthetic and manual_dir is None:
        _check_default_place(Path(data_dir))
    builder = tfds_mosei.build(
        "synthetic" if synthetic else "covarep",
        data_dir=data_dir,
        manual_dir=manual_dir,
        folds=None if folds is None else os.fspath(folds),
        size=size,
        unlabelled=unlabelled,
        file_format=file_format,
        overwrite=overwrite,
    )
    metadata = dict(builder.info.metadata or {})
    if labels is not None:
        check_label_budget(labels, _labelled_segments(metadata, "train"))
    name = builder.builder_config.name
    lines = [f"dataset {name} in {builder.data_dir}"]
    page = Path(builder.data_dir) / HTML_FILE
    if page.is_file():
        lines.append(f"report {page}")
    # Those of the synthetic corpus are as made up as the rest of it.
    if not synthetic and metadata.get("folds"):
        lines.append(f"folds {_folds_place(metadata['folds']['source'], manual_dir, folds)}")
    return Group(*map(Text, lines), *dataset_report(metadata).renderables)


def _folds_place(
    source: str,
    manual_dir: str | os.PathLike[str] | None,
    folds: str | os.PathLike[str] | None,
) -> str:
    """The folds file as a path where that is known; the dataset itself keeps its name only."""
    if folds is not None:
        return os.fspath(folds)
    inside = None if manual_dir is None else Path(manual_dir) / source
    return str(inside) if inside is not None and inside.is_file() else source


def _labelled_segments(metadata: Mapping[str, Any], split: str) -> int:
    levels = metadata["report"]["splits"][split].get("emotion_levels") or {}
    return max((sum(counts) for counts in levels.values()), default=0)


def _check_default_place(data_dir: Path) -> None:
    """Refuse a build without a corpus before TFDS announces it and makes folders."""
    corpus = data_dir / "downloads" / "manual"
    prepared = data_dir / "tfds_mosei" / "covarep"
    if not (corpus.is_dir() and any(corpus.iterdir())) and not prepared.is_dir():
        raise UserError(
            f"which corpus? Give its folder as --manual-dir (nothing is in {corpus}), or "
            "--synthetic for a small made-up one."
        )


def dataset_report(metadata: Mapping[str, Any]) -> Group:
    """Lay out the report that a prepared dataset carries.

    Args:
        metadata: `builder.info.metadata`.

    Returns:
        A rich renderable with one table of splits and the counts of all that was odd.

    Example:
        >>> dataset_report({"synthetic": True}).renderables[0].plain
        'SYNTHETIC data: made up, not speech'
    """
    parts: list[Any] = []
    if metadata.get("synthetic"):
        parts.append(Text("SYNTHETIC data: made up, not speech", style="bold"))
    report = metadata.get("report") or {}
    splits = report.get("splits") or {}
    if splits:
        parts.extend([_size_table(splits), _emotion_table(splits)])
    lines = [
        *_counts("segments dropped", report.get("dropped")),
        *_counts("values clipped", report.get("clipped")),
        *_counts("oddities", report.get("oddities")),
        *_counts("videos", report.get("videos")),
    ]
    for split, counts in (report.get("folds") or {}).items():
        missing = [
            f"{counts[key]} {key.replace('_', ' ')}"
            for key in ("without_labels", "without_features")
            if counts.get(key)
        ]
        if missing:
            lines.append(f"fold {split}: of {counts['videos']} videos {', '.join(missing)}")
    parts.extend(Text(line) for line in lines)
    return Group(*parts)


def _counts(title: str, counts: Mapping[str, int] | None) -> list[str]:
    found = [f"{value} {key.replace('_', ' ')}" for key, value in (counts or {}).items() if value]
    return [f"{title}: {', '.join(found)}"] if found else []


def _size_table(splits: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="splits", title_justify="left")
    for column in ("split", "videos", "segments", "hours", "median s", "longest s"):
        table.add_column(column, justify="left" if column == "split" else "right")
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
    table = Table(title="segments in which each emotion is of level 1 to 3", title_justify="left")
    for column in ("split", *emotions, "none"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, counts in labelled.items():
        levels = counts["emotion_levels"]
        present = [str(sum(levels[emotion][1:])) for emotion in emotions]
        table.add_row(split, *present, str(counts.get("no_emotion", "-")))
    return table
