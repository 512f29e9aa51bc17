"""Errors about a corpus, its folds or a prepared dataset."""

import contextlib
import os
from collections.abc import Iterator

from mosei_ssl.utils.errors import UserError


class CorpusError(UserError):
    """Something is wrong with the corpus, its folds or a prepared dataset.

    The message says what is wrong, in which file or video, and what to do about it.

    Example:
        >>> import tfds_mosei
        >>> try:
        ...     tfds_mosei.build("covarep", data_dir=data_dir, manual_dir="no/such/folder")
        ... except tfds_mosei.CorpusError as error:
        ...     print(str(error).splitlines()[0])
        no/such/folder: no such folder, or nothing in it. It must hold the corpus.
    """


class NothingPreparedError(CorpusError):
    """A folder holds no prepared dataset at all."""


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turns whatever a library raises for a damaged file into a `CorpusError` of one line."""
    try:
        yield
    except CorpusError:
        raise
    # HDF5, SciPy and zlib raise nearly anything, depending on where the damage sits.
    except Exception as error:
        raise CorpusError(
            f"{os.fspath(path)}: {what} cannot be read ({one_line(error)}). The file is damaged "
            "or cut short: fetch it again."
        ) from error


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks and not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
