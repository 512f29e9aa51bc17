"""Running a study from configuration to report, as often as it takes."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mosei_ssl.errors import UserError
from mosei_ssl.metrics import LOWER_IS_BETTER, json_safe, write_json
from mosei_ssl.study.cells import (
    FORMAT,
    Cell,
    Fold,
    grid_cells,
    preparation_cells,
    without_places,
)
from mosei_ssl.study.config import (
    ArmConfig,
    StudyConfig,
    check,
    finetune_options,
    pretrain_options,
)
from mosei_ssl.study.estimate import estimate_table
from mosei_ssl.study.files import write_text
from mosei_ssl.study.folds import prepare_folds, resolve_budgets
from mosei_ssl.study.projector import write_projector
from mosei_ssl.study.report import write_report
from mosei_ssl.study.results import write_results
from mosei_ssl.study.versions import package_versions
from mosei_ssl.study.workers import LocalPool, Outcome, Pool, RayPool

logger = logging.getLogger(__name__)

Engine = Literal["local", "ray"]

_FOREVER = 1e9


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
    _check_same(out, description)
    preparation = preparation_cells(config, folds)
    if dry_run:
        chosen, _ = _best_trials(config, preparation, out)
        cells = [*preparation, *grid_cells(config, folds, budgets, chosen)]
        console.print(estimate_table(config, folds, cells, out, workers))
        return StudyResult(out, 0, {}, None)
    with _exclusive(out):
        _write_description(out, config, description)
        pool: Pool = (
            LocalPool(out, workers, config.threads)
            if engine == "local"
            else RayPool(out, workers, config.threads, ray_address)
        )
        try:
            failed = run_cells(preparation, out, pool, console, "preparing")
            chosen = choose_trials(config, preparation, out)
            grid = grid_cells(config, folds, budgets, chosen)
            failed |= _without_choice(config, chosen, grid)
            failed |= run_cells(grid, out, pool, console, "grid", failed)
        finally:
            pool.close()
        cells = [*preparation, *grid]
        write_results(out, grid)
        report = write_report(out, config, folds, budgets, cells, chosen, failed)
        write_projector(out, grid)
    finished = sum(cell.finished(out) is not None for cell in cells)
    return StudyResult(out, finished, failed, report)


def describe(
    config: StudyConfig, folds: Sequence[Fold], budgets: Sequence[int | str]
) -> dict[str, Any]:
    """What makes a study this one and no other.

    Args:
        config: The study.
        folds: Its folds.
        budgets: Its budgets.

    Returns:
        Plain values: versions, and options as they are after defaults; places and settings that
        cannot change a result are left out.

    Example:
        >>> describe(StudyConfig(), [], ["all"])["budgets"]
        ['all']
    """
    options = without_places(dataclasses.asdict(config))
    # Of these only the outcome counts: the datasets' fingerprints and each arm's resolved options.
    for key in ("datasets", "manual_dir", "folds", "arms", "backbone", "pretrain", "finetune"):
        options.pop(key)
    options["budgets"] = list(budgets)
    options["datasets"] = [{"name": f.dataset, "fingerprint": f.fingerprint} for f in folds]
    options["arms"] = {arm.name: without_places(_arm_options(config, arm)) for arm in config.arms}
    return json_safe({"format": FORMAT, "versions": package_versions(), **options})


def _arm_options(config: StudyConfig, arm: ArmConfig) -> dict[str, Any]:
    options = {"finetune": finetune_options(config, arm, "", "all", 0)}
    if arm.pretrained:
        options["pretrain"] = pretrain_options(config, arm, "", 0)
    return options


_LEFT_OVER = ("study.lock", ".study.json.*.tmp")


def _check_same(out: Path, description: dict[str, Any]) -> None:
    file = out / "study.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give a folder")
    if not file.exists():
        # What a study leaves that was killed before study.json was there counts as nothing.
        there = out.iterdir() if out.exists() else ()
        if not all(any(path.match(name) for name in _LEFT_OVER) for path in there):
            raise UserError(f"{out} is not empty and holds no study: give another folder")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} is damaged ({error}): give another folder") from None
    if found.get("format") != FORMAT:
        raise UserError(
            f"{out} was made by another version of mosei_ssl (study format {found.get('format')}, "
            f"this version has {FORMAT}): give another folder"
        )
    versions = _differences(found.pop("versions", {}), description["versions"])
    if versions:
        raise UserError(
            f"{out} was made by other versions ({', '.join(versions)}): give another folder, or "
            "install those versions"
        )
    different = _differences(found, {k: v for k, v in description.items() if k != "versions"})
    if different:
        raise UserError(
            f"{out} holds a study with other settings ({', '.join(different)}): give another "
            f"folder, or the configuration in {out / 'study.yaml'}"
        )


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the keys whose values differ, with both values where they are short."""
    names = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            short = all(isinstance(value, (str, int, float, bool)) for value in (old, new))
            names.append(f"{prefix}{key}" + (f": {old} there, {new} here" if short else ""))
    return names


@contextmanager
def _exclusive(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = open(out / "study.lock", "w")  # noqa: SIM115  (held for the whole study)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{out} is being worked on by another process: wait for it") from None
        yield


def _write_description(out: Path, config: StudyConfig, description: dict[str, Any]) -> None:
    # study.json first: it alone says that the folder is a study's, so that one killed in between
    # is gone on with.
    if not (out / "study.json").exists():
        command = " ".join(["mosei-ssl", *sys.argv[1:]])
        write_json(out / "study.json", {"study": description, "command": command})
    if not (out / "study.yaml").exists():
        text = yaml.safe_dump(json_safe(dataclasses.asdict(config)), sort_keys=False)
        write_text(out / "study.yaml", text)


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    pool: Pool,
    console: Console,
    title: str,
    already_failed: dict[str, str] | None = None,
) -> dict[str, str]:
    """Run cells in an order that respects what they require.

    Args:
        cells: The cells; those already finished are left alone.
        out: The study's folder.
        pool: Where they run.
        console: Where progress is shown: a bar on a terminal, else a line for each cell that ended.
        title: What the progress bar says.
        already_failed: Cells known to have failed; they and what needs them are not tried.

    Returns:
        Errors by path, of cells that failed or could not be tried.

    Example:
        >>> run_cells(cells, out, pool, Console(), "grid")  # doctest: +SKIP
        {}
    """
    failed: dict[str, str] = {}
    known_failed = dict(already_failed or {})
    waiting = [cell for cell in cells if cell.finished(out) is None]
    pending = {cell.path for cell in waiting}
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    # Cells end minutes or hours apart; the default forgets those of more than 30 seconds ago.
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=_FOREVER,
    ) as progress:
        task = progress.add_task(title, total=len(cells), completed=len(cells) - len(waiting))
        began, ended = time.monotonic(), 0
        running = 0

        def settle(outcome: Outcome) -> None:
            nonlocal ended
            pending.discard(outcome.cell.path)
            if outcome.result is None:
                failed[outcome.cell.path] = outcome.error
                known_failed[outcome.cell.path] = outcome.error
                logger.error("%s failed: %s", outcome.cell.path, outcome.error.splitlines()[0])
            progress.advance(task)
            ended += 1
            if not console.is_terminal:
                left = (time.monotonic() - began) / ended * len(pending)
                console.print(
                    f"{title}: {len(cells) - len(pending)}/{len(cells)} {outcome.cell.path}, about "
                    f"{timedelta(seconds=round(left))} left",
                    highlight=False,
                    soft_wrap=True,
                )

        while waiting or running:
            started = []
            for cell in waiting:
                broken = next((path for path in cell.requires if path in known_failed), None)
                if cell.path in known_failed:
                    settle(Outcome(cell, None, known_failed[cell.path]))
                elif broken is not None:
                    settle(Outcome(cell, None, f"needs {broken}, which failed"))
                elif pool.free() and not any(path in pending for path in cell.requires):
                    pool.submit(cell)
                    running += 1
                else:
                    continue
                started.append(cell)
            waiting = [cell for cell in waiting if cell not in started]
            if running:
                for outcome in pool.wait():
                    running -= 1
                    settle(outcome)
    return failed


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
    chosen, table = _best_trials(config, cells, out)
    if table:
        content = {"chosen": chosen, "metric": config.search.metric, "trials": table}
        write_json(out / "search.json", content)
    return chosen


def _best_trials(
    config: StudyConfig, cells: Sequence[Cell], out: Path
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The best trial of each arm that has one, and all trials with their scores."""
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


def _without_choice(
    config: StudyConfig, chosen: dict[str, int], grid: Sequence[Cell]
) -> dict[str, str]:
    """Errors by path of the cells of arms whose search gave nothing to train them with."""
    if not config.search.trials:
        return {}
    return {
        cell.path: f"the search of arm {cell.arm!r} gave no score for {config.search.metric}"
        for cell in grid
        if cell.kind == "train" and cell.arm not in chosen
    }
