"""Finds a corpus in a folder and identifies it."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from tfds_mosei.csd import ComputationalSequence
from tfds_mosei.errors import CorpusError
from tfds_mosei.labels import VideoLabels, labels_from_sequence
from tfds_mosei.schema import FEATURE_ROOT, LABEL_ROOT, NUM_FEATURES

FINGERPRINT_LENGTH = 10
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEQUENCE_SUFFIXES = (".csd", ".h5", ".hdf5", ".hdf")


class FeatureSource(Protocol):
    """Where COVAREP rows come from, one video at a time."""

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of the videos that have rows, sorted."""

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Intervals float64 [n, 2] in seconds and rows float32 [n, 74] of a video."""

    def close(self) -> None:
        """Closes what is open."""


class CsdFeatures:
    """COVAREP rows from a ``.csd`` file.

    Args:
        path: file with the root ``COVAREP``.

    Raises:
        CorpusError: a video has another number of columns, or no numbers.
    """

    def __init__(self, path: Path):
        self._sequence = ComputationalSequence(path)
        self.video_ids = self._sequence.video_ids

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one video.

        Args:
            video_id: one of `video_ids`.

        Returns:
            ``(intervals, features)``: float64 [n, 2] in seconds, float32 [n, 74].

        Raises:
            CorpusError: the video cannot be read, or is not COVAREP.
        """
        rows, width = self._sequence.shape(video_id)
        if width != NUM_FEATURES:
            raise CorpusError(
                f"{self._sequence.path}: features of video {video_id!r} have {width} columns; "
                f"COVAREP has {NUM_FEATURES}. This is another feature set."
            )
        intervals, features = self._sequence.read(video_id)
        if features.dtype != np.float32:
            raise CorpusError(
                f"{self._sequence.path}: features of video {video_id!r} are of type "
                f"{features.dtype}; numbers are needed."
            )
        return intervals, features.reshape(rows, NUM_FEATURES)

    def close(self) -> None:
        """Closes the file."""
        self._sequence.close()


@dataclasses.dataclass(frozen=True)
class SourceFiles:
    """The files a corpus is made of.

    Attributes:
        folder: where they were found.
        features: the ``.csd`` file with the root ``COVAREP``.
        labels: the ``.csd`` file with the root ``All Labels``.
    """

    folder: Path
    features: Path
    labels: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file whose content decides what is prepared."""
        return (self.features, self.labels)


class Corpus:
    """An opened corpus: features by video, all labels.

    Args:
        files: what `find_sources` found.

    Attributes:
        files: where it was read from.
        features: rows by video.
        labels: labels by video id.

    Raises:
        CorpusError: a file cannot be read.

    Example:
        ```python
        with Corpus(find_sources("downloads/mosei")) as corpus:
            intervals, rows = corpus.features.read("-3g5yACwYnA")
        ```
    """

    def __init__(self, files: SourceFiles):
        self.files = files
        with ComputationalSequence(files.labels) as sequence:
            self.labels: Mapping[str, VideoLabels] = labels_from_sequence(sequence)
        self.features: FeatureSource = CsdFeatures(files.features)
        self._with_features = frozenset(self.features.video_ids)

    def has_features(self, video_id: str) -> bool:
        """Whether a video has feature rows.

        Args:
            video_id: id of the video.

        Returns:
            True where the feature source holds it.
        """
        return video_id in self._with_features

    def close(self) -> None:
        """Closes the files."""
        self.features.close()

    def __enter__(self) -> "Corpus":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def find_sources(folder: str | os.PathLike[str]) -> SourceFiles:
    """Finds the feature and the label file of a corpus by their root names.

    Args:
        folder: where to look; file names do not matter.

    Returns:
        The files.

    Raises:
        CorpusError: one of them is missing, unreadable or there twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder. It must hold the feature file (root '{FEATURE_ROOT}') "
            f"and the label file (root '{LABEL_ROOT}')."
        )
    found: dict[str, list[Path]] = {}
    problems: list[str] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if not _may_be_sequence(path):
            continue
        try:
            with ComputationalSequence(path) as sequence:
                found.setdefault(sequence.root, []).append(path)
        except CorpusError as error:
            problems.append(str(error))
    return SourceFiles(
        folder,
        features=_only(found, FEATURE_ROOT, "features", folder, problems),
        labels=_only(found, LABEL_ROOT, "labels", folder, problems),
    )


def _may_be_sequence(path: Path) -> bool:
    if path.suffix.lower() in _SEQUENCE_SUFFIXES:
        return True
    if path.suffix.lower() == ".mat":
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE
    except OSError:
        return False


def _only(
    found: Mapping[str, list[Path]], root: str, what: str, folder: Path, problems: list[str]
) -> Path:
    paths = found.get(root, [])
    if len(paths) == 1:
        return paths[0]
    if paths:
        names = ", ".join(path.name for path in paths)
        raise CorpusError(
            f"{folder}: {len(paths)} files have the root '{root}' ({names}). "
            "Leave the one that is meant and move the others away."
        )
    message = f"{folder}: no file with the root '{root}' ({what}) in it."
    if found:
        seen = ", ".join(f"'{name}' in {paths[0].name}" for name, paths in sorted(found.items()))
        message += f" Roots found: {seen}. This is another corpus, or a part is missing."
    if problems:
        message += " Not usable: " + " ".join(problems)
    if not found and not problems:
        message += " Put the .csd files there, under any name."
    raise CorpusError(message)


@functools.lru_cache(maxsize=64)
def _hash_file(path: str, size: int, mtime_ns: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def hash_file(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content, remembered while size and time stay the same.

    Args:
        path: the file.

    Returns:
        Hexadecimal BLAKE2b of 16 bytes.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        status = os.stat(path)
        return _hash_file(os.fspath(Path(path).resolve()), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error}).") from error


def fingerprint(content: Mapping[str, Any]) -> str:
    """Short name of what a dataset was made from.

    Args:
        content: whatever decides what is prepared, as JSON can hold it.

    Returns:
        Ten hexadecimal digits.
    """
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def describe_files(files: SourceFiles) -> list[dict[str, Any]]:
    """What identifies the files of a corpus, for the dataset's metadata.

    Args:
        files: the files of a corpus.

    Returns:
        Name, size in bytes, time of change in nanoseconds and content hash of each.
    """
    described = []
    for path in files.files:
        content = hash_file(path)
        status = path.stat()
        described.append(
            {
                "name": path.name,
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "blake2b": content,
            }
        )
    return described
