"""Computational sequences (``.csd``), the HDF5 files that CMU-MOSEI is published as.

A file holds one sequence, named by its root::

    /<root name>/data/<video id>/features   [n, d]
    /<root name>/data/<video id>/intervals  [n, 2] seconds, start and end of each row
    /<root name>/metadata/<key>             [1], a JSON string (bare text in some files)

The reader touches one video at a time, so memory does not grow with the file. Whatever is wrong
with a file is reported as a `CorpusError` that names it.
"""

import contextlib
import functools
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfds_mosei.csd_writer import write
from tfds_mosei.errors import CorpusError, one_line, reading

__all__ = ["MAX_BYTES", "MAX_COLUMNS", "MAX_METADATA", "MAX_ROWS", "ComputationalSequence", "write"]

_logger = logging.getLogger(__name__)

# A file with more than these is taken for damaged.
MAX_ROWS = 2_000_000  # of one video (five hours at 100 Hz)
MAX_COLUMNS = 4096
MAX_BYTES = 2**30  # of one video's array in memory

MAX_METADATA = 16 * 2**20  # bytes of a value beyond which it is left out
HDF5_START = b"\x89HDF\r\n\x1a\n"
METADATA_SECONDS = 10  # after which reading the metadata is abandoned


class _StoredRows:
    """Rows of an open file, float32, read when they are taken."""

    dtype = np.dtype(np.float32)

    def __init__(self, dataset: h5py.Dataset, path: Path, what: str):
        self.shape: tuple[int, ...] = dataset.shape
        self._dataset = dataset
        self._reading = reading(path, what)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        with self._reading:
            if isinstance(rows, slice):
                return self._dataset[rows]
            return self._dataset[()][rows]  # HDF5 takes numbers in increasing order only


Rows = np.ndarray | _StoredRows
"""Rows of a video: an array in memory, or rows read from the file when they are taken."""


class ComputationalSequence(contextlib.AbstractContextManager):
    """One ``.csd`` file, opened for reading.

    Its `root`, for example ``"COVAREP"``, may be left out where there is one; `video_ids` are
    sorted. A `CorpusError` is raised if the file is missing, cut short or holds no sequence.

    Examples:
        >>> from tfds_mosei import csd
        >>> path = csd.write(tmp_path / "speech.csd", "COVAREP",
        ...                  [("talk", [[0.0, 0.01]], [[1.0, 2.0]])], dimension_names=["F0", "VUV"])
        >>> with csd.ComputationalSequence(path) as sequence:
        ...     for video_id in sequence.video_ids:
        ...         intervals, features = sequence.read(video_id)
        >>> features
        array([[1., 2.]], dtype=float32)

    References:
        The layout is that of the CMU Multimodal SDK
        (https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).
    """

    def __init__(self, path: str | os.PathLike[str], root: str | None = None):
        self.path = Path(path)
        self._file = _open_hdf5(self.path)
        self._last: tuple[str, h5py.h5d.DatasetID, h5py.h5d.DatasetID] | None = None
        try:
            with reading(self.path, "the list of contents"):
                self.root = root or self._find_root()
                self._data: h5py.Group = self._file[self.root]["data"]
                self.video_ids: tuple[str, ...] = tuple(sorted(self._data))
                self._known = frozenset(self.video_ids)
        except CorpusError:
            self.close()
            raise

    def _find_root(self) -> str:
        roots = _roots(self._file)
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
        return self.read_metadata()

    @functools.cached_property
    def dimension_names(self) -> list[str] | None:
        """Names of the columns, as the metadata gives them; None where it names none."""
        names = self.read_metadata("dimension names").get("dimension names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
        return [name.strip() for name in names]

    def read_metadata(self, *only: str) -> dict[str, Any]:
        """All metadata, or only some keys: each takes as long to read as the labels of a video."""
        if not ends_in_time(lambda: self._decode_metadata(only), METADATA_SECONDS):
            raise CorpusError(
                f"{self.path}: its metadata cannot be read. The file is damaged: fetch it again."
            )
        return self._decode_metadata(only)

    def _decode_metadata(self, only: tuple[str, ...]) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        try:
            group = self._file[self.root].get("metadata")
            keys = list(group) if isinstance(group, h5py.Group) else []
            for key in (key for key in keys if not only or key in only):
                try:
                    metadata[key] = _decode_text(group[key])
                except Exception as error:
                    _logger.warning(
                        "%s: metadata %r left out (%s)", self.path, key, one_line(error)
                    )
        except Exception as error:
            _logger.warning("%s: metadata left out (%s)", self.path, one_line(error))
        return metadata

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._known

    def _open(self, video_id: str) -> tuple[h5py.h5d.DatasetID, h5py.h5d.DatasetID]:
        """Opens and checks the intervals and features of a video; reads nothing yet.

        The low-level interface of h5py is used here, since the usual one takes longer to make its
        objects than to read the rows of a video.
        """
        last = self._last
        if last is None or last[0] != video_id:
            if video_id not in self:
                raise CorpusError(f"{self.path}: no video {video_id!r} in it.")
            intervals, features = (self._array(video_id, n) for n in ("intervals", "features"))
            self._check(video_id, intervals.shape, features.shape)
            last = self._last = (video_id, intervals, features)
        return last[1:]

    def _array(self, video_id: str, name: str) -> h5py.h5d.DatasetID:
        place = f"{video_id}/{name}".encode("utf-8", "surrogateescape")
        try:
            array = h5py.h5o.open(self._data.id, place)
            if not isinstance(array, h5py.h5d.DatasetID):
                raise ValueError("not an array")
            return array
        except (KeyError, ValueError) as error:
            raise CorpusError(
                f"{self.path}: video {video_id!r} has no readable {name!r} ({one_line(error)}). "
                "The file is damaged or is not a .csd file: fetch it again."
            ) from error

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
                f"{intervals[0]} intervals; there must be one interval for each row. Fetch the "
                "file again."
            )
        # What is claimed need not be there: HDF5 returns zeros for rows that were never written.
        needed = features[0] * features[1] * np.dtype(np.float32).itemsize
        if features[0] > MAX_ROWS or features[1] > MAX_COLUMNS or needed > MAX_BYTES:
            raise CorpusError(
                f"{self.path}: video {video_id!r} claims the shape {features}, more than "
                f"{MAX_ROWS} rows, {MAX_COLUMNS} columns or {MAX_BYTES} bytes. The file is "
                "damaged, or the recording must be cut into parts."
            )

    def shape(self, video_id: str) -> tuple[int, int]:
        """Rows and columns of a video, without reading them."""
        with reading(self.path, f"video {video_id!r}"):
            return self._open(video_id)[1].shape

    def intervals(self, video_id: str) -> np.ndarray:
        """Start and end of each row of a video, float64 [rows, 2] in seconds."""
        with reading(self.path, f"intervals of video {video_id!r}"):
            return _numbers(self._open(video_id)[0], np.float64)

    def open(self, video_id: str, whole: bool = False) -> tuple[np.ndarray, Rows]:
        """Intervals of one video, and its rows to take slices from (``rows[250:900]``).

        Float32 rows that lie in the file in one piece are read when they are taken, as long as the
        file is open, unless `whole` asks for all at once; others are as `read` gives them.
        """
        intervals = self.intervals(video_id)
        what = f"features of video {video_id!r}"
        with reading(self.path, what):
            features = self._open(video_id)[1]
            kind = features.dtype
            if kind == np.float32 and not whole and features.get_offset() is not None:
                stored = h5py.Dataset(features, readonly=True)
                return intervals, _StoredRows(stored, self.path, what)
            if kind.kind in "fiu":
                return intervals, _numbers(features, np.float32)
            if kind.kind not in "Sb":
                raise ValueError("neither numbers nor text of one length")
            needed = kind.itemsize * features.shape[0] * features.shape[1]
            if needed > MAX_BYTES:
                raise ValueError(f"{needed} bytes of text, more than {MAX_BYTES}")
            return intervals, h5py.Dataset(features)[()]

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
        intervals, rows = self.open(video_id, whole=True)
        return intervals, rows[:]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def list_roots(path: str | os.PathLike[str]) -> list[str]:
    """Root names of the sequences in a file; several can be in one."""
    with _open_hdf5(Path(path)) as file, reading(path, "the list of contents"):
        return _roots(file)


def _roots(file: h5py.File) -> list[str]:
    return [
        name
        for name in file
        if isinstance(file.get(name), h5py.Group) and isinstance(file[name].get("data"), h5py.Group)
    ]


def _open_hdf5(path: Path) -> h5py.File:
    """Opens a file for reading, without a lock: network file systems may have none."""
    if not path.is_file():
        raise CorpusError(f"{path}: no such file. Check the path.")
    try:
        return h5py.File(path, "r", locking=False)
    except Exception as error:  # as in `reading`
        if isinstance(error, PermissionError):
            reason = f"{path} cannot be read: no permission. Change its mode or owner."
        elif "open for write" in str(error) or "unable to lock" in str(error):
            reason = f"{path} is open for writing in another process, or was not closed after it."
        else:
            reason = (
                f"{path} is not a readable HDF5 file ({one_line(error)}). A .csd file is "
                "HDF5; this one is something else, or was cut short: fetch it again."
            )
        raise CorpusError(reason) from error


def _numbers(array: h5py.h5d.DatasetID, kind: type[np.floating]) -> np.ndarray:
    """Reads a whole array; HDF5 converts, so that a wider form is never held in memory."""
    values = np.empty(array.shape, kind)
    if values.size:
        array.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values


def ends_in_time(task: Callable[[], object], seconds: int) -> bool:
    """Whether a task ends in time without a crash, tried in a child process.

    HDF5 loops for ever on some damaged heaps of text, where no Python exception reaches it.
    """
    child = os.fork()
    if child == 0:
        try:
            logging.disable()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            task()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _decode_text(dataset: h5py.Dataset) -> Any:
    if dataset.nbytes > MAX_METADATA:
        raise ValueError("too long for a text")
    value = np.asarray(dataset[()]).reshape(-1)[0]
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
