"""Rows that lie in a file in one piece, read when they are asked for.

HDF5 stores an array that is neither compressed nor cut into chunks as plain bytes at one place.
Where that place is known, the operating system reads just the rows of a segment straight into the
array that becomes its example: nothing is converted, copied again, or read for nobody.
"""

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
    """An array [n, d] in an open file, read piece by piece.

    Nothing is mapped into memory, so a file that is cut short while it is read is an error like
    any other.

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
        # Known before memory is asked for, so that a damaged file cannot ask for too much of it.
        if place + shape[0] * self._row_bytes > os.fstat(file.fileno()).st_size:
            raise CorpusError(_damaged(file, _TOO_SHORT))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        """Reads rows.

        Args:
            rows: numbers of the rows: a slice without steps, or an int array [k].

        Returns:
            A new array [k, d].

        Raises:
            CorpusError: the file ends before the rows do, or cannot be read.
        """
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self.shape[0])
            return self._read(first, last)
        if not len(rows):
            return self._read(0, 0)
        first = int(rows.min())
        return self._read(first, int(rows.max()) + 1)[rows - first]

    def _read(self, first: int, last: int) -> np.ndarray:
        values = np.empty((max(0, last - first), self.shape[1]), self.dtype)
        if not values.size:
            return values
        place = self._place + first * self._row_bytes
        try:
            # A single read is all it takes, except for more than two gigabytes.
            done = os.preadv(self._file.fileno(), [values.data], place)
            while done < values.nbytes:
                rest = values.data.cast("B")[done:]
                found = os.preadv(self._file.fileno(), [rest], place + done)
                if not found:
                    raise EOFError(_TOO_SHORT)
                done += found
        except (OSError, ValueError, OverflowError, EOFError) as error:
            raise CorpusError(_damaged(self._file, error)) from error
        return values


def _damaged(file: BinaryIO, why: object) -> str:
    return (
        f"{file.name}: rows cannot be read ({why}). The file is damaged or cut short: fetch it "
        "again."
    )
