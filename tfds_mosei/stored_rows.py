"""Rows that lie in a file in one piece, read when they are asked for.

HDF5 stores an array that is neither compressed nor cut into chunks as plain bytes at one place.
Where that place is known, the operating system shows just the rows of a segment, where it keeps the
file in memory anyway: nothing is converted, copied, or read for nobody.
"""

import mmap
import os
from typing import BinaryIO, Protocol

import numpy as np

from tfds_mosei.errors import CorpusError

_TOO_SHORT = "the file ends before they do"


class Rows(Protocol):
    """Rows of a video: an array in memory, or `StoredRows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        """Some of the rows."""


class StoredRows:
    """An array [n, d] in an open file, mapped into memory.

    A file that was cut short is an error like any other, told when rows are taken. It must not
    shrink between then and their use, as with every file that is mapped.

    Args:
        file: the file, opened for reading without a buffer.
        place: where the first byte of the array is.
        shape: rows and columns.
        dtype: type of the values as they are stored.

    Attributes:
        shape: rows and columns.
        dtype: type of the values.

    Raises:
        CorpusError: the file ends before the array does.

    Example:
        ```python
        rows = StoredRows(file, dataset.get_offset(), dataset.shape, np.dtype(np.float32))
        frames = rows[250:900]
        ```
    """

    def __init__(self, file: BinaryIO, place: int, shape: tuple[int, int], dtype: np.dtype):
        self.shape = shape
        self.dtype = dtype
        self._file = file
        self._place = place
        self._row_bytes = shape[1] * dtype.itemsize
        # Known before it is mapped, so that a damaged file cannot ask for too much.
        if place + shape[0] * self._row_bytes > os.fstat(file.fileno()).st_size:
            raise CorpusError(_damaged(file, _TOO_SHORT))
        self._rows = self._map()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        """Takes rows.

        Args:
            rows: numbers of the rows: a slice without steps, or an int array [k].

        Returns:
            An array [k, d], to be read only; it stays valid when the file is closed.

        Raises:
            CorpusError: the file ends before the rows do, or cannot be read.
        """
        if isinstance(rows, slice):
            _, last, _ = rows.indices(self.shape[0])
        else:
            last = int(rows.max()) + 1 if len(rows) else 0
        try:
            # Touching a page that the file no longer has would end the process.
            if self._place + last * self._row_bytes > os.fstat(self._file.fileno()).st_size:
                raise EOFError(_TOO_SHORT)
            return self._rows[rows]
        except (OSError, ValueError, EOFError) as error:
            raise CorpusError(_damaged(self._file, error)) from error

    def _map(self) -> np.ndarray:
        """All rows; nothing is read before it is looked at."""
        if not self.shape[0] * self._row_bytes:
            return np.empty(self.shape, self.dtype)
        before = self._place % mmap.ALLOCATIONGRANULARITY
        size = before + self.shape[0] * self._row_bytes
        start = self._place - before
        pages = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ, offset=start)
        return np.ndarray(self.shape, self.dtype, pages, before)


def _damaged(file: BinaryIO, why: object) -> str:
    return (
        f"{file.name}: rows cannot be read ({why}). The file is damaged or cut short: fetch it "
        "again."
    )
