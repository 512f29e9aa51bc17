"""Processes that run cells, on this machine or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mosei_ssl.study.cells import Cell
from mosei_ssl.study.execute import run_cell
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.versions import keras_backend

_CELLS_PER_PROCESS = 16


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Args:
        cell: The cell.
        result: What its marker holds; None if it failed.
        error: What went wrong, one line first.
    """

    cell: Cell
    result: dict[str, Any] | None
    error: str = ""


class Pool(Protocol):
    """Something that runs cells."""

    def free(self) -> int:
        """How many more cells it takes now."""
        ...

    def submit(self, cell: Cell) -> None:
        """Start a cell."""
        ...

    def wait(self) -> list[Outcome]:
        """Wait until at least one cell has ended."""
        ...

    def close(self) -> None:
        """Stop the workers."""
        ...


def environment(threads: int) -> dict[str, str]:
    """Variables that fix the number of threads of every library in a worker, and Keras's backend.

    Args:
        threads: Threads per worker.

    Returns:
        Environment variables.

    Example:
        >>> environment(2)["TF_NUM_INTRAOP_THREADS"]
        '2'
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    fixed = {
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Another machine may have another one in its keras.json.
        "KERAS_BACKEND": keras_backend(),
    }
    return {**dict.fromkeys(names, str(threads)), **fixed}


def compiles_steps(cell: Cell) -> bool | None:
    """Tell whether a cell has XLA compile whole training steps.

    TensorFlow's determinism, which all other trainings ask for, rules that out and cannot be taken
    back, so that a process can do for one of the two only.

    Args:
        cell: The cell.

    Returns:
        Whether it does; None if it trains no network, so that any process will do.

    Example:
        >>> compiles_steps(Cell("train", "x", {"run": {"jit_compile": True}}))
        True
    """
    run = cell.options.get("run")
    return None if run is None else run.get("jit_compile") is True


def execute(cell: Cell, study: str) -> tuple[dict[str, Any] | None, str]:
    """Run a cell and turn whatever goes wrong into text.

    Args:
        cell: The cell.
        study: The study's folder.

    Returns:
        Result and error, one of them empty.

    Example:
        >>> execute(cell, "study")  # doctest: +SKIP
    """
    try:
        return run_cell(cell, Path(study)), ""
    except UserError as error:
        return None, str(error)
    except Exception:
        # One failing cell must not take the others along; the text goes into the report.
        lines = traceback.format_exc().strip().splitlines()
        return None, "\n".join([lines[-1], *lines])


def _die_with_parent(parent: int) -> None:
    while True:
        if os.getppid() != parent:
            os._exit(1)
        time.sleep(0.2)


def _work(pipe: multiprocessing.connection.Connection, study: str, log: str, parent: int) -> None:
    # A study killed with kill -9 must not leave workers behind that go on writing.
    threading.Thread(target=_die_with_parent, args=(parent,), daemon=True).start()
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    while True:
        try:
            values = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(execute(Cell(**values), study))


@dataclass
class _Worker:
    process: Any
    pipe: Any
    cell: Cell | None = None
    done: int = 0
    compiles: bool | None = None

    def suits(self, cell: Cell) -> bool:
        """Whether nothing that ran here can change the cell's numbers."""
        wanted = compiles_steps(cell)
        return wanted is None or self.compiles in (None, wanted)


class LocalPool:
    """Worker processes on this machine.

    Each has its own fixed number of threads, so results do not depend on how many there are. A
    worker that dies (out of memory, say) fails its cell and is replaced.

    Args:
        study: The study's folder.
        workers: Number of processes.
        threads: Threads of each.

    Example:
        >>> pool = LocalPool(Path("study"), workers=2, threads=1)  # doctest: +SKIP
    """

    def __init__(self, study: Path, workers: int, threads: int) -> None:
        self._study = Path(study)
        self._threads = threads
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker | None] = [None] * workers

    def free(self) -> int:
        """How many more cells it takes now."""
        return sum(worker is None or worker.cell is None for worker in self._workers)

    def submit(self, cell: Cell) -> None:
        """Start a cell on a free worker."""
        number = next(n for n, w in enumerate(self._workers) if w is None or w.cell is None)
        worker = self._workers[number]
        # Keras and TensorFlow keep a little of every model they ever built.
        if worker is not None and (worker.done >= _CELLS_PER_PROCESS or not worker.suits(cell)):
            self._stop(worker)
            worker = None
        if worker is None:
            worker = self._start(number)
            self._workers[number] = worker
        values = cell.as_dict()
        values.pop("key")
        try:
            worker.pipe.send(values)
        except OSError:
            # It died while it had nothing to do, which is no fault of this cell.
            self._stop(worker)
            worker = self._workers[number] = self._start(number)
            worker.pipe.send(values)
        worker.cell = cell
        if compiles_steps(cell) is not None:
            worker.compiles = compiles_steps(cell)

    def wait(self) -> list[Outcome]:
        """Wait until at least one cell has ended."""
        busy = [w for w in self._workers if w is not None and w.cell is not None]
        ready = multiprocessing.connection.wait([w.pipe for w in busy])
        outcomes = []
        for worker in busy:
            if worker.pipe not in ready or worker.cell is None:
                continue
            try:
                result, error = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                result, error = None, f"the worker died (exit code {worker.process.exitcode})"
                self._workers[self._workers.index(worker)] = None
            outcomes.append(Outcome(worker.cell, result, error))
            worker.cell = None
            worker.done += 1
        return outcomes

    def close(self) -> None:
        """Stop the workers; cells under way keep their last checkpoint."""
        for worker in self._workers:
            if worker is not None:
                self._stop(worker)
        self._workers = [None] * len(self._workers)

    def _start(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        log = self._study / "logs" / f"worker-{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self._context.Process(
            target=_work, args=(theirs, str(self._study), str(log), os.getpid()), daemon=True
        )
        before = {name: os.environ.get(name) for name in environment(self._threads)}
        # Libraries read these when they are loaded, which is before the worker's first line.
        os.environ.update(environment(self._threads))
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        return _Worker(process, ours)

    @staticmethod
    def _stop(worker: _Worker) -> None:
        worker.pipe.close()
        if worker.cell is not None:
            worker.process.terminate()
        worker.process.join(timeout=30)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


class RayPool:
    """Workers of a Ray cluster; the study's folder must be shared by its machines.

    Args:
        study: The study's folder.
        workers: Cells at a time.
        threads: Threads of each.
        address: Address of the cluster; None starts one on this machine, whatever RAY_ADDRESS says.

    Raises:
        UserError: If Ray is not installed or the cluster does not answer.

    Example:
        >>> pool = RayPool(Path("study"), workers=2, threads=1)  # doctest: +SKIP
    """

    def __init__(self, study: Path, workers: int, threads: int, address: str | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--engine ray needs Ray: pip install 'mosei_ssl[ray]'") from None
        self._ray = ray
        self._study = str(Path(study).resolve())
        self._size = workers
        try:
            local: dict[str, Any] = (
                {} if address else {"num_cpus": workers * threads, "include_dashboard": False}
            )
            # Without an address Ray would look for a cluster, and then refuse the number of CPUs.
            ray.init(
                address=address or "local", ignore_reinit_error=True, log_to_driver=False, **local
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"cannot reach the Ray cluster {address}: {error}") from None
        # Tasks of different environments never share a process.
        self._functions = {
            compiles: ray.remote(execute).options(
                num_cpus=threads,
                max_retries=0,
                runtime_env={
                    "env_vars": {**environment(threads), "MOSEI_SSL_COMPILES": str(int(compiles))}
                },
            )
            for compiles in (False, True)
        }
        self._running: dict[Any, Cell] = {}

    def free(self) -> int:
        """How many more cells it takes now."""
        return self._size - len(self._running)

    def submit(self, cell: Cell) -> None:
        """Start a cell."""
        from mosei_ssl.training.run_directory import absolute_places

        # A worker of a cluster has a working directory of its own.
        sent = replace(cell, options=absolute_places(cell.options))
        function = self._functions[bool(compiles_steps(cell))]
        self._running[function.remote(sent, self._study)] = cell

    def wait(self) -> list[Outcome]:
        """Wait until at least one cell has ended."""
        done, _ = self._ray.wait(list(self._running), num_returns=1)
        outcomes = []
        for reference in done:
            cell = self._running.pop(reference)
            try:
                result, error = self._ray.get(reference)
            except self._ray.exceptions.RayError as failure:
                result, error = None, f"the Ray worker died: {failure}"
            outcomes.append(Outcome(cell, result, error))
        return outcomes

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()
