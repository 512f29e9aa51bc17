"""Features of recordings, in processes that may die without harm to the others."""

import asyncio
import io
import logging
import multiprocessing
import signal
from concurrent.futures import wait

import joblib
import numpy as np
from pebble import ProcessExpired, ProcessPool
from threadpoolctl import threadpool_limits

from mosei_ssl.corpus.audio_files import FileFeatures, analyse_stream
from mosei_ssl.covarep import SAMPLE_RATE, extract
from mosei_ssl.gateway.limits import Limits
from mosei_ssl.utils.errors import UserError

_log = logging.getLogger(__name__)


class Extractor:
    """A pool of processes of one thread each; close it in the end.

    Attributes:
        deaths: how many processes a recording has ended.
    """

    def __init__(self, limits: Limits):
        self.workers = limits.workers or joblib.cpu_count()
        self.deaths = 0
        self._most_seconds = limits.max_seconds
        self._free = asyncio.Semaphore(self.workers)
        # A forked copy of a process that runs TensorFlow could hang.
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(self.workers, context=spawn, initializer=_start)

    def warm_up(self) -> None:
        """Return once every process has computed something: the first time takes seconds."""
        noise = np.random.default_rng(0).normal(scale=0.1, size=SAMPLE_RATE // 2)
        wait([self._pool.schedule(extract, [noise, SAMPLE_RATE]) for _ in range(self.workers)])

    async def features(self, recording: bytes) -> FileFeatures:
        """Features of the bytes of an audio file.

        If the caller is cancelled, so is the work, by ending its process; another takes its place.

        Raises:
            NotAudio: it is none, or damaged.
            TooLong: it is longer than the limit.
            UserError: nothing can be computed from it.
        """
        # What waits here, and not in the pool, costs nothing if its client gives up.
        async with self._free:
            work = self._pool.schedule(_features, [recording, self._most_seconds])
            try:
                return await asyncio.wrap_future(work)
            except ProcessExpired as error:
                self.deaths += 1
                _log.error(
                    "a process ended over a recording of %d bytes: %s", len(recording), error
                )
                raise UserError(
                    "the recording cannot be worked through: the process that tried died"
                ) from None

    def close(self) -> None:
        """End the processes."""
        self._pool.stop()
        self._pool.join()


def _start() -> None:
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    logging.getLogger("mosei_ssl").setLevel(logging.ERROR)  # of the noise that warms up


def _features(recording: bytes, most_seconds: float) -> FileFeatures:
    return analyse_stream(io.BytesIO(recording), most_seconds)
