"""Running a study from configuration to report, as often as it takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from rich.console import Console

from mosei_ssl.study.cells import grid_cells, preparation_cells
from mosei_ssl.study.config import StudyConfig, check
from mosei_ssl.study.estimate import estimate_table
from mosei_ssl.study.folds import prepare_folds, resolve_budgets
from mosei_ssl.study.identity import check_same, describe, exclusive, write_description
from mosei_ssl.study.projector import write_projector
from mosei_ssl.study.report import write_report
from mosei_ssl.study.results import write_results
from mosei_ssl.study.scheduling import run_cells
from mosei_ssl.study.search import best_trials, choose_trials, without_choice
from mosei_ssl.study.workers import LocalPool, Pool, RayPool
from mosei_ssl.utils.errors import UserError

Engine = Literal["local", "ray"]


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What a study left behind.

    Args:
        folder: The study's folder.
        finished: Number of finished cells.
        failed: Errors by path of the cell that failed.
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
    engine: Engine = "local",
    ray_address: str | None = None,
    console: Console | None = None,
) -> StudyResult:
    """Run a study, or what is missing of it, and write its report.

    Every cell (a pretraining, a fine-tuning, a set of classical predictors) has a folder of its
    own with a marker written when it is complete. A study that was killed is started again with
    the same call and ends in the same numbers.

    Args:
        config: The study.
        out: Its folder.
        workers: Cells at a time.
        dry_run: List the cells and estimate time, memory and disk; write nothing into `out`.
        engine: "local" for processes on this machine, "ray" for a Ray cluster.
        ray_address: Address of the cluster; None starts one here.
        console: Where progress and messages go; None is standard error.

    Returns:
        Where everything is, and what failed.

    Raises:
        UserError: If the configuration is not possible, or `out` holds another study or is in
            use.
        tfds_mosei.CorpusError: If a dataset is missing or cannot be built.

    Example:
        >>> config = load_study_config("study.yaml")  # doctest: +SKIP
        >>> run_study(config, "studies/first", workers=2).report  # doctest: +SKIP
        PosixPath('studies/first/report.html')
    """
    check(config)
    if workers < 1:
        raise UserError("--workers must be at least 1")
    console = console or Console(stderr=True)
    out = Path(out)
    folds = prepare_folds(config)
    budgets = resolve_budgets(config, folds)
    description = describe(config, folds, budgets)
    check_same(out, description)
    preparation = preparation_cells(config, folds)
    if dry_run:
        chosen, _ = best_trials(config, preparation, out)
        cells = [*preparation, *grid_cells(config, folds, budgets, chosen)]
        console.print(estimate_table(config, folds, cells, out, workers))
        return StudyResult(out, 0, {}, None)
    with exclusive(out):
        write_description(out, config, description)
        pool: Pool = (
            LocalPool(out, workers, config.threads)
            if engine == "local"
            else RayPool(out, workers, config.threads, ray_address)
        )
        try:
            failed = run_cells(preparation, out, pool, console, "preparing")
            chosen = choose_trials(config, preparation, out)
            grid = grid_cells(config, folds, budgets, chosen)
            failed |= without_choice(config, chosen, grid)
            failed |= run_cells(grid, out, pool, console, "grid", failed)
        finally:
            pool.close()
        cells = [*preparation, *grid]
        write_results(out, grid)
        report = write_report(out, config, folds, budgets, cells, chosen, failed)
        write_projector(out, grid)
    finished = sum(cell.finished(out) is not None for cell in cells)
    return StudyResult(out, finished, failed, report)
