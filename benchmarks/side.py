"""One side of a benchmark in a separate process, which runs when asked."""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, TextIO


class Side:
    """This program again, or another, with further arguments: it answers each line with JSON."""

    def __init__(self, *arguments: str, program: Sequence[str] | None = None, **settings: Any):
        self.process = subprocess.Popen(
            [sys.executable, *(program or sys.argv), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **settings,
        )

    def ask(self, request: object = "", timeout: float | None = None) -> Any:
        """Send a request if there is one, and wait for an answer.

        None if the process has died, or did not answer in so many seconds and was killed.
        """
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{request}\n" if request != "" else "")
            self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            self.process.kill()
            return None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None


def answer_file() -> TextIO:
    """Where a side writes its answers; what libraries print goes to stderr from now on."""
    file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return file
