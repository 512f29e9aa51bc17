"""The screen of a person, or the pipe, file or log that stands in for it."""

import os

from rich.console import Console

# Wider than any table: outside a terminal nothing is wrapped, and nobody has asked for 80 columns.
_UNLIMITED = 10_000


def console(*, stderr: bool = False) -> Console:
    """Standard output or stderr, as wide as its terminal or COLUMNS; else as wide as it takes."""
    found = Console(stderr=stderr)
    if found.is_terminal or "COLUMNS" in os.environ:
        return found
    return Console(stderr=stderr, width=_UNLIMITED)
