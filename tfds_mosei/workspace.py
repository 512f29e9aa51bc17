"""Places on disk that a build works in, one build at a time, and cleans up after itself."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tensorflow_datasets.core import shuffle

from mosei_ssl.utils.files import lock
from tfds_mosei.errors import CorpusError

SHUFFLE_BYTES = 256 * 2**20  # of a split that a build keeps in memory before it goes to disk


@contextlib.contextmanager
def small_shuffle_buffer() -> Iterator[None]:
    """Lets TFDS hold less of a split in memory than the gigabyte that it would take otherwise.

    The order of the examples does not depend on it, and TFDS has no other way to set it.
    """
    before, shuffle.MAX_MEM_BUFFER_SIZE = shuffle.MAX_MEM_BUFFER_SIZE, SHUFFLE_BYTES
    try:
        yield
    finally:
        shuffle.MAX_MEM_BUFFER_SIZE = before


@contextlib.contextmanager
def exclusive(place: Path) -> Iterator[None]:
    """Holds all datasets of a data_dir for one build at a time.

    The lock ends with the process, however it ends; so what an earlier build of the dataset at
    `place` left unfinished is known to be dead, and is removed.
    """
    folder = place.parents[1]
    folder.mkdir(parents=True, exist_ok=True)
    message = f"Another build is at work in {folder}: waiting until it is done."
    with lock(folder, message, wait=True):
        for left in place.parent.glob(f"incomplete.*_{place.name}*"):
            shutil.rmtree(left)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                place.parent.rmdir()  # only where the build failed and left nothing in it


@contextlib.contextmanager
def reported_as_unwritable(place: Path) -> Iterator[None]:
    """Turns errors of writing into a `CorpusError`; errors of reading are `CorpusError`s already.

    What TensorFlow and ArrayRecord raise where a disk is full comes out of TFDS as a RuntimeError
    with the path in it.
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
