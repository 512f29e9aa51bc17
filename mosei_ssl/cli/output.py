"""Where what verbs have to say goes: the screen, a program that reads it, or a file."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text


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


def check_writable(path: Path) -> None:
    """Raise before the work what would be raised after it."""
    place = path if path.exists() else path.absolute().parent
    if not place.exists():
        raise UserError(f"cannot write to {path}: its folder does not exist.")
    if path.is_dir():
        raise UserError(f"cannot write to {path}: it is a folder.")
    if not os.access(place, os.W_OK):
        raise UserError(f"cannot write to {path}: permission denied.")


def save(path: Path, text: str) -> None:
    """Write a file whole, so that an older one is there until the new one is."""
    target = path.resolve()
    mode = target.stat().st_mode if target.is_file() else None
    try:
        if (target.exists() and mode is None) or not os.access(target.parent, os.W_OK):
            # A pipe or a device; or a file in a folder in which no other can be made.
            target.write_text(text, encoding="utf-8")
            return
        write_text(target, text)
        if mode is not None:
            target.chmod(mode)
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}.") from None
