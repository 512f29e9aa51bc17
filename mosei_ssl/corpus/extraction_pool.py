"""Extracts recordings, several at once, in processes of one thread each."""

import contextlib
import logging
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
from threadpoolctl import threadpool_limits

from mosei_ssl.corpus.audio_files import extract_file, printable
from mosei_ssl.corpus.feature_store import FeatureStore
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one recording: its number of feature rows, or why it failed."""

    recording: Path
    rows: int = 0
    error: str = ""


def extract_all(recordings: Sequence[Path], store: FeatureStore, workers: int) -> Iterator[Outcome]:
    """Outcome of every recording as it is done, whatever happens to the processes."""
    if workers == 1 or len(recordings) < 2:
        yield from (extract_to_store(recording, store) for recording in recordings)
        return
    # A process that is killed takes the others' work with it: those recordings are tried again,
    # first together, as most had nothing to do with it, then one at a time.
    left = dict.fromkeys(recordings)
    for _ in range(2):
        with contextlib.suppress(BrokenProcessPool):
            for outcome in _in_processes(list(left), store, workers):
                del left[outcome.recording]
                yield outcome
    for recording in left:
        try:
            yield from _in_processes([recording], store, workers)
        except BrokenProcessPool:
            reason = "the process died, probably for lack of memory"
            yield Outcome(recording, error=f"{printable(recording)}: {reason}")


def _in_processes(
    recordings: Sequence[Path], store: FeatureStore, workers: int
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
    return pool(joblib.delayed(extract_to_store)(recording, store) for recording in recordings)


def extract_to_store(recording: Path, store: FeatureStore) -> Outcome:
    """Computes and stores the features of one recording with one thread; reports any failure."""
    name = printable(recording)
    try:
        # A missing recording has no fingerprint; reading it gives the better message.
        before = store.fingerprint(recording) if recording.exists() else ""
        with threadpool_limits(1):
            features = extract_file(recording, **asdict(store.options))
        if store.fingerprint(recording) != before:
            raise UserError(f"{name} changed meanwhile: start again")
        store.save(recording, features, before)
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
    return Outcome(recording, len(features))
