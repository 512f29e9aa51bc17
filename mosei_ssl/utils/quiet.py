"""Keeps informational lines of TensorFlow's native code off the terminal."""

import atexit
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

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


@contextlib.contextmanager
def quiet_native_notes() -> Iterator[None]:
    """Drop them from stderr meanwhile; TF_CPP_MIN_LOG_LEVEL does not in TensorFlow 2.21."""
    try:
        real = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)

    def forward() -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in without_notes(lines):
                os.write(real, line)

    thread = threading.Thread(target=forward, name="stderr filter", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        # Giving descriptor 2 back closes the pipe, which ends the thread.
        os.dup2(real, 2)
        thread.join(timeout=1)


def quiet_process() -> None:
    """Drop them until the process ends; Python itself keeps writing to the terminal."""
    sys.stderr.flush()
    real = os.dup(2)
    sys.stderr = open(real, "w", buffering=1, encoding=sys.stderr.encoding, closefd=False)  # noqa: SIM115
    stack = contextlib.ExitStack()
    stack.enter_context(quiet_native_notes())
    atexit.register(stack.close)


def quiet_import(execute: Callable[[Any], None], module: Any) -> None:
    """Run the code of TensorFlow's package without its banner, which no level of its log drops.

    A TF_CPP_MIN_LOG_LEVEL of 0 brings it back; by default only what is fatal is said later too,
    since all else that goes wrong is an exception.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if level == "0" else quiet_native_notes():
        execute(module)
