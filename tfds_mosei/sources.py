"""Finds a corpus in a folder and opens it."""

import csv
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from tfds_mosei.csd import ComputationalSequence
from tfds_mosei.errors import CorpusError
from tfds_mosei.labels import (
    CSV_COLUMNS,
    VideoLabels,
    csv_columns,
    labels_from_csv,
    labels_from_sequence,
)
from tfds_mosei.mat import MatFeatures
from tfds_mosei.schema import FEATURE_NAMES, FEATURE_ROOT, LABEL_ROOT, NUM_FEATURES
from tfds_mosei.stored_rows import Rows

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEQUENCE_SUFFIXES = (".csd", ".h5", ".hdf5", ".hdf")


class FeatureSource(Protocol):
    """Where COVAREP rows come from, one video at a time."""

    video_ids: tuple[str, ...]

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Intervals float64 [n, 2] in seconds and rows float32 [n, 74] of a video."""

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """The same, with rows that are read when they are asked for, where that is possible."""

    def close(self) -> None:
        """Closes what is open."""


class CsdFeatures:
    """COVAREP rows from a ``.csd`` file.

    Args:
        path: file with the root ``COVAREP``.

    Attributes:
        video_ids: ids of the videos, sorted.

    Raises:
        CorpusError: the file cannot be read.
    """

    def __init__(self, path: Path):
        self._sequence = ComputationalSequence(path)
        self.video_ids: tuple[str, ...] = self._sequence.video_ids
        self._order = feature_order(self._sequence.dimension_names)

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one video.

        Args:
            video_id: one of `video_ids`.

        Returns:
            ``(intervals, features)``: float64 [n, 2] in seconds, float32 [n, 74].

        Raises:
            CorpusError: the video cannot be read, or is not COVAREP.
        """
        intervals, features = self.open(video_id)
        return intervals, features[:]

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """Intervals of one video, and its rows to take some from.

        Args:
            video_id: one of `video_ids`.

        Returns:
            As `read`, but rows that lie in the file in one piece are read when they are taken.

        Raises:
            CorpusError: the video cannot be read, or is not COVAREP.
        """
        _, width = self._sequence.shape(video_id)
        if width != NUM_FEATURES:
            raise CorpusError(
                f"{self._sequence.path}: features of video {video_id!r} have {width} columns; "
                f"COVAREP has {NUM_FEATURES}. This is another feature set."
            )
        intervals, features = self._sequence.open(video_id)
        if features.dtype != np.float32:
            raise CorpusError(
                f"{self._sequence.path}: features of video {video_id!r} are of type "
                f"{features.dtype}; numbers are needed."
            )
        return intervals, features if self._order is None else features[:][:, self._order]

    def close(self) -> None:
        """Closes the file."""
        self._sequence.close()


def feature_order(names: list[str] | None) -> list[int] | None:
    """Where each COVAREP column is in a file.

    Args:
        names: the file's ``dimension names``, if it has any.

    Returns:
        The column of each of `FEATURE_NAMES`; None where they are in this order already, or the
        file does not say otherwise.
    """
    if names is None or names == list(FEATURE_NAMES) or sorted(names) != sorted(FEATURE_NAMES):
        return None
    return [names.index(name) for name in FEATURE_NAMES]


@dataclasses.dataclass(frozen=True)
class SourceFiles:
    """The files a corpus is made of.

    Attributes:
        folder: where they were found.
        features: the ``.csd`` file with the root ``COVAREP``, or one ``.mat`` file per video.
        labels: the ``.csd`` file with the root ``All Labels``, or a CSV file.
    """

    folder: Path
    features: tuple[Path, ...]
    labels: Path

    def open_features(self) -> FeatureSource:
        """Opens the features.

        Returns:
            Rows by video.

        Raises:
            CorpusError: they cannot be read.
        """
        if self.features[0].suffix.lower() == ".mat":
            return MatFeatures(self.features)
        return CsdFeatures(self.features[0])

    def read_labels(self) -> dict[str, VideoLabels]:
        """Reads all labels.

        Returns:
            Labels by video id.

        Raises:
            CorpusError: they cannot be read.
        """
        if self.labels.suffix.lower() == ".csv":
            return labels_from_csv(self.labels)
        with ComputationalSequence(self.labels) as sequence:
            return labels_from_sequence(sequence)


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
        self.labels: Mapping[str, VideoLabels] = files.read_labels()
        self.features: FeatureSource = files.open_features()
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


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder.

    Args:
        folder: the folder.

    Returns:
        Its files and folders, sorted.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"{folder}: the folder cannot be read ({error}).") from error


def find_sources(folder: str | os.PathLike[str]) -> SourceFiles:
    """Finds features and labels of a corpus by what is in the files, whatever their names.

    Args:
        folder: where to look. Features: a file with the root ``COVAREP``, or ``.mat`` files here
            or in folders below. Labels: a file with the root ``All Labels``, or a CSV file with
            the columns id, start, end, sentiment, happy, sad, anger, surprise, disgust, fear.

    Returns:
        The files.

    Raises:
        CorpusError: something is missing, unreadable or there twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder. It must hold the feature file (root '{FEATURE_ROOT}') "
            f"and the label file (root '{LABEL_ROOT}')."
        )
    roots: dict[str, list[Path]] = {}
    problems: list[str] = []
    tables: list[Path] = []
    for path in (p for p in list_folder(folder) if p.is_file()):
        if path.suffix.lower() == ".csv":
            problem = _why_no_label_table(path)
            if problem is None:
                tables.append(path)
            else:
                problems.append(problem)
        elif _may_be_sequence(path):
            try:
                with ComputationalSequence(path) as sequence:
                    roots.setdefault(sequence.root, []).append(path)
            except CorpusError as error:
                problems.append(str(error))
    matlab = sorted(p for p in folder.rglob("*.[mM][aA][tT]") if p.is_file())
    features = [(path,) for path in roots.get(FEATURE_ROOT, [])] + ([tuple(matlab)] * bool(matlab))
    labels = roots.get(LABEL_ROOT, []) + tables
    if len(features) == 1 and len(labels) == 1:
        return SourceFiles(folder, features[0], labels[0])
    for what, root, found in (
        ("features", FEATURE_ROOT, [paths[0] for paths in features]),
        ("labels", LABEL_ROOT, labels),
    ):
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in found)
            raise CorpusError(
                f"{folder}: {what} (root '{root}') are there {len(found)} times: {names}. "
                "Leave what is meant and move the others away."
            )
    missing = (FEATURE_ROOT, "features") if not features else (LABEL_ROOT, "labels")
    raise CorpusError(_missing(folder, *missing, roots, problems))


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


def _why_no_label_table(path: Path) -> str | None:
    """What keeps a CSV file from being the labels; None where nothing does."""
    needed = (
        f"a label table has the columns {', '.join(CSV_COLUMNS)}, separated by commas, in UTF-8"
    )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            line = file.readline(65536)
            header = next(csv.reader([line]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return f"{path}: cannot be read ({error}); {needed}."
    if csv_columns(header) is not None:
        return None
    return f"{path}: its first line is {line.strip()[:200]!r}; {needed}."


def _missing(
    folder: Path, root: str, what: str, roots: Mapping[str, list[Path]], problems: list[str]
) -> str:
    message = f"{folder}: no file with the root '{root}' ({what}) in it."
    if roots:
        seen = ", ".join(f"'{name}' in {paths[0].name}" for name, paths in sorted(roots.items()))
        message += f" Roots found: {seen}. This is another corpus, or a part is missing."
    if problems:
        message += " Not usable: " + " ".join(problems)
    if not roots and not problems:
        message += " Put the files of the corpus there, under any name."
    return message
