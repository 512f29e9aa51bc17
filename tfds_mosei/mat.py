"""A folder of COVAREP ``.mat`` files, one per video, as in MOSEI's raw archive.

A file holds ``features`` [n, 74] and mostly ``names``; there are no times in it: row i covers
``i * 10 ms`` to ``(i + 1) * 10 ms``.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from tfds_mosei.csd import MAX_ROWS
from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import FEATURE_NAMES, FRAME_PERIOD, NUM_FEATURES

# What the MATLAB and HDF5 readers raise depends on where a file is damaged.
_READ_ERRORS = (
    OSError,
    RuntimeError,
    NotImplementedError,
    MatReadError,
    zlib.error,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    UnicodeError,
    EOFError,
)


class MatFeatures:
    """COVAREP rows from a folder of ``.mat`` files.

    Args:
        files: the files; the name without suffix is the id of the video.

    Attributes:
        video_ids: ids of the videos, sorted.

    Raises:
        CorpusError: two files have the same name.

    Example:
        ```python
        source = MatFeatures(Path("raw/COVAREP").glob("*.mat"))
        intervals, rows = source.read("-3g5yACwYnA")
        ```
    """

    def __init__(self, files: Iterable[Path]):
        self._files: dict[str, Path] = {}
        for path in sorted(files):
            other = self._files.setdefault(path.stem, path)
            if other != path:
                raise CorpusError(
                    f"{path} and {other} are both features of video {path.stem!r}. "
                    "Move one of them away."
                )
        self.video_ids: tuple[str, ...] = tuple(sorted(self._files))

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one video.

        Args:
            video_id: one of `video_ids`.

        Returns:
            ``(intervals, features)``: float64 [n, 2] in seconds, float32 [n, 74].

        Raises:
            CorpusError: the file cannot be read, or does not hold 74 columns of COVAREP.
        """
        features = read_mat(self._files[video_id])
        starts = np.arange(len(features)) * FRAME_PERIOD
        ends = np.arange(1, len(features) + 1) * FRAME_PERIOD
        return np.stack([starts, ends], axis=1), features

    def open(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """The same as `read`: a ``.mat`` file is read as a whole.

        Args:
            video_id: one of `video_ids`.

        Returns:
            As `read`.

        Raises:
            CorpusError: as `read`.
        """
        return self.read(video_id)

    def close(self) -> None:
        """Nothing is held open between videos."""


def read_mat(path: str | Path) -> np.ndarray:
    """Reads the COVAREP rows of a MATLAB file.

    Args:
        path: file of MATLAB version 5 to 7.3 with ``features`` [n, 74]; where it has ``names``,
            the columns are brought into the order of `FEATURE_NAMES`.

    Returns:
        float32 [n, 74].

    Raises:
        CorpusError: the file cannot be read, or does not hold 74 columns of COVAREP.
    """
    path = Path(path)
    try:
        features, names = _read_hdf5(path) if h5py.is_hdf5(path) else _read_classic(path)
    except CorpusError:
        raise
    except _READ_ERRORS as error:
        text = " ".join(str(error).split())[:200]
        raise CorpusError(
            f"{path} is not a readable MATLAB file ({text}). It is damaged or cut short: "
            "fetch it again."
        ) from error
    if features.ndim != 2 or features.shape[1] != NUM_FEATURES or features.dtype.kind not in "fiu":
        raise CorpusError(
            f"{path}: 'features' has shape {features.shape} and type {features.dtype}; COVAREP "
            f"is [rows, {NUM_FEATURES}] numbers."
        )
    if names is not None:
        if sorted(names) != sorted(FEATURE_NAMES):
            raise CorpusError(f"{path}: 'names' are not the {NUM_FEATURES} COVAREP columns.")
        features = features[:, [names.index(name) for name in FEATURE_NAMES]]
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(features, dtype=np.float32)


def _read_classic(path: Path) -> tuple[np.ndarray, list[str] | None]:
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
    with h5py.File(path, "r") as file:
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
        if names.size != NUM_FEATURES:
            raise CorpusError(f"{path}: 'names' are not the {NUM_FEATURES} COVAREP columns.")
        cells = [file[reference] for reference in names[()].reshape(-1)]
        found = [cell[: len(max(FEATURE_NAMES, key=len)) + 1] for cell in cells]
        return features[()].T, ["".join(chr(int(c)) for c in cell.reshape(-1)) for cell in found]
