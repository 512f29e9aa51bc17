"""A folder of COVAREP files, one per video: ``.mat`` as in MOSEI's raw archive, or ``.csv``.

A file holds ``features`` [n, 74] and mostly ``names``, or a table of 74 columns with or without
a header; there are no times in it: row i covers ``i * 10 ms`` to ``(i + 1) * 10 ms``.
"""

import csv
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from tfds_mosei.csd import MAX_ROWS, ends_in_time
from tfds_mosei.errors import CorpusError, one_line
from tfds_mosei.schema import FEATURE_NAMES, FRAME_PERIOD, NUM_FEATURES, column_order, plain_name


class MatFeatures:
    """COVAREP rows of files named by their videos, which ``_COVAREP`` may follow."""

    def __init__(self, files: Iterable[Path]):
        self._files: dict[str, Path] = {}
        for path in sorted(files):
            video_id = re.sub(r"(?i)(?<=.)_covarep$", "", path.stem)
            other = self._files.setdefault(video_id, path)
            if other != path:
                raise CorpusError(
                    f"{path} and {other} are both features of video {video_id!r}. "
                    "Move one of them away."
                )
        self.video_ids: tuple[str, ...] = tuple(sorted(self._files))

    def open(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Intervals float64 [n, 2] in seconds, and rows float32 [n, 74]."""
        path = self._files[video_id]
        features = read_table(path) if path.suffix.lower() == ".csv" else read_mat(path)
        edges = np.arange(len(features) + 1) * FRAME_PERIOD
        return np.stack([edges[:-1], edges[1:]], axis=1), features

    aligned_to_words = False

    def intervals(self, video_id: str) -> np.ndarray:
        return self.open(video_id)[0]

    def close(self) -> None:
        """Nothing is held open between videos."""


def read_mat(path: str | Path) -> np.ndarray:
    """Reads the COVAREP rows of a MATLAB file of version 5 to 7.3, float32 [n, 74].

    Where it has ``names``, the columns are brought into the order of `FEATURE_NAMES`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(64).startswith((b"# Created by Octave", b"# name:")):
                raise CorpusError(
                    f"{path} was written by Octave as text. Save it with `save -v7` there, under "
                    "the same name."
                )
        hdf5 = h5py.is_hdf5(path)
        if not hdf5 and not _can_be_read(path, path.stat().st_mtime_ns):
            raise ValueError("SciPy crashes on it")
        features, names = _read_hdf5(path) if hdf5 else _read_classic(path)
    except CorpusError:
        raise
    except Exception as error:  # what the readers raise depends on where a file is damaged
        raise CorpusError(
            f"{path} is not a readable MATLAB file ({one_line(error)}). It is damaged or cut "
            "short: fetch it again."
        ) from error
    if features.ndim != 2 or features.shape[1] != NUM_FEATURES or features.dtype.kind not in "fiu":
        raise CorpusError(
            f"{path}: 'features' has shape {features.shape} and type {features.dtype}; COVAREP "
            f"is [rows, {NUM_FEATURES}] numbers."
        )
    order = column_order(names, FEATURE_NAMES, path)
    with np.errstate(over="ignore"):
        rows = features if order is None else features[:, order]
        return np.ascontiguousarray(rows, dtype=np.float32)


def is_feature_table(header: Sequence[str]) -> bool:
    """Whether the first line of a CSV file has COVAREP's columns: their names, or 74 numbers."""
    known = {plain_name(name) for name in FEATURE_NAMES}
    named = sum(plain_name(cell) in known for cell in header) > len(known) / 2
    return len(header) == NUM_FEATURES and (named or _are_numbers(header))


def _are_numbers(cells: Iterable[str]) -> bool:
    try:
        return all(isinstance(float(cell), float) for cell in cells)
    except ValueError:
        return False


def read_table(path: str | Path) -> np.ndarray:
    """Reads a CSV file of 74 columns, with or without a header, as float32 [n, 74]."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader([file.readline()]), [])
            named = not _are_numbers(header)
            file.seek(0)
            rows = np.loadtxt(file, np.float32, delimiter=",", skiprows=int(named), ndmin=2)
    except (OSError, ValueError, csv.Error) as error:
        raise CorpusError(f"{path}: the rows cannot be read ({one_line(error)}).") from error
    if rows.shape[1] != NUM_FEATURES:
        raise CorpusError(f"{path}: {rows.shape[1]} columns; COVAREP has {NUM_FEATURES}.")
    order = column_order(header, FEATURE_NAMES, path) if named else None
    return rows if order is None else rows[:, order]


@functools.lru_cache(maxsize=65536)
def _can_be_read(path: Path, mtime_ns: int) -> bool:
    del mtime_ns  # part of the key: a file that changed is tried again
    return ends_in_time(lambda: _read_classic(path), 300)


def _read_classic(path: Path) -> tuple[np.ndarray, list[str] | None]:
    import scipy.io

    content = scipy.io.loadmat(path, variable_names=["features", "names"])
    features = content.get("features")
    if not isinstance(features, np.ndarray):
        raise CorpusError(f"{path}: no variable 'features' in it; it is not a COVAREP file.")
    names = content.get("names")
    if names is None:
        return features, None
    return features, [str(np.asarray(cell).reshape(-1)[0]) for cell in names.reshape(-1)]


def _read_hdf5(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """Version 7.3 is HDF5, with rows and columns exchanged and names behind references."""
    with h5py.File(path, "r", locking=False) as file:
        features = file.get("features")
        if not isinstance(features, h5py.Dataset) or features.ndim != 2:
            raise CorpusError(f"{path}: no variable 'features' in it; it is not a COVAREP file.")
        # Checked before anything is read: a few bytes are enough to claim any shape.
        columns, rows = features.shape
        if columns != NUM_FEATURES or rows > MAX_ROWS:
            raise CorpusError(
                f"{path}: 'features' claims the shape {(rows, columns)}; COVAREP is [rows, "
                f"{NUM_FEATURES}], with at most {MAX_ROWS} rows."
            )
        names = file.get("names")
        if not isinstance(names, h5py.Dataset):
            return features[()].T, None
        if names.size > 2 * NUM_FEATURES:
            raise CorpusError(f"{path}: {names.size} 'names' for {NUM_FEATURES} columns.")
        cells = [file[reference][:32] for reference in names[()].reshape(-1)]
        return features[()].T, ["".join(chr(int(c)) for c in cell.reshape(-1)) for cell in cells]
