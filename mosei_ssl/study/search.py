"""Choosing each arm's options by their score on validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosei_ssl.metrics import LOWER_IS_BETTER, write_json
from mosei_ssl.study.cells import Cell
from mosei_ssl.study.config import StudyConfig


def choose_trials(config: StudyConfig, cells: Sequence[Cell], out: Path) -> dict[str, int]:
    """Choose each arm's trial by its validation score, and write the choice down.

    Args:
        config: The study.
        cells: The preparation's cells, run.
        out: The study's folder.

    Returns:
        Number of the chosen trial by arm; without a search, or of an arm none of whose trials has
        a score, none.

    Example:
        >>> choose_trials(config, cells, out)  # doctest: +SKIP
        {'ssl': 1, 'baseline': 0}
    """
    chosen, table = best_trials(config, cells, out)
    if table:
        content = {"chosen": chosen, "metric": config.search.metric, "trials": table}
        write_json(out / "search.json", content)
    return chosen


def best_trials(
    config: StudyConfig, cells: Sequence[Cell], out: Path
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Find the trial with the best validation score of each arm.

    Args:
        config: The study.
        cells: The preparation's cells, run or not.
        out: The study's folder.

    Returns:
        Number of the best trial of each arm that has one; and all trials with their scores.

    Example:
        >>> best_trials(config, cells, out)[0]  # doctest: +SKIP
        {'ssl': 1, 'baseline': 0}
    """
    chosen: dict[str, int] = {}
    table: list[dict[str, Any]] = []
    metric = config.search.metric
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    for arm in config.arms:
        scores: list[tuple[float, int]] = []
        for cell in cells:
            if cell.kind != "search" or cell.arm != arm.name:
                continue
            result = cell.finished(out)
            value = None if result is None else result["metrics"]["model"]["overall"][metric]
            options = config.search.trials[cell.trial]
            table.append({"arm": arm.name, "trial": cell.trial, "options": options, metric: value})
            if value is not None:
                scores.append((sign * value, cell.trial))
        if scores:
            chosen[arm.name] = min(scores)[1]
    return chosen, table


def without_choice(
    config: StudyConfig, chosen: dict[str, int], grid: Sequence[Cell]
) -> dict[str, str]:
    """Name the cells of arms whose search gave nothing to train them with.

    Args:
        config: The study.
        chosen: Number of the chosen trial by arm.
        grid: The grid's cells.

    Returns:
        Errors by path.

    Example:
        >>> without_choice(config, {"ssl": 1, "baseline": 0}, grid)  # doctest: +SKIP
        {}
    """
    if not config.search.trials:
        return {}
    return {
        cell.path: f"the search of arm {cell.arm!r} gave no score for {config.search.metric}"
        for cell in grid
        if cell.kind == "train" and cell.arm not in chosen
    }
