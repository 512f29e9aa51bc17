"""Computational sequences (``.csd``), the HDF5 files that CMU-MOSEI is published as.

A file holds one sequence, named by its root::

    /<root name>/data/<video id>/features   [n, d]
    /<root name>/data/<video id>/intervals  [n, 2] seconds, start and end of each row
    /<root name>/metadata/<key>             [1], a JSON string (bare text in some files)

The reader touches one video at a time, so memory does not grow with the file. Whatever is wrong
with a file comes out as a `CorpusError` that names it.
"""

import contextlib
import functools
import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from tfds_mosei.csd_writer import write
from tfds_mosei.errors import CorpusError
from tfds_mosei.global_heap import read_first_text
from tfds_mosei.stored_rows import Rows, StoredRows

__all__ = ["MAX_BYTES", "MAX_COLUMNS", "MAX_METADATA", "MAX_ROWS", "ComputationalSequence", "write"]

_logger = logging.getLogger(__name__)

MAX_ROWS = 2_000_000
"""Rows of one video beyond which the file is taken for damaged (five hours at 100 Hz)."""

MAX_COLUMNS = 4096
"""Columns beyond which the file is taken for damaged."""

MAX_BYTES = 2**30
"""Bytes of one video's array in memory beyond which the file is taken for damaged."""

MAX_METADATA = 10_000
"""Elements of a metadata value beyond which it is left out."""

_NATIVE = {np.float32: h5py.h5t.NATIVE_FLOAT, np.float64: h5py.h5t.NATIVE_DOUBLE}

# What h5py raises for damaged files depends on where the damage sits.
_READ_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    UnicodeError,
)


class _Reading:
    """Turns whatever goes wrong inside into a `CorpusError`; cheap, since every video needs it."""

    def __init__(self, path: Path, what: str):
        self._path = path
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, _READ_ERRORS) and not isinstance(error, CorpusError):
            raise CorpusError(
                f"{self._path}: {self._what} cannot be read ({_one_line(error)}). "
                "The file is damaged or cut short: fetch it again."
            ) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."


class ComputationalSequence:
    """One ``.csd`` file, opened for reading.

    Args:
        path: the file.

    Attributes:
        path: the file.
        root: root name, for example ``"COVAREP"``.
        video_ids: ids of the videos in the file, sorted.

    Raises:
        CorpusError: the file is missing, is not HDF5, is cut short or has no sequence in it.

    Example:
        ```python
        with ComputationalSequence("CMU_MOSEI_COVAREP.csd") as sequence:
            for video_id in sequence.video_ids:
                intervals, features = sequence.read(video_id)
        ```

    References:
        The layout is that of the CMU Multimodal SDK
        (https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_file():
            raise CorpusError(f"{self.path}: no such file. Check the path.")
        self._opened = contextlib.ExitStack()
        try:
            self._file = self._opened.enter_context(h5py.File(self.path, "r"))
            self._bytes = self._opened.enter_context(self.path.open("rb", buffering=0))
        except _READ_ERRORS as error:
            self._opened.close()
            raise CorpusError(
                f"{self.path} is not a readable HDF5 file ({_one_line(error)}). A .csd file is "
                "HDF5; this one is something else, or was cut short: fetch it again."
            ) from error
        try:
            with _Reading(self.path, "the list of contents"):
                self.root = self._find_root()
                data = self._file[self.root]["data"]
                self.video_ids: tuple[str, ...] = tuple(sorted(data))
                self._known = frozenset(self.video_ids)
                self._data: h5py.h5g.GroupID = data.id
                self._number = h5py.h5o.get_info(self._file.id).fileno
                self._last: tuple[str, _Video] | None = None
        except CorpusError:
            self.close()
            raise

    def _find_root(self) -> str:
        roots = [
            name
            for name in self._file
            if isinstance(self._file.get(name), h5py.Group)
            and isinstance(self._file[name].get("data"), h5py.Group)
        ]
        if len(roots) != 1:
            found = f"{len(roots)} ({', '.join(roots)})" if roots else "none"
            raise CorpusError(
                f"{self.path}: a computational sequence has one root group with a group 'data' "
                f"in it; this file has {found}. It is not a .csd file."
            )
        return roots[0]

    @functools.cached_property
    def metadata(self) -> dict[str, Any]:
        """What the file says about itself; values that are not JSON are kept as text."""
        return self._read_metadata()

    @functools.cached_property
    def dimension_names(self) -> list[str] | None:
        """Names of the columns, as the metadata gives them; None where it names none."""
        names = self._read_metadata("dimension names").get("dimension names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
        return [name.strip() for name in names]

    def _read_metadata(self, only: str | None = None) -> dict[str, Any]:
        """All of it, or one key: each costs as much as a video's labels."""
        metadata: dict[str, Any] = {}
        try:
            group = self._file[self.root].get("metadata")
            items = list(group) if isinstance(group, h5py.Group) else []
        except _READ_ERRORS as error:
            _logger.warning("%s: metadata left out (%s)", self.path, _one_line(error))
            return metadata
        for key in items:
            if only not in (None, key):
                continue
            try:
                metadata[key] = _decode_metadata(self.path, group[key])
            except _READ_ERRORS as error:
                _logger.warning("%s: metadata %r left out (%s)", self.path, key, _one_line(error))
        return metadata

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._known

    def __len__(self) -> int:
        return len(self.video_ids)

    def _open(self, video_id: str) -> "_Video":
        """Opens and checks the two arrays of a video.

        HDF5's own interface is used here: the usual one spends more time on making objects than
        on reading a video's rows.
        """
        if self._last is not None and self._last[0] == video_id:
            return self._last[1]
        if video_id not in self:
            raise CorpusError(f"{self.path}: no video {video_id!r} in it.")
        place = video_id.encode("utf-8", "surrogateescape")
        arrays: list[h5py.h5d.DatasetID] = []
        for name in ("intervals", "features"):
            try:
                arrays.append(h5py.h5o.open(self._data, place + b"/" + name.encode()))
                if not isinstance(arrays[-1], h5py.h5d.DatasetID):
                    raise ValueError("no array")
            except (KeyError, ValueError) as error:
                raise CorpusError(
                    f"{self.path}: video {video_id!r} has no readable {name!r} "
                    f"({_one_line(error)}). The file is damaged or is not a .csd file: fetch it "
                    "again."
                ) from error
        intervals, features = arrays
        opened = _Video(intervals, features, features.shape)
        self._check(video_id, intervals.shape, opened.shape)
        self._last = (video_id, opened)
        return opened

    def _check(self, video_id: str, intervals: tuple[int, ...], features: tuple[int, ...]) -> None:
        if len(intervals) != 2 or intervals[1] != 2:
            raise CorpusError(
                f"{self.path}: intervals of video {video_id!r} have shape {intervals}; "
                "[rows, 2] is needed (start and end in seconds)."
            )
        if len(features) != 2:
            raise CorpusError(
                f"{self.path}: features of video {video_id!r} have shape {features}; "
                "[rows, columns] is needed."
            )
        if intervals[0] != features[0]:
            raise CorpusError(
                f"{self.path}: video {video_id!r} has {features[0]} rows of features and "
                f"{intervals[0]} intervals; they must be as many. Fetch the file again."
            )
        # What is claimed need not be there: HDF5 makes up zeros for rows that were never written.
        needed = features[0] * features[1] * np.dtype(np.float32).itemsize
        if features[0] > MAX_ROWS or features[1] > MAX_COLUMNS or needed > MAX_BYTES:
            raise CorpusError(
                f"{self.path}: video {video_id!r} claims the shape {features}, more than "
                f"{MAX_ROWS} rows, {MAX_COLUMNS} columns or {MAX_BYTES} bytes. The file is "
                "damaged, or the recording must be cut into parts."
            )

    def shape(self, video_id: str) -> tuple[int, int]:
        """Rows and columns of a video, read without touching its data.

        Args:
            video_id: one of `video_ids`.

        Returns:
            ``(rows, columns)`` of its features.

        Raises:
            CorpusError: the video is missing or its arrays do not fit together.
        """
        with _Reading(self.path, f"video {video_id!r}"):
            return self._open(video_id).shape

    def intervals(self, video_id: str) -> np.ndarray:
        """Start and end of each row.

        Args:
            video_id: one of `video_ids`.

        Returns:
            float64 array [rows, 2], seconds, to be read only.

        Raises:
            CorpusError: the video is missing or cannot be read.
        """
        with _Reading(self.path, f"intervals of video {video_id!r}"):
            video = self._open(video_id)
            shape = (video.shape[0], 2)
            stored = self._in_one_piece(video.intervals, shape, np.float64)
            if stored is not None:
                return stored[:]
            return _read_numbers(video.intervals, shape, np.float64)

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """Intervals of one video, and its rows to take some from.

        Args:
            video_id: one of `video_ids`.

        Returns:
            As `read`, but to be read only, and where the file holds the rows as float32 in one
            piece they are `StoredRows`: taken from the file when they are asked for, as long as it
            is open.

        Raises:
            CorpusError: the video is missing or cannot be read; taking rows raises it too.
        """
        intervals = self.intervals(video_id)
        with _Reading(self.path, f"features of video {video_id!r}"):
            return intervals, self._rows(self._open(video_id))

    def _rows(self, video: "_Video") -> Rows:
        dataset = video.features
        stored = self._in_one_piece(dataset, video.shape, np.float32)
        if stored is not None:
            return stored
        kind = dataset.get_type()
        if kind.get_class() in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
            return _read_numbers(dataset, video.shape, np.float32)
        if _has_variable_length(kind):
            raise ValueError("neither numbers nor text of one length")
        needed = video.shape[0] * video.shape[1] * kind.get_size()
        if needed > MAX_BYTES:
            raise ValueError(f"{needed} bytes of text, more than {MAX_BYTES}")
        return np.asarray(h5py.Dataset(dataset)[()])

    def _in_one_piece(
        self, dataset: h5py.h5d.DatasetID, shape: tuple[int, int], kind: type[np.floating]
    ) -> StoredRows | None:
        """The array as bytes in the file; None where they are not all there as `kind`."""
        place = dataset.get_offset()
        if place is None or not dataset.get_type().equal(_NATIVE[kind]):
            return None
        # Behind an external link the place is one in the file that the link leads to.
        if h5py.h5o.get_info(dataset).fileno != self._number:
            return None
        return StoredRows(self._bytes, place, shape, np.dtype(kind))

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Intervals and features of one video.

        Args:
            video_id: one of `video_ids`.

        Returns:
            ``(intervals, features)``: float64 [rows, 2] in seconds, and [rows, columns], numbers
            as float32, text as stored.

        Raises:
            CorpusError: the video is missing or cannot be read.
        """
        intervals, rows = self.open(video_id)
        # Copies of what is mapped from the file, for the caller to do with as they like.
        return np.require(intervals, requirements="W"), np.require(rows[:], requirements="W")

    def close(self) -> None:
        """Closes the file."""
        self._last = None
        self._opened.close()

    def __enter__(self) -> "ComputationalSequence":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Video(NamedTuple):
    intervals: h5py.h5d.DatasetID
    features: h5py.h5d.DatasetID
    shape: tuple[int, int]


def _read_numbers(
    dataset: h5py.h5d.DatasetID, shape: tuple[int, int], kind: type[np.floating]
) -> np.ndarray:
    """Reads a whole array; HDF5 converts, so that a wider form is never held in memory."""
    values = np.empty(shape, kind)
    if values.size:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values


def _has_variable_length(kind: h5py.h5t.TypeID) -> bool:
    """Whether values of a type lie in the global heap, which only `global_heap` may read."""
    if kind.get_class() == h5py.h5t.STRING:
        return bool(kind.is_variable_str())
    return kind.get_class() not in (h5py.h5t.FLOAT, h5py.h5t.INTEGER, h5py.h5t.ENUM)


def _decode_metadata(path: Path, dataset: h5py.Dataset) -> Any:
    kind = dataset.id.get_type()
    if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
        value: Any = read_first_text(path, dataset)
    elif dataset.size > MAX_METADATA or _has_variable_length(kind):
        raise ValueError("not a text")
    else:
        value = dataset[()]
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0]
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
