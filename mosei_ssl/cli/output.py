"""What verbs say on the screen, or to a program that reads it."""

import json
import os
import sys
from typing import Any

from mosei_ssl.utils.terminal import console


def say(text: str) -> None:
    """Print a line as it is: whole, though it be longer than the screen, and brackets too."""
    console().print(text, highlight=False, markup=False, soft_wrap=True)


def write_json_out(value: Any) -> None:
    """Write a verb's result to standard output for a program, where undefined numbers are null."""
    from mosei_ssl.metrics.table import json_safe

    write_out(json.dumps(json_safe(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_out(text: str) -> None:
    """Write to standard output for a program, which may have stopped reading (`| head`)."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
