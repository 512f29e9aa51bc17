"""Keeps the start-up notes of TensorFlow's native code off the terminal."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_NOTE = re.compile(rb"^(WARNING: All log messages before absl::|[IW]\d{4} [\d:.]+ |To enable the)")


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Drop native informational lines on stderr while TensorFlow is loaded; keep all others.

    TF_CPP_MIN_LOG_LEVEL has no effect on them in TensorFlow 2.21, and a command that prints ten
    lines about oneDNN before its own first line hides what matters.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            buffer.seek(0)
            for line in buffer:
                if not _NOTE.match(line):
                    sys.stderr.buffer.write(line)
            sys.stderr.flush()
