"""A spreadsheet of labels for one's own recordings, and folds that keep speakers apart."""

import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mosei_ssl.errors import UserError

logger = logging.getLogger(__name__)

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
LABEL_NAMES = ("sentiment", *EMOTIONS)
SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Splits and the share of the segments each should get."""

_KNOWN = {"file", "start", "end", "speaker", *LABEL_NAMES}


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of a recording.

    Attributes:
        start: Seconds.
        end: Seconds; infinite means until the end of the recording.
        values: Sentiment and six emotions, in the order of :data:`LABEL_NAMES`.
        line: Line of the spreadsheet.
    """

    start: float
    end: float
    values: tuple[float, ...]
    line: int


@dataclass
class LabelTable:
    """All labels of a spreadsheet.

    Attributes:
        path: The file.
        segments: By recording, in the order of the file.
        speakers: Speakers of each recording.
    """

    path: Path
    segments: dict[Path, list[Segment]] = field(default_factory=dict)
    speakers: dict[Path, set[str]] = field(default_factory=dict)


class _Lines:
    """Reads cells and complains with the line they are in."""

    def __init__(self, path: Path, columns: Sequence[str]):
        self.path = path
        self.columns = columns

    def fail(self, line: int, what: str) -> UserError:
        return UserError(f"{self.path}, line {line}: {what}")

    def number(self, row: dict, name: str, line: int, low: float, high: float, blank: float):
        text = (row.get(name) or "").strip()
        if not text:
            return blank
        try:
            value = float(text)
        except ValueError:
            raise self.fail(line, f"{name} is {text!r}, not a number") from None
        if not low <= value <= high:
            raise self.fail(line, f"{name} is {text}, outside {low:g} to {high:g}")
        return value


def _match(name: str, known: Mapping[str, Path], stems: Mapping[str, list[Path]]) -> Path | None:
    """The recording a cell means: by path, by file name, or by file name without ending."""
    if name in known:
        return known[name]
    candidates = stems.get(Path(name).name) or stems.get(Path(name).stem, [])
    wanted = Path(name)
    exact = [path for path in candidates if path.parts[-len(wanted.parts) :] == wanted.parts]
    chosen = exact or (candidates if len(wanted.parts) == 1 else [])
    return chosen[0] if len(chosen) == 1 else None


def read_labels(path: str | Path, recordings: Iterable[Path]) -> LabelTable:
    """Reads the spreadsheet.

    Args:
        path: CSV file in UTF-8 with a header. ``file`` names a recording (path, file name, or
            name without ending); ``start`` and ``end`` in seconds (blank: the whole recording);
            any of the six emotions, 0 (absent) to 3 (strong), and ``sentiment``, -3 to 3 (blank
            or missing: 0); ``speaker``.
        recordings: Audio files the rows may name.

    Returns:
        The labels.

    Raises:
        UserError: What is wrong, with the line.
    """
    path = Path(path)
    recordings = list(recordings)
    known = {str(recording): recording for recording in recordings}
    stems: dict[str, list[Path]] = {}
    for recording in recordings:
        for key in {recording.name, recording.stem}:
            stems.setdefault(key, []).append(recording)
    table = LabelTable(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            sample = file.read(4096)
            file.seek(0)
            delimiter = max(",;\t", key=sample.partition("\n")[0].count)
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
            _check_columns(path, columns)
            reader.fieldnames = columns
            lines = _Lines(path, columns)
            for row in reader:
                _add_row(table, row, lines, reader.line_num, known, stems)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not table.segments:
        raise UserError(f"{path}: no rows below the header")
    if "speaker" not in columns:
        logger.warning(
            "%s has no column 'speaker': every recording counts as another speaker, so the same "
            "voice may end up in training and test",
            path,
        )
    return table


def _check_columns(path: Path, columns: list[str]) -> None:
    if "file" not in columns:
        raise UserError(
            f"{path}: the header has no column 'file'; expected file, start, end, speaker and any "
            f"of {', '.join(EMOTIONS)}"
        )
    if len(set(columns)) < len(columns):
        raise UserError(f"{path}: a column is named twice in the header")
    if not set(columns) & set(EMOTIONS):
        raise UserError(f"{path}: no emotion among its columns ({', '.join(EMOTIONS)})")
    unknown = [name for name in columns if name not in _KNOWN]
    if unknown:
        logger.warning("%s: columns not used: %s", path, ", ".join(map(repr, unknown)))


def _add_row(
    table: LabelTable,
    row: dict,
    lines: _Lines,
    line: int,
    known: Mapping[str, Path],
    stems: Mapping[str, list[Path]],
) -> None:
    name = (row.get("file") or "").strip()
    if not name:
        if any((value or "").strip() for value in row.values() if isinstance(value, str)):
            raise lines.fail(line, "the column 'file' is blank")
        return
    recording = _match(name, known, stems)
    if recording is None:
        raise lines.fail(
            line,
            f"{name!r} is not one of the {len(known)} audio files given, or several have that name",
        )
    start = lines.number(row, "start", line, 0, math.inf, 0.0)
    end = lines.number(row, "end", line, 0, math.inf, math.inf)
    if end <= start:
        raise lines.fail(line, f"end {end:g} is not after start {start:g}")
    values = [lines.number(row, "sentiment", line, -3, 3, 0.0)]
    values += [lines.number(row, emotion, line, 0, 3, 0.0) for emotion in EMOTIONS]
    segment = Segment(start, end, tuple(values), line)
    table.segments.setdefault(recording, []).append(segment)
    speaker = (row.get("speaker") or "").strip() or f"file {recording}"
    table.speakers.setdefault(recording, set()).add(speaker)


def speaker_groups(table: LabelTable, recordings: Sequence[Path]) -> list[list[Path]]:
    """Recordings that must stay together because they share a speaker.

    Args:
        table: The labels.
        recordings: Which recordings to group; those without labels are left out.

    Returns:
        Groups, each in the given order, ordered by their first recording.
    """
    groups: list[tuple[set[str], list[Path]]] = []
    for recording in recordings:
        if recording not in table.segments:
            continue
        speakers = set(table.speakers[recording])
        together = [group for group in groups if group[0] & speakers]
        apart = [group for group in groups if not group[0] & speakers]
        for other, _ in together:
            speakers |= other
        members = [path for _, paths in together for path in paths] + [recording]
        groups = [*apart, (speakers, members)]
    order = {recording: index for index, recording in enumerate(recordings)}
    ordered = [sorted(paths, key=order.__getitem__) for _, paths in groups]
    return sorted(ordered, key=lambda paths: order[paths[0]])


def _deal(
    units: Sequence[list[Path]], shares: Mapping[str, float], table: LabelTable, seed: int
) -> dict[str, list[Path]]:
    """Deals units out in random order, each to the split that lacks the most segments."""
    order = np.random.default_rng(seed).permutation(len(units))
    weights = [sum(len(table.segments[path]) for path in unit) for unit in units]
    folds: dict[str, list[Path]] = {split: [] for split in shares}
    filled = dict.fromkeys(shares, 0.0)
    for rank, index in enumerate(order):
        empty = [split for split in shares if not folds[split]]
        # Whatever the weights, the last units go to splits that have none yet.
        choices = empty if len(empty) >= len(order) - rank else list(shares)
        split = max(choices, key=lambda name: shares[name] - filled[name] / sum(weights))
        folds[split] += units[index]
        filled[split] += weights[index]
    return folds


def speaker_disjoint_folds(
    table: LabelTable, recordings: Sequence[Path], seed: int = 0
) -> dict[str, list[Path]]:
    """Divides the recordings into train, validation and test with no speaker in two of them.

    About 60, 20 and 20 % of the segments come out. Two speakers are too few for that: then one is
    for training and the recordings of the other are divided into validation and test, with a
    warning in the log; those of a single speaker are divided into all three.

    Args:
        table: The labels.
        recordings: Recordings to divide; those without labels are left out.
        seed: Of the draw.

    Returns:
        Recordings by split.

    Raises:
        UserError: Fewer than three labelled recordings.
    """
    groups = speaker_groups(table, recordings)
    labelled = sum(map(len, groups))
    if labelled < len(SPLITS):
        raise UserError(
            f"{table.path}: {labelled} labelled recording(s), at least 3 are needed, one each for "
            "train, validation and test (cut long ones into several files)"
        )
    if len(groups) >= len(SPLITS):
        folds = _deal(groups, SPLITS, table, seed)
    elif len(groups) == 2:
        logger.warning(
            "%s: two speakers only: one is for training, the other for both validation and test",
            table.path,
        )
        divided, kept = sorted(groups, key=len)
        if len(divided) < 2:
            divided, kept = kept, divided
        halves = {"validation": 0.5, "test": 0.5}
        folds = {"train": kept} | _deal([[path] for path in divided], halves, table, seed)
    else:
        logger.warning(
            "%s: a single speaker: the same voice is in train, validation and test, so scores "
            "will say nothing about other voices",
            table.path,
        )
        folds = _deal([[path] for path in groups[0]], SPLITS, table, seed)
    position = {recording: index for index, recording in enumerate(recordings)}
    return {split: sorted(paths, key=position.__getitem__) for split, paths in folds.items()}
