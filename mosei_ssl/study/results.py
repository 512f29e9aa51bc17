"""Collecting cells: the CSV of all scores, and the sums that statistics need."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosei_ssl.metrics import EMOTIONS, METRICS
from mosei_ssl.study.cells import Cell
from mosei_ssl.study.video_sums import VideoSums, video_sums

HEADER = ("arm", "labels", "budget", "fold", "seed", "metric", "emotion", "value")


def write_results(out: Path, cells: Sequence[Cell]) -> Path:
    """Write one row per finished cell and metric; no timings, so that repeats are identical.

    Args:
        out: The study's folder.
        cells: The grid.

    Returns:
        Path of results.csv.

    Example:
        >>> write_results(Path("study"), cells)  # doctest: +SKIP
        PosixPath('study/results.csv')
    """
    rows = []
    for cell in cells:
        result = cell.finished(out)
        if result is None or "metrics" not in result:
            continue
        for name, scores in result["metrics"].items():
            arm = cell.arm or name
            for emotion in ("overall", *EMOTIONS):
                values = (
                    scores["overall"] if emotion == "overall" else scores["per_emotion"][emotion]
                )
                for metric in METRICS:
                    value = values[metric]
                    text = "" if value is None else f"{value:.6f}"
                    place = (arm, result["labels"], cell.budget, cell.fold, cell.seed)
                    rows.append((*place, metric, emotion, text))
    rows.sort()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    path = out / "results.csv"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text.getvalue(), encoding="utf-8")
    os.replace(temporary, path)
    return path


def collect_sums(
    out: Path, cells: Sequence[Cell], seeds: Sequence[int]
) -> tuple[dict[str, dict[str, dict[tuple[str, int], VideoSums]]], list[str]]:
    """Reduce every finished cell's test predictions to sums per video.

    Budgets of an arm that lack a fold or seed are left out, so that comparisons stay paired.

    Args:
        out: The study's folder.
        cells: The grid.
        seeds: Seeds in order; sums are keyed by their numbers.

    Returns:
        Sums by arm, budget and (fold, number of the seed); and "arm at budget" of what was left
        out.

    Example:
        >>> sums, missing = collect_sums(Path("study"), cells, [0, 1])  # doctest: +SKIP
    """
    sums: dict[str, dict[str, dict[tuple[str, int], VideoSums]]] = {}
    wanted = {
        (cell.fold, seeds.index(cell.seed)) for cell in cells if cell.kind in ("train", "classical")
    }
    for cell in cells:
        if cell.finished(out) is None:
            continue
        with np.load(out / cell.path / "predictions.npz", allow_pickle=False) as file:
            arrays = dict(file)
        names = sorted({key.split("/")[0] for key in arrays if "/" in key})
        for name in names:
            predictions = {
                key.split("/")[1]: value
                for key, value in arrays.items()
                if key.startswith(f"{name}/")
            }
            place = sums.setdefault(cell.arm or name, {}).setdefault(cell.budget, {})
            place[cell.fold, seeds.index(cell.seed)] = video_sums(
                arrays["video_ids"], arrays["labels"], predictions
            )
    missing = []
    for arm, by_budget in sums.items():
        for budget in list(by_budget):
            if set(by_budget[budget]) != wanted:
                missing.append(f"{arm} at {budget}")
                del by_budget[budget]
    return sums, missing
