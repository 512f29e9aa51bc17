"""Where cells run: worker processes of this machine."""

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from joblib.externals.loky import get_reusable_executor

from mosei_ssl.utils.versions import keras_backend

Submit = Callable[..., Future]


def _environments(threads: int) -> dict[bool, dict[str, str]]:
    """A worker's environment, by whether it compiles: processes of one serve not the other."""
    # What limits every numeric library is read when a process imports it.
    names = [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL")]
    shared = dict.fromkeys([*names, "TF_NUM_INTRAOP_THREADS"], str(threads))
    shared |= {"TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    shared["KERAS_BACKEND"] = keras_backend()
    # TensorFlow's determinism, which all other trainings ask for, rules out XLA for good.
    return {compiles: {**shared, "MOSEI_SSL_COMPILES": str(compiles)} for compiles in (False, True)}


class LocalEngine:
    """Processes of this machine; each prints to its own file in `logs`."""

    def __init__(self, workers: int, threads: int, logs: Path) -> None:
        self.workers = workers
        self._environments = _environments(threads)
        self._logs = logs
        self._executor: Any = None

    def submitter(self, workers: int, *, compiles: bool) -> Submit:
        # Loky replaces processes that have grown by 300 MB: Keras and TensorFlow keep a little of
        # every model they ever built.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        # The same executor as before if nothing has changed and no worker has died.
        self._executor = get_reusable_executor(
            workers,
            timeout=None,
            kill_workers=True,
            env=self._environments[compiles],
            initializer=_begin_worker,
            initargs=(os.getpid(), self._logs),
        )
        return self._executor.submit

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(kill_workers=True)


def _begin_worker(study: int, logs: Path) -> None:
    # A study killed with kill -9 must not leave workers behind that go on writing.
    threading.Thread(target=_end_with, args=(study,), daemon=True).start()
    logs.mkdir(parents=True, exist_ok=True)
    with open(logs / f"worker-{os.getpid()}.log", "ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def _end_with(study: int) -> None:
    while os.getppid() == study:
        time.sleep(0.2)
    os._exit(1)
