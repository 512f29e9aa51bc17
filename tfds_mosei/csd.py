"""Computational sequences (``.csd``), the HDF5 files that CMU-MOSEI is published as.

A file holds one sequence, named by its root::

    /<root name>/data/<video id>/features   [n, d]
    /<root name>/data/<video id>/intervals  [n, 2] seconds, start and end of each row
    /<root name>/metadata/<key>             [1], a JSON string (bare text in some files)

The reader touches one video at a time, so memory does not grow with the file. Whatever is wrong
with a file comes out as a `CorpusError` that names it.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfds_mosei.csd_writer import write
from tfds_mosei.errors import CorpusError
from tfds_mosei.global_heap import read_first_text

__all__ = ["MAX_COLUMNS", "MAX_METADATA", "MAX_ROWS", "ComputationalSequence", "write"]

_logger = logging.getLogger(__name__)

MAX_ROWS = 2_000_000
"""Rows of one video beyond which the file is taken for damaged (five hours at 100 Hz)."""

MAX_COLUMNS = 4096
"""Columns beyond which the file is taken for damaged."""

MAX_METADATA = 10_000
"""Elements of a metadata value beyond which it is left out."""

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


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except CorpusError:
        raise
    except _READ_ERRORS as error:
        raise CorpusError(
            f"{path}: {what} cannot be read ({_one_line(error)}). "
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
        metadata: what the file says about itself; values that are not JSON are kept as text.

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
        try:
            self._file = h5py.File(self.path, "r")
        except _READ_ERRORS as error:
            raise CorpusError(
                f"{self.path} is not a readable HDF5 file ({_one_line(error)}). A .csd file is "
                "HDF5; this one is something else, or was cut short: fetch it again."
            ) from error
        try:
            with _reading(self.path, "the list of contents"):
                self.root = self._find_root()
                data = self._file[self.root]["data"]
                self.video_ids: tuple[str, ...] = tuple(sorted(data))
                self._known = frozenset(self.video_ids)
                self._data: h5py.h5g.GroupID = data.id
                self._last: tuple[str | None, Any] = (None, None)
            self.metadata: dict[str, Any] = self._read_metadata()
        except CorpusError:
            self._file.close()
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

    def _read_metadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        try:
            group = self._file[self.root].get("metadata")
            items = list(group) if isinstance(group, h5py.Group) else []
        except _READ_ERRORS as error:
            _logger.warning("%s: metadata left out (%s)", self.path, _one_line(error))
            return metadata
        for key in items:
            try:
                metadata[key] = _decode_metadata(self.path, group[key])
            except _READ_ERRORS as error:
                _logger.warning("%s: metadata %r left out (%s)", self.path, key, _one_line(error))
        return metadata

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._known

    def __len__(self) -> int:
        return len(self.video_ids)

    def _open(self, video_id: str) -> tuple[h5py.h5d.DatasetID, h5py.h5d.DatasetID]:
        """Opens and checks the two arrays of a video.

        HDF5's own interface is used here: the usual one spends more time on making objects than
        on reading a video's rows.
        """
        if video_id == self._last[0]:
            return self._last[1]
        if video_id not in self:
            raise CorpusError(f"{self.path}: no video {video_id!r} in it.")
        arrays = []
        for name in ("intervals", "features"):
            try:
                place = f"{video_id}/{name}".encode("utf-8", "surrogateescape")
                arrays.append(h5py.h5d.open(self._data, place))
            except (KeyError, ValueError) as error:
                raise CorpusError(
                    f"{self.path}: video {video_id!r} has no readable {name!r} "
                    f"({_one_line(error)}). The file is damaged or is not a .csd file: fetch it "
                    "again."
                ) from error
        intervals, features = arrays
        self._check(video_id, intervals.shape, features.shape)
        self._last = (video_id, (intervals, features))
        return intervals, features

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
        if features[0] > MAX_ROWS or features[1] > MAX_COLUMNS:
            raise CorpusError(
                f"{self.path}: video {video_id!r} claims the shape {features}, more than "
                f"{MAX_ROWS} rows or {MAX_COLUMNS} columns. The file is damaged, or the recording "
                "must be cut into parts."
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
        with _reading(self.path, f"video {video_id!r}"):
            rows, columns = self._open(video_id)[1].shape
            return int(rows), int(columns)

    def intervals(self, video_id: str) -> np.ndarray:
        """Start and end of each row.

        Args:
            video_id: one of `video_ids`.

        Returns:
            float64 array [rows, 2], seconds.

        Raises:
            CorpusError: the video is missing or cannot be read.
        """
        with _reading(self.path, f"intervals of video {video_id!r}"):
            return _read_numbers(self._open(video_id)[0], np.float64)

    def features(self, video_id: str) -> np.ndarray:
        """Rows of a video, as stored.

        Args:
            video_id: one of `video_ids`.

        Returns:
            array [rows, columns]; numbers as float32, text as stored.

        Raises:
            CorpusError: the video is missing or cannot be read.
        """
        with _reading(self.path, f"features of video {video_id!r}"):
            dataset = self._open(video_id)[1]
            if dataset.get_type().get_class() in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
                return _read_numbers(dataset, np.float32)
            if _has_variable_length(dataset.get_type()):
                raise ValueError("neither numbers nor text of one length")
            return np.asarray(h5py.Dataset(dataset)[()])

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Intervals and features of one video.

        Args:
            video_id: one of `video_ids`.

        Returns:
            ``(intervals, features)``: float64 [rows, 2] in seconds, and [rows, columns].

        Raises:
            CorpusError: the video is missing or cannot be read.
        """
        return self.intervals(video_id), self.features(video_id)

    def close(self) -> None:
        """Closes the file."""
        self._last = (None, None)
        self._file.close()

    def __enter__(self) -> "ComputationalSequence":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_numbers(dataset: h5py.h5d.DatasetID, kind: type[np.floating]) -> np.ndarray:
    """Reads a whole array; HDF5 converts, so that a wider form is never held in memory."""
    values = np.empty(dataset.shape, kind)
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
