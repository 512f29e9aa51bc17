"""Running a study from configuration to report, as often as it takes."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosei_ssl.metrics import LOWER_IS_BETTER, write_json
from mosei_ssl.study.cells import Cell, grid_cells, preparation_cells, search_cells
from mosei_ssl.study.config import check
from mosei_ssl.study.engines import LocalEngine
from mosei_ssl.study.estimate import estimate_table
from mosei_ssl.study.folds import prepare_folds, resolve_budgets
from mosei_ssl.study.identity import LOCK_FILE, check_same, describe, write_description
from mosei_ssl.study.options import StudyConfig
from mosei_ssl.study.report import write_report
from mosei_ssl.study.results import write_results
from mosei_ssl.study.waves import run_wave
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import lock
from mosei_ssl.utils.terminal import console


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What a study left behind.

    Attributes:
        folder: the study's folder.
        finished: number of finished cells (trainings and sets of classical predictors).
        failed: errors by path of the cell that failed.
        report: report.html; None after a dry run or without any result.
    """

    folder: Path
    finished: int
    failed: dict[str, str]
    report: Path | None


def run_study(
    config: StudyConfig,
    out: str | Path,
    *,
    workers: int = 1,
    dry_run: bool = False,
) -> StudyResult:
    """Run a study, or what is missing of it, and write its report.

    Every cell (a pretraining, a fine-tuning, a set of classical predictors) has its own folder
    with a marker written when it is complete. A study that was killed is started again with the
    same call and ends in the same numbers.

    Args:
        config: the study.
        out: its folder.
        workers: trainings at a time.
        dry_run: list the runs and estimate time, memory and disk; write nothing into `out`.

    Returns:
        Where everything is, and what failed.

    Raises:
        UserError: the configuration is not possible, `out` holds another study or is in use, or a
            dataset is missing or cannot be built.

    Examples:
        >>> from mosei_ssl.study import load_study_config
        >>> config = load_study_config("small_study")
        >>> run_study(config, "studies/first", workers=2)  # doctest: +SKIP
    """
    check(config)
    if workers < 1:
        raise UserError("--workers must be at least 1")
    out = Path(out)
    folds = prepare_folds(config)
    budgets = resolve_budgets(config, folds)
    description = describe(config, folds, budgets)
    check_same(out, description)
    preparation, search = preparation_cells(config, folds), search_cells(config, folds)
    if dry_run:
        chosen, _ = best_trials(config, search, out)
        cells = [*preparation, *search, *grid_cells(config, folds, budgets, chosen)]
        console(stderr=True).print(estimate_table(config, folds, cells, out, workers))
        return StudyResult(out, 0, {}, None)
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as held:
        busy = f"{out} is being worked on by another process: wait for it"
        try:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock(out / LOCK_FILE, busy))
        except OSError as error:
            raise UserError(f"cannot write to {out}: {error.strerror}") from None
        write_description(out, config, description)
        with contextlib.closing(LocalEngine(workers, config.threads, out / "logs")) as pool:
            run_wave(preparation, out, pool, "preparation", failed)
            run_wave(search, out, pool, "search", failed)
            chosen = choose_trials(config, search, out)
            grid = grid_cells(config, folds, budgets, chosen)
            failed |= without_choice(config, chosen, grid)
            run_wave(grid, out, pool, "grid", failed)
        cells = [*preparation, *search, *grid]
        write_results(out, grid)
        report = write_report(out, config, folds, budgets, cells, chosen, failed)
    finished = sum(cell.finished(out) is not None for cell in cells)
    return StudyResult(out, finished, failed, report)


def choose_trials(config: StudyConfig, search: Sequence[Cell], out: Path) -> dict[str, int]:
    """Choose each arm's trial by its validation score, and write the choice to search.json."""
    chosen, table = best_trials(config, search, out)
    if table:
        content = {"chosen": chosen, "metric": config.search.metric, "trials": table}
        write_json(out / "search.json", content)
    return chosen


def best_trials(
    config: StudyConfig, search: Sequence[Cell], out: Path
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Number of the best trial of each arm that has a score; and all trials with their scores."""
    metric = config.search.metric
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    scores: dict[str, list[tuple[float, int]]] = {}
    table = []
    for cell in search:
        result = cell.finished(out)
        value = None if result is None else result["metrics"]["model"]["overall"][metric]
        options = config.search.trials[cell.trial]
        table.append({"arm": cell.arm, "trial": cell.trial, "options": options, metric: value})
        if value is not None:
            scores.setdefault(cell.arm, []).append((sign * value, cell.trial))
    return {arm: min(found)[1] for arm, found in scores.items()}, table


def without_choice(
    config: StudyConfig, chosen: dict[str, int], grid: Sequence[Cell]
) -> dict[str, str]:
    """Errors by path of the cells of arms whose search gave nothing to train them with."""
    return {
        cell.path: f"the search of arm {cell.arm!r} gave no score for {config.search.metric}"
        for cell in grid
        if config.search.trials and cell.kind == "train" and cell.arm not in chosen
    }
