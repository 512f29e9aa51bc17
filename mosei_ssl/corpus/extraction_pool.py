"""Extracts recordings, several at once, in processes of one thread each."""

import contextlib
import logging
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import joblib

from mosei_ssl.corpus.audio_files import FileFeatures, printable
from mosei_ssl.corpus.feature_cache import FeatureCache
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one recording: where its features are, and of what size; or why it failed."""

    recording: Path
    key: str = ""
    rows: int = 0
    rate: int = 0
    remarks: tuple[str, ...] = ()
    error: str = ""


def look_up(recording: Path, cache: FeatureCache) -> Outcome | None:
    """Outcome of a recording whose features are in the cache; None if they are not."""
    try:
        key = cache.key(recording)
    except UserError:
        return None  # what is wrong is reported by whoever extracts it
    found = cache.load(key)
    return _outcome(recording, key, found) if found else None


def extract_all(recordings: Sequence[Path], cache: FeatureCache, workers: int) -> Iterator[Outcome]:
    """Outcome of every recording as it is done, whatever happens to the processes."""
    if workers == 1 or len(recordings) < 2:
        yield from (extract_to_cache(recording, cache) for recording in recordings)
        return
    # A process that is killed takes the others' work with it: those recordings are tried again,
    # first together, as most had nothing to do with it, then one at a time.
    left = dict.fromkeys(recordings)
    for _ in range(2):
        with contextlib.suppress(BrokenProcessPool):
            for outcome in _in_processes(list(left), cache, workers):
                del left[outcome.recording]
                yield outcome
    for recording in left:
        try:
            yield from _in_processes([recording], cache, workers)
        except BrokenProcessPool:
            reason = "the process died, probably for lack of memory"
            yield Outcome(recording, error=f"{printable(recording)}: {reason}")


def _in_processes(
    recordings: Sequence[Path], cache: FeatureCache, workers: int
) -> Iterator[Outcome]:
    pool = joblib.Parallel(
        workers,
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,
        inner_max_num_threads=1,
        # Ctrl-C reaches every process of the terminal; the first one ends the others.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    return pool(joblib.delayed(extract_to_cache)(recording, cache) for recording in recordings)


def extract_to_cache(recording: Path, cache: FeatureCache) -> Outcome:
    """Has the features of one recording in the cache; reports any failure."""
    name = printable(recording)
    try:
        key, found = cache.fetch(recording)
    except UserError as error:
        return Outcome(recording, error=str(error))
    except MemoryError:
        return Outcome(recording, error=f"{name}: not enough memory; use fewer workers")
    except OSError as error:
        return Outcome(recording, error=f"{name}: {printable(error)}")
    except Exception as error:
        # One unforeseen recording must not end the whole batch.
        logger.exception("%s", name)
        return Outcome(recording, error=f"{name}: {type(error).__name__}: {error}")
    return _outcome(recording, key, found)


def _outcome(recording: Path, key: str, found: FileFeatures) -> Outcome:
    return Outcome(recording, key, len(found.features), found.rate, found.remarks)
