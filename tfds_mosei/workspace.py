"""Places on disk that a build works in and cleans up after itself."""

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tensorflow_datasets.core import shuffle

from tfds_mosei.errors import CorpusError

_logger = logging.getLogger(__name__)

SHUFFLE_BYTES = 256 * 2**20
"""What a build keeps in memory of a split before it goes to disk."""


@contextlib.contextmanager
def exclusive(folder: Path, leftovers: str) -> Iterator[None]:
    """Holds a folder for one build at a time.

    The lock ends with the process, however it ends; so what an earlier build left unfinished is
    known to be dead, and is removed. Folders made here are removed again if nothing is in them
    at the end.

    Args:
        folder: directory of all versions of a config.
        leftovers: pattern of the unfinished directories in it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    handle = _lock(folder)
    try:
        for left in folder.glob(leftovers):
            shutil.rmtree(left)
        yield
    finally:
        # Before the lock ends, so that a folder that another build has locked is never removed.
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        os.close(handle)


def _lock(folder: Path) -> int:
    """Makes a folder and locks it; returns what must be closed to end the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _logger.info("Another build is at work in %s: waiting until it is done.", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        # The build that was waited for may have failed and removed the folder.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        os.close(handle)


def replace_folder(old: Path, new: Path) -> None:
    """Puts a finished folder in the place of another, which need not be there.

    Args:
        old: the folder to replace.
        new: the folder that takes its place; on the same disk.
    """
    aside = new.with_name(f"{new.name}.old")
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Makes a folder on the disk that the dataset goes to; ``/tmp`` may be small.

    Args:
        beside: directory to make it in.

    Yields:
        The folder; it is gone afterwards.
    """
    folder = beside / "corpus"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def small_shuffle_buffer() -> contextlib.AbstractContextManager[object]:
    """Lets TFDS hold less of a split in memory while it puts examples in order.

    Its own limit is a gigabyte, which alone is half of the memory a build may take. The order of
    the examples does not depend on it.

    Returns:
        A context in which the limit is `SHUFFLE_BYTES`.
    """
    return mock.patch.object(shuffle, "MAX_MEM_BUFFER_SIZE", SHUFFLE_BYTES)


@contextlib.contextmanager
def reported_as_unwritable(place: Path) -> Iterator[None]:
    """Turns errors of writing into a `CorpusError`; errors of reading say themselves what is wrong.

    What TensorFlow and ArrayRecord raise where a disk is full comes out of TFDS as a RuntimeError
    with the path in it.

    Args:
        place: directory of the dataset.

    Raises:
        CorpusError: the directory cannot be written to.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and os.fspath(place.parent) not in reason:
            raise
        raise CorpusError(
            f"{place}: the dataset cannot be written ({reason}). Its data_dir must be a folder "
            "that may be written to, with room for the dataset: make room, or give another one. "
            "Nothing is left half-written."
        ) from error
