"""Running a wave of cells, of which none needs another."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from pathlib import Path

from joblib.externals.loky.process_executor import BrokenProcessPool

from mosei_ssl.study.cells import Cell
from mosei_ssl.study.engines import LocalEngine, Submit
from mosei_ssl.study.execute import execute
from mosei_ssl.utils.progress import progress

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_DIED = (
    f"its worker process died {_ATTEMPTS} times, twice with nothing else running: killed from "
    "outside, or out of memory"
)


def run_wave(
    cells: Sequence[Cell],
    out: Path,
    engine: LocalEngine,
    title: str,
    failed: dict[str, str],
    run: Callable[[Cell, Path], str] = execute,
) -> None:
    """Run the unfinished cells whose requirements did not fail; add errors by path to `failed`."""
    waiting = {cell.path: cell for cell in cells if cell.finished(out) is None}
    if not waiting:
        return
    with progress(title, len(cells), len(cells) - len(waiting)) as advance:

        def settle(cell: Cell, error: str) -> None:
            del waiting[cell.path]
            advance()
            if error:
                failed[cell.path] = error
                logger.error("%s failed: %s", cell.path, error.splitlines()[0])

        for cell in [*waiting.values()]:
            broken = next((path for path in cell.requires if path in failed), None)
            if cell.path in failed or broken:
                settle(cell, failed.get(cell.path) or f"needs {broken}, which failed")
        # Cells that ran when a worker died are tried one at a time, to find the one to blame.
        deaths: Counter[str] = Counter()
        while waiting:
            batch = [cell for cell in waiting.values() if deaths[cell.path]]
            workers = 1 if batch else engine.workers
            batch = batch or [*waiting.values()]
            compiles = _compiles(batch[0])
            batch = [cell for cell in batch if _compiles(cell) == compiles]
            submit = engine.submitter(workers, compiles=compiles)
            lost = _run_batch(batch, out.resolve(), submit, workers, run, settle)
            for cell in lost:
                deaths[cell.path] += 1
                if deaths[cell.path] == _ATTEMPTS:
                    settle(cell, _DIED)
            if lost:
                logger.warning(
                    "a worker process died (killed, or out of memory); it was running %s",
                    " or ".join(cell.path for cell in lost),
                )


def _compiles(cell: Cell) -> bool:
    """Whether a cell has XLA compile whole training steps."""
    return cell.options.get("run", {}).get("jit_compile") is True


def _run_batch(
    batch: Sequence[Cell],
    out: Path,
    submit: Submit,
    workers: int,
    run: Callable[[Cell, Path], str],
    settle: Callable[[Cell, str], None],
) -> list[Cell]:
    """Run cells until all have ended or a worker died; those that were running then."""
    rest = iter(batch)
    running: dict[Future, Cell] = {}
    lost: list[Cell] = []
    while True:
        for cell in islice(rest, 0 if lost else workers - len(running)):
            try:
                running[submit(run, cell, out)] = cell
            except BrokenProcessPool:  # a worker that had nothing to do; seen only now
                lost.append(cell)
                break
        if not running:
            return lost
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            cell = running.pop(future)
            try:
                error = future.result()
            except BrokenProcessPool:
                lost.append(cell)
            else:
                settle(cell, error)
