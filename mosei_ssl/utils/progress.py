"""How far long work has come: a bar on a terminal, and a line in the log every 15 seconds."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

LOG_SECONDS = 15.0


@contextlib.contextmanager
def progress(title: str, total: int | None = None, done: int = 0) -> Iterator[Callable[..., None]]:
    """Report the progress of a loop while it runs, where `done` of `total` items may be finished.

    Of work that is not counted, the time it has taken is told.

    Yields `advance(count=1, total=None, note=None)`, to be called after each item, or with how many
    have been done since the last call, with how many there are once that is known, and with what
    else to show from now on.
    """
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(stderr=True)
    start, first, finished = time.monotonic(), done, threading.Event()
    shown = ""

    def advance(count: int = 1, known: int | None = None, note: str | None = None) -> None:
        nonlocal done, total, shown
        done, total = done + count, known or total
        shown = shown if note is None else note
        drawn.update(task, advance=count, total=total, description=shown)

    def report() -> None:
        while not finished.wait(LOG_SECONDS):
            if total is None:
                since = f"{_duration(time.monotonic() - start)} so far"
                logger.info("%s: %s", title, f"{done} done in {since}" if done else since)
                continue
            rate, share = (done - first) / (time.monotonic() - start), 100 * done / total
            left = f"about {_duration((total - done) / rate)} left" if rate else "time left unknown"
            place = f"{title}: {done} of {total} done ({share:.0f} %), {left}"
            logger.info("%s", f"{place}; {shown}" if shown else place)

    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (console.is_terminal and logger.isEnabledFor(logging.INFO)),
        speed_estimate_period=24 * 3600.0,  # items may be minutes apart
    ) as drawn:
        task = drawn.add_task("", total=total, completed=done)
        thread = threading.Thread(target=report, name=f"progress of {title}", daemon=True)
        thread.start()
        try:
            yield advance
        finally:
            finished.set()
            thread.join()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
