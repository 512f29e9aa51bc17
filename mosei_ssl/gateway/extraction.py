"""Features of recordings, in processes that may die without harm to the others."""

import asyncio
import io
import logging
import multiprocessing
import signal
import traceback
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from mosei_ssl.corpus.audio_files import FileFeatures, analyse_stream
from mosei_ssl.covarep import SAMPLE_RATE, extract
from mosei_ssl.gateway.limits import Limits
from mosei_ssl.utils.errors import UserError

_log = logging.getLogger(__name__)
# A forked copy of a process that runs TensorFlow could hang.
_SPAWN = multiprocessing.get_context("spawn")
_TRIES = 2


class Extractor:
    """Processes of one thread each; close it in the end.

    Attributes:
        deaths: how many processes have died before they gave an answer.
    """

    def __init__(self, limits: Limits):
        self.deaths = 0
        self._most_seconds = limits.max_seconds
        self._workers = [_Worker() for _ in range(limits.workers or joblib.cpu_count())]
        # Those that are free: what waits for one costs nothing if its client gives up.
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        for worker in self._workers:
            self._free.put_nowait(worker)
        self._threads = ThreadPoolExecutor(len(self._workers), "extract")

    def warm_up(self) -> None:
        """Return once every process has computed something: the first time takes seconds."""
        noise = np.random.default_rng(0).normal(scale=0.1, size=SAMPLE_RATE // 2)
        list(self._threads.map(lambda worker: worker(extract, noise, SAMPLE_RATE), self._workers))

    async def features(self, recording: bytes) -> FileFeatures:
        """Features of the bytes of an audio file.

        If the caller is cancelled, so is the work, by ending its process; another takes its place.
        A process may also be killed for the memory that others took, so a second one tries.

        Raises:
            NotAudio: it is none, or damaged.
            TooLong: it is longer than the limit.
            UserError: nothing can be computed from it, or processes die of it.
        """
        loop = asyncio.get_running_loop()
        worker = await self._free.get()
        try:
            for _ in range(_TRIES):
                given = (analyse_stream, io.BytesIO(recording), self._most_seconds)
                try:
                    return await loop.run_in_executor(self._threads, worker, *given)
                except _Died:
                    self.deaths += 1
                    _log.error("a process died over a recording of %d bytes", len(recording))
                    worker = self._another(worker)
        except asyncio.CancelledError:
            worker = self._another(worker)
            raise
        finally:
            self._free.put_nowait(worker)
        raise UserError("the recording cannot be worked through: the processes that tried died")

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown()

    def _another(self, worker: "_Worker") -> "_Worker":
        worker.end()
        self._workers.remove(worker)
        self._workers.append(_Worker())
        return self._workers[-1]


class _Died(Exception):
    """The process ended before it answered."""


class _Worker:
    """A process and a pipe to it that no other process holds, so a death is seen at once."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._ended = False

    def __call__(self, *call: Any) -> Any:
        """What a function gives, or raises, for its arguments; or `_Died`."""
        try:
            if not self._process:
                self._start()
            if self._ended:  # by another thread, which found no process yet
                self.end()
            self._pipe.send(call)
            result, error = self._pipe.recv()
        except (EOFError, OSError) as ended:
            raise _Died from ended
        if error:
            raise error
        return result

    def end(self) -> None:
        self._ended = True
        if self._process:
            self._process.kill()

    def _start(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._process = process


def _work(pipe: Connection) -> None:
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    logging.getLogger("mosei_ssl").setLevel(logging.ERROR)  # of the noise that warms up
    while True:
        try:
            function, *arguments = pipe.recv()
        except EOFError:  # the first process is gone
            return
        try:
            pipe.send((function(*arguments), None))
        except Exception as error:
            error.add_note(traceback.format_exc())  # which pickling would lose
            pipe.send((None, error))
