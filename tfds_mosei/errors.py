"""Errors about a corpus, its folds or a prepared dataset."""

import os

from mosei_ssl.utils.errors import UserError


class CorpusError(UserError):
    """Something is wrong with the corpus, its folds or a prepared dataset.

    The message says what is wrong, in which file or video, and what to do about it.

    Examples:
        >>> import tfds_mosei
        >>> try:
        ...     tfds_mosei.build("covarep", data_dir=tmp_path, manual_dir="no/such/folder")
        ... except tfds_mosei.CorpusError as error:
        ...     print(str(error).splitlines()[0])
        no/such/folder: no such folder, or nothing in it. It must hold the corpus.
    """


class NothingPreparedError(CorpusError):
    """A folder holds no prepared dataset at all."""


class reading:
    """Turns whatever a library raises for a damaged file into a `CorpusError` of one line.

    A class, since it is entered for every segment and a generator would be slower.
    """

    def __init__(self, path: str | os.PathLike[str], what: str):
        self._path = path
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # HDF5, SciPy and zlib raise nearly anything, depending on where the damage sits.
        if isinstance(error, Exception) and not isinstance(error, CorpusError):
            raise CorpusError(
                f"{os.fspath(self._path)}: {self._what} cannot be read ({one_line(error)}). "
                "The file is damaged or cut short: fetch it again."
            ) from error


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks and not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
