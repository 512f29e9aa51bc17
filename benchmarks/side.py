"""One side of a benchmark in a separate process, which runs when asked."""

import contextlib
import json
import subprocess
import sys
from typing import Any


class Side:
    """This program again, with further arguments: it answers each line with one of JSON."""

    def __init__(self, *arguments: str, **settings: Any):
        self.process = subprocess.Popen(
            [sys.executable, *sys.argv, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **settings,
        )

    def ask(self, request: object = "") -> Any:
        """Send a request if there is one, and wait for an answer; None if the process has died."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{request}\n" if request != "" else "")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else None
