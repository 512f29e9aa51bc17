"""Keeps informational lines of TensorFlow's native code off the terminal."""

import atexit
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator

_NOTE = re.compile(
    rb"^(WARNING: All log messages before absl::"
    rb"|[IW]\d{4} [\d:.]+ "
    rb"|To enable the following instructions"
    rb"|goo\.gle/debug(str|only)"
    rb"|.*oneDNN supports DT_INT64 only"
    # Written on every machine without a GPU, and for every dataset, though nothing is wrong.
    rb"|E\d{4} .*(cuda_platform|cuda_dnn|cuda_fft|cuda_blas|computation_placer"
    rb"|use_unbounded_threadpool))"
)
# A type that TensorFlow could not infer is not an error, but is printed in full, without a level.
_DUMP_BEGINS = re.compile(rb"^(goo\.gle/debugproto|type_id: TFT_)")


def without_notes(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that a user can do something about."""
    in_dump = False
    for line in lines:
        if in_dump or _DUMP_BEGINS.match(line):
            in_dump = b"while inferring type of node" not in line
        elif not _NOTE.match(line):
            yield line


def quiet_native_notes() -> None:
    """Drop them from stderr from now on; TF_CPP_MIN_LOG_LEVEL does not in TensorFlow 2.21."""
    real = os.dup(2)
    sys.stderr.flush()  # and keep its terminal
    sys.stderr = open(real, "w", buffering=1, encoding=sys.stderr.encoding, closefd=False)  # noqa: SIM115
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)

    def forward() -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in without_notes(lines):
                os.write(real, line)

    thread = threading.Thread(target=forward, name="stderr filter", daemon=True)
    thread.start()

    def drain() -> None:
        sys.stderr.flush()
        # Giving descriptor 2 back closes the pipe, which ends the thread.
        os.dup2(real, 2)
        thread.join(timeout=1)

    atexit.register(drain)
