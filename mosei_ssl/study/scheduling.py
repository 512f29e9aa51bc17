"""Running cells in an order that respects what they require."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mosei_ssl.study.cells import Cell
from mosei_ssl.study.workers import Outcome, Pool

logger = logging.getLogger(__name__)

_FOREVER = 1e9


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
