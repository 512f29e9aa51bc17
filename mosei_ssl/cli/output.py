"""What verbs say on the screen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


def say(text: str) -> None:
    """Print a line as it is: whole, though it be longer than the screen, and brackets too."""
    Console(soft_wrap=True).print(text, highlight=False, markup=False)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something is done; not where the output is no terminal.

    Args:
        title: what is being done.

    Yields:
        To be called with how much has been done since the last call, and how much there is.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, advance=done, total=total)
