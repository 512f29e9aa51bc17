"""Finds a corpus in a folder and opens it."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np

from tfds_mosei import aligned
from tfds_mosei.csd import HDF5_START, ComputationalSequence, Rows, list_roots
from tfds_mosei.errors import CorpusError
from tfds_mosei.labels import VideoLabels, join_sentiment, labels_from_csv, labels_from_sequence
from tfds_mosei.mat import MatFeatures, is_feature_table
from tfds_mosei.schema import (
    EMOTIONS,
    FEATURE_NAMES,
    FEATURE_ROOT,
    LABEL_NAMES,
    LABEL_ROOT,
    NUM_FEATURES,
    column_order,
    plain_name,
)
from tfds_mosei.tables import TABLE_SUFFIXES, find_columns, table_header

_logger = logging.getLogger(__name__)

SAMPLING_RATES = "sampling rates"
"""Key of a feature file's metadata."""
_SEQUENCE_SUFFIXES = (".csd", ".h5", ".hdf5", ".hdf")
_ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_COLUMNS = {"features": FEATURE_NAMES, "labels": LABEL_NAMES, "emotions": EMOTIONS}
_COLUMNS["sentiment"] = LABEL_NAMES[:1]


class FeatureSource(Protocol):
    """Where COVAREP rows come from, one video at a time."""

    video_ids: tuple[str, ...]

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """Intervals float64 [n, 2] in seconds and rows float32 [n, 74] of a video."""

    def intervals(self, video_id: str) -> np.ndarray: ...

    @property
    def aligned_to_words(self) -> bool:
        """Whether the source says that a row is a word."""

    def close(self) -> None: ...


class CsdFeatures:
    """COVAREP rows from a ``.csd`` file, from the sequence with a root where it has several."""

    def __init__(self, path: Path, root: str | None = None):
        self._sequence = ComputationalSequence(path, root)
        self.video_ids: tuple[str, ...] = self._sequence.video_ids
        order, ids = None, self.video_ids
        try:
            # Names of other columns mean another file, which `open` says in fewer words.
            if not ids or self._sequence.shape(ids[0])[1] == NUM_FEATURES:
                order = column_order(self._sequence.dimension_names, FEATURE_NAMES, path)
        except CorpusError:
            self.close()
            raise
        self._order = None if order == list(range(NUM_FEATURES)) else order

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

    def intervals(self, video_id: str) -> np.ndarray:
        return self._sequence.intervals(video_id)

    @property
    def aligned_to_words(self) -> bool:
        """Whether `mosei-ssl convert` wrote rows of words."""
        return self._sequence.read_metadata("aligned to words").get("aligned to words") is True

    @property
    def sampling_rates(self) -> dict[str, int]:
        """Hz of the recordings, by video id, where `mosei-ssl extract` noted them."""
        rates = self._sequence.read_metadata(SAMPLING_RATES).get(SAMPLING_RATES)
        return rates if isinstance(rates, dict) else {}

    def close(self) -> None:
        self._sequence.close()


@dataclasses.dataclass(frozen=True)
class SourceFiles:
    """The files a corpus is made of; a root of None is the only one in its file."""

    folder: Path
    features: tuple[Path, ...]  # one file of sequences, or one .mat or .csv file per video
    labels: Path | None  # a file of sequences, or a table
    feature_root: str | None = None
    label_root: str | None = None
    more_labels: tuple[tuple[Path, str | None], ...] = ()  # tables, or the file of the sentiment
    taken: tuple[str, ...] = ()  # what was taken for what, in sentences

    def open_features(self) -> FeatureSource:
        if self.features[0].suffix.lower() in (".mat", ".csv"):
            return MatFeatures(self.features)
        return CsdFeatures(self.features[0], self.feature_root)

    def read_sampling_rates(self) -> dict[str, int]:
        """Hz of the recordings, by video id; none where they are not known."""
        features = self.open_features()
        with contextlib.closing(features):
            return features.sampling_rates if isinstance(features, CsdFeatures) else {}

    def read_labels(self) -> dict[str, VideoLabels]:
        """Reads all labels, by video id."""
        if self.labels is None:
            return {}
        if self.labels.suffix.lower() in TABLE_SUFFIXES:
            return labels_from_csv(self.labels, *(path for path, _ in self.more_labels))
        with ComputationalSequence(self.labels, self.label_root) as sequence:
            if not self.more_labels:
                emotions_only = _kind(sequence) == "emotions"
                return labels_from_sequence(sequence, EMOTIONS if emotions_only else LABEL_NAMES)
            emotions = labels_from_sequence(sequence, EMOTIONS)
        with ComputationalSequence(*self.more_labels[0]) as sequence:
            return join_sentiment(emotions, labels_from_sequence(sequence, LABEL_NAMES[:1]))


class Corpus(contextlib.AbstractContextManager):
    """An opened corpus: features by video, all labels."""

    def __init__(self, files: SourceFiles):
        self.files = files
        self.labels: Mapping[str, VideoLabels] = aligned.join_labels(files.read_labels())
        self.features: FeatureSource = aligned.join_features(files.open_features())
        self._with_features = frozenset(self.features.video_ids)

    @property
    def has_emotions(self) -> bool:
        """Whether any segment is labelled; packages without emotions serve for pretraining."""
        return any(
            np.isfinite(labels.values[:, 1:]).all(axis=1).any() for labels in self.labels.values()
        )

    def has_features(self, video_id: str) -> bool:
        return video_id in self._with_features

    def close(self) -> None:
        self.features.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def list_folder(folder: Path) -> list[Path]:
    """Files and folders in a folder, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CorpusError(f"{folder}: the folder cannot be read ({error}).") from error


@dataclasses.dataclass
class _Found:
    """What is in files, by kind: features, labels, emotions, sentiment, tables, rows, guesses."""

    kinds: dict[str, list[tuple[Path, str | None]]]
    roots: dict[str, Path]
    problems: dict[Path, str]

    def add(self, kind: str, path: Path, root: str | None = None) -> None:
        self.kinds.setdefault(kind, []).append((path, root))

    def __call__(self, kind: str) -> list[tuple[Path, str | None]]:
        return self.kinds.get(kind, [])


def find_sources(folder: str | os.PathLike[str], *, need_labels: bool = True) -> SourceFiles:
    """Finds features and labels of a corpus by what is in the files, whatever their names.

    Features: a sequence with the 74 columns, or ``.mat`` or ``.csv`` files of single videos.
    Labels: a sequence with the seven columns, one with the emotions and one with the sentiment, or
    tables. Folders below are searched for what is missing here. Anything missing, unreadable or
    there twice is a `CorpusError`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder. It must hold the feature file (root '{FEATURE_ROOT}') "
            f"and the label file (root '{LABEL_ROOT}')."
        )
    found = _Found({}, {}, {})
    for path in list_folder(folder):
        if path.is_file() and not path.name.startswith("._"):
            _look_into(path, found, _may_be_sequence(path))
    features, labels = _features(found), _labels(found)
    if not (features and labels):
        below = _Found({}, found.roots, found.problems)
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith("._") or part == "__MACOSX" for part in parts)
            if len(parts) > 1 and not hidden and path.is_file():
                _look_into(path, below, path.suffix.lower() in _SEQUENCE_SUFFIXES)
        features, labels = features or _features(below), labels or _labels(below)
    matlab = tuple(
        path
        for path in sorted(folder.rglob("*.[mM][aA][tT]"))
        if path.is_file() and not path.name.startswith("._") and "__MACOSX" not in path.parts
    )
    if matlab:
        features.append([(path, None) for path in matlab])
    for what, root, groups in (
        ("features", FEATURE_ROOT, features),
        ("labels", LABEL_ROOT, labels),
    ):
        if len(groups) > 1:
            names = ", ".join(str(group[0][0].relative_to(folder)) for group in groups)
            raise CorpusError(
                f"{folder}: {len(groups)} sets of {what} (root '{root}') were found: {names}. "
                "Keep the one you want and move the others away."
            )
    # A label file that cannot be used is not the same as none.
    if not features or (not labels and (need_labels or found.problems)):
        _raise_missing(folder, "features" if not features else "labels", found)
    paths, feature_root = tuple(path for path, _ in features[0]), features[0][0][1]
    taken = _sentence("features", features[0])
    if not labels:
        return SourceFiles(folder, paths, None, feature_root, taken=(taken,))
    (label_file, label_root), *more = labels[0]
    taken_too = _sentence("labels", labels[0])
    return SourceFiles(
        folder, paths, label_file, feature_root, label_root, tuple(more), (taken, taken_too)
    )


_Group = list[tuple[Path, str | None]]


def _features(found: _Found) -> list[_Group]:
    sequences = found("features") or found("features?")
    return [[item] for item in sequences] + ([found("rows")] if found("rows") else [])


def _labels(found: _Found) -> list[_Group]:
    groups = [[item] for item in found("labels")]
    groups += [[item, *found("sentiment")[:1]] for item in found("emotions")]
    groups += [found("tables")] if found("tables") else []
    return groups or [[item] for item in found("labels?")]


def _sentence(what: str, group: _Group) -> str:
    names = ", ".join(path.name + (f" (root {root!r})" if root else "") for path, root in group[:3])
    return f"{what}: {names}" + (f" and {len(group) - 3} others" if len(group) > 3 else "")


def _look_into(path: Path, found: _Found, sequence: bool) -> None:
    """Adds what a file is to what was found, or what is wrong with it to the problems."""
    suffix = path.suffix.lower()
    try:
        if suffix in TABLE_SUFFIXES:
            header = table_header(path)
            if suffix == ".csv" and is_feature_table(header):
                found.add("rows", path)
            else:
                find_columns(header, path)
                found.add("tables", path)
        elif sequence:
            for root in list_roots(path):
                with ComputationalSequence(path, root) as opened:
                    found.roots.setdefault(root, path)
                    kind = _kind(opened)
                if kind and kind.endswith("?"):
                    _logger.warning(
                        "%s: %r does not name its columns; by their number it could be %s.",
                        path,
                        root,
                        kind[:-1],
                    )
                if kind:
                    found.add(kind, path, root)
        elif suffix in _ARCHIVE_SUFFIXES:
            found.problems[path] = f"{path.name} is an archive: unpack it there."
    except CorpusError as error:
        found.problems[path] = str(error)


def _kind(sequence: ComputationalSequence) -> str | None:
    """What a sequence holds: by its root, its columns' names, or how many columns it has."""
    roots = {FEATURE_ROOT: "features", LABEL_ROOT: "labels"}
    if sequence.root in roots:
        return roots[sequence.root]
    names = {plain_name(name) for name in sequence.dimension_names or ()}
    for kind, wanted in _COLUMNS.items():
        known = names & {plain_name(name) for name in wanted}
        if names == known and len(known) == len(wanted):
            return kind
        if kind == "features" and 2 * len(known) >= NUM_FEATURES // 2:
            return kind  # what is wrong with the names is told when it is opened
    if len(names) > 1 or not sequence.video_ids:
        return None
    _, width = sequence.shape(sequence.video_ids[0])
    root = sequence.root.lower()
    guess = {NUM_FEATURES: "features?", len(LABEL_NAMES): "labels?"}.get(width)
    if width == len(EMOTIONS) and "emotion" in root:
        return "emotions"
    return "sentiment" if width == 1 and "sentiment" in root else guess


def _may_be_sequence(path: Path) -> bool:
    if path.suffix.lower() in _SEQUENCE_SUFFIXES:
        return True
    if path.suffix.lower() == ".mat":
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_START)) == HDF5_START
    except OSError:
        return False


def _raise_missing(folder: Path, what: str, found: _Found) -> NoReturn:
    from tfds_mosei.convert import recognise  # needs this module

    packages = {path: recognise(path) for path in list_folder(folder) if path.is_file()}
    told = {line: None for line in packages.values() if line}  # one line for files of one package
    told |= {text: None for path, text in found.problems.items() if not packages.get(path)}
    root = FEATURE_ROOT if what == "features" else LABEL_ROOT
    message = f"{folder}: no file with the root '{root}' ({what}) in it."
    if found.roots:
        seen = ", ".join(f"'{name}' in {path.name}" for name, path in sorted(found.roots.items()))
        message += f" Roots found: {seen}. This is another corpus, or a part is missing."
    if told:
        more = f" And {len(told) - 5} others." if len(told) > 5 else ""
        message += " Not usable: " + " ".join([*told][:5]) + more
    if what == "labels" and not told:
        message += " Recordings without labels, to pretrain on, are built with --unlabelled all."
    elif not found.roots and not told:
        message += " Put the files of the corpus there, under any name."
    raise CorpusError(message)
