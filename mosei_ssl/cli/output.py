"""What verbs say on the screen."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


def say(text: str) -> None:
    """Print a line as it is: whole, though it be longer than the screen, and brackets too."""
    Console(soft_wrap=True).print(text, highlight=False, markup=False)


def write_out(text: str) -> None:
    """Write to standard output for a program to read.

    Where the reader has gone (`| head`), the command ends without a traceback, as it does where
    rich writes.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar while something is done; not where the output is no terminal.

    Args:
        title: what is being done.

    Yields:
        To be called with how much has been done since the last call, and how much there is; None
        where that is not known yet.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, advance=done, total=total)
