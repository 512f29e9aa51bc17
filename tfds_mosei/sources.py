"""Finds a corpus in a folder and opens it."""

import csv
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from tfds_mosei.csd import ComputationalSequence, Rows
from tfds_mosei.errors import CorpusError
from tfds_mosei.labels import (
    CSV_COLUMNS,
    VideoLabels,
    csv_columns,
    labels_from_csv,
    labels_from_sequence,
)
from tfds_mosei.mat import MatFeatures
from tfds_mosei.schema import FEATURE_NAMES, FEATURE_ROOT, LABEL_ROOT, NUM_FEATURES, column_order

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEQUENCE_SUFFIXES = (".csd", ".h5", ".hdf5", ".hdf")


class FeatureSource(Protocol):
    """Where COVAREP rows come from, one video at a time."""

    video_ids: tuple[str, ...]

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """Intervals float64 [n, 2] in seconds and rows float32 [n, 74] of a video."""

    def close(self) -> None:
        """Closes what is open."""


class CsdFeatures:
    """COVAREP rows from a ``.csd`` file with the root ``COVAREP``."""

    def __init__(self, path: Path):
        self._sequence = ComputationalSequence(path)
        self.video_ids: tuple[str, ...] = self._sequence.video_ids
        self._order = feature_order(self._sequence.dimension_names)

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """Intervals of one video, and its rows, read when they are taken where possible."""
        path = self._sequence.path
        intervals, features = self._sequence.open(video_id)
        if features.shape[1] != NUM_FEATURES:
            kind = "a label file" if self._sequence.root == LABEL_ROOT else "another feature set"
            raise CorpusError(
                f"{path}: features of video {video_id!r} have {features.shape[1]} columns; "
                f"COVAREP has {NUM_FEATURES}. This is {kind}."
            )
        if features.dtype != np.float32:
            raise CorpusError(
                f"{path}: features of video {video_id!r} are of type {features.dtype}; numbers "
                "are needed."
            )
        return intervals, features if self._order is None else features[:][:, self._order]

    def close(self) -> None:
        """Closes the file."""
        self._sequence.close()


def feature_order(names: list[str] | None) -> list[int] | None:
    """Column of each of `FEATURE_NAMES` in a file with these ``dimension names``.

    None where they are in this order already, or the file does not say otherwise.
    """
    order = None if names is None else column_order(names, FEATURE_NAMES)
    return None if order == list(range(NUM_FEATURES)) else order


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
        """Opens the features."""
        if self.features[0].suffix.lower() == ".mat":
            return MatFeatures(self.features)
        return CsdFeatures(self.features[0])

    def read_labels(self) -> dict[str, VideoLabels]:
        """Reads all labels, by video id."""
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
    """

    def __init__(self, files: SourceFiles):
        self.files = files
        self.labels: Mapping[str, VideoLabels] = files.read_labels()
        self.features: FeatureSource = files.open_features()
        self._with_features = frozenset(self.features.video_ids)

    def has_features(self, video_id: str) -> bool:
        """Whether a video has feature rows."""
        return video_id in self._with_features

    def close(self) -> None:
        """Closes the files."""
        self.features.close()

    def __enter__(self) -> "Corpus":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def list_folder(folder: Path) -> list[Path]:
    """Files and folders in a folder, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"{folder}: the folder cannot be read ({error}).") from error


def find_sources(folder: str | os.PathLike[str]) -> SourceFiles:
    """Finds features and labels of a corpus by what is in the files, whatever their names.

    Features: a file with the root ``COVAREP``, or ``.mat`` files here or in folders below. Labels:
    a file with the root ``All Labels``, or a CSV file with the columns `CSV_COLUMNS`. Anything
    missing, unreadable or there twice is a `CorpusError`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder. It must hold the feature file (root '{FEATURE_ROOT}') "
            f"and the label file (root '{LABEL_ROOT}')."
        )
    roots: dict[str, list[Path]] = {}
    tables: list[Path] = []
    problems: dict[Path, str] = {}
    for path in (p for p in list_folder(folder) if p.is_file()):
        try:
            if path.suffix.lower() == ".csv":
                _check_label_table(path)
                tables.append(path)
            elif _may_be_sequence(path):
                with ComputationalSequence(path) as sequence:
                    roots.setdefault(sequence.root, []).append(path)
        except CorpusError as error:
            problems[path] = str(error)
    matlab = sorted(p for p in folder.rglob("*.[mM][aA][tT]") if p.is_file())
    features = [(path,) for path in roots.get(FEATURE_ROOT, [])] + ([tuple(matlab)] * bool(matlab))
    labels = roots.get(LABEL_ROOT, []) + tables
    for what, root, found in (
        ("features", FEATURE_ROOT, [paths[0] for paths in features]),
        ("labels", LABEL_ROOT, labels),
    ):
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in found)
            raise CorpusError(
                f"{folder}: {what} (root '{root}') are there {len(found)} times: {names}. "
                "Keep the one you want and move the others away."
            )
    if features and labels:
        return SourceFiles(folder, features[0], labels[0])
    missing = (FEATURE_ROOT, "features") if not features else (LABEL_ROOT, "labels")
    from tfds_mosei.convert import recognise  # needs this module

    packages = {path: recognise(path) for path in list_folder(folder)}
    told = {line: None for line in packages.values() if line}  # one line for files of one package
    told |= {text: None for path, text in problems.items() if not packages[path]}
    raise CorpusError(_missing(folder, *missing, roots, list(told)))


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


def _check_label_table(path: Path) -> None:
    """Raises what keeps a CSV file from being the labels."""
    needed = (
        f"a label table has the columns {', '.join(CSV_COLUMNS)}, separated by commas, in UTF-8"
    )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            line = file.readline(65536)
            header = next(csv.reader([line]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); {needed}.") from error
    if csv_columns(header) is None:
        raise CorpusError(f"{path}: its first line is {line.strip()[:200]!r}; {needed}.")


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
