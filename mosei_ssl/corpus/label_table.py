"""A spreadsheet of labels for one's own recordings, and folds that keep speakers apart."""

import csv
import logging
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

import numpy as np

from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
LABEL_NAMES = ("sentiment", *EMOTIONS)
SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Splits and the share of the segments each should get."""

_KNOWN = {"file", "start", "end", "speaker", *LABEL_NAMES}
# Labels often name the video that a recording was taken from.
_VIDEO = ".mp4 .m4v .m4a .mpg .mpeg .mkv .avi .mov .webm .wmv .flv .3gp .aac .wma"
_ENDINGS = (*AUDIO_SUFFIXES, *_VIDEO.split())
_SHOWN = 5
"""Lines named in a warning; there may be thousands."""


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
        speakers: Speakers of each recording, in lower case.
    """

    path: Path
    segments: dict[Path, list[Segment]] = field(default_factory=dict)
    speakers: dict[Path, set[str]] = field(default_factory=dict)


@dataclass
class _Row:
    """Cells of a line by column; complains with the line they are in."""

    path: Path
    line: int
    cells: dict[str, str]

    def fail(self, what: str) -> UserError:
        return UserError(f"{self.path}, line {self.line}: {what}")

    def text(self, name: str) -> str:
        return self.cells.get(name, "").strip()

    def number(self, name: str, low: float, high: float, blank: float) -> float:
        text = self.text(name)
        if not text:
            return blank
        try:
            value = float(text)
        except ValueError:
            raise self.fail(f"{name} is {text!r}, not a number") from None
        if not low <= value <= high:
            raise self.fail(f"{name} is {text}, outside {low:g} to {high:g}")
        return value

    def speaker(self) -> str:
        """The same for every way of writing a name: in capitals or not, accents apart or not."""
        name = self.text("speaker")
        if "\n" in name:
            raise self.fail("speaker goes over several lines: is a quote not closed?")
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

    def segment(self) -> Segment:
        start = self.number("start", 0, math.inf, 0.0)
        end = self.number("end", 0, math.inf, math.inf)
        if end <= start:
            raise self.fail(f"end {end:g} is not after start {start:g}")
        values = [self.number("sentiment", -3, 3, 0.0)]
        values += [self.number(emotion, 0, 3, 0.0) for emotion in EMOTIONS]
        return Segment(start, end, tuple(values), self.line)


def _rows(path: Path, file: TextIO) -> Iterator[_Row]:
    """Lines below the header that are not blank; checks the header first."""
    delimiter = max(",;\t", key=file.readline().count)
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    line = 1
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        columns = _check_columns(path, header)
        while True:
            # A cell with line breaks ends further down: a mistake is looked for where it begins.
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            row = _Row(path, line, dict(zip_longest(columns, cells[: len(columns)], fillvalue="")))
            _check_width(row, cells, columns, header)
            yield row
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: not CSV ({error}): is a quote not closed, or text after one?"
        ) from error


def _check_columns(path: Path, header: list[str]) -> list[str]:
    """The columns: the header without the nameless ones that spreadsheets leave at its end."""
    count = max((place + 1 for place, name in enumerate(header) if name), default=0)
    columns = header[:count]
    if "file" not in columns:
        raise UserError(
            f"{path}: the header has no column 'file'; expected file, start, end, speaker and any "
            f"of {', '.join(EMOTIONS)}"
        )
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise UserError(f"{path}: a column is named twice in the header")
    if not set(columns) & set(EMOTIONS):
        raise UserError(f"{path}: no emotion among its columns ({', '.join(EMOTIONS)})")
    unknown = [name for name in columns if name not in _KNOWN]
    if unknown:
        logger.warning("%s: columns not used: %s", path, ", ".join(map(repr, unknown)))
    return columns


def _check_width(row: _Row, cells: list[str], columns: list[str], header: list[str]) -> None:
    """Refuses cells under no column: the ones before them may be under the wrong one."""
    if len(cells) > len(header) or any(cell.strip() for cell in cells[len(columns) :]):
        raise row.fail(
            f"{len(cells)} cells, but {len(columns)} columns in the header: write decimals with a "
            "point, and put text that holds the separator in quotes"
        )


def _match(name: str, known: Mapping[str, Path], stems: Mapping[str, list[Path]]) -> Path | None:
    """The recording a cell means: by path, by file name, or by file name without ending."""
    if name in known:
        return known[name]
    wanted = Path(name)
    candidates = stems.get(wanted.name, [])
    # Not whatever follows a dot is an ending: "talk.2" is not "talk".
    if not candidates and wanted.suffix.lower() in _ENDINGS:
        candidates = stems.get(wanted.stem, [])
    exact = [path for path in candidates if path.parts[-len(wanted.parts) :] == wanted.parts]
    chosen = exact or (candidates if len(wanted.parts) == 1 else [])
    return chosen[0] if len(chosen) == 1 else None


def read_labels(path: str | Path, recordings: Iterable[Path]) -> LabelTable:
    """Reads the spreadsheet.

    A row that repeats another (same recording, start, end and labels) counts once, with a warning
    in the log; its speaker is added to the recording's.

    Args:
        path: CSV file in UTF-8 with a header. ``file`` names a recording (path, file name, or
            name without ending); ``start`` and ``end`` in seconds (blank: the whole recording);
            any of the six emotions, 0 (absent) to 3 (strong), and ``sentiment``, -3 to 3 (blank
            or missing: 0); ``speaker`` (case does not matter).
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
    speakers_given = False
    seen: dict[tuple[Path, float, float], Segment] = {}
    repeated: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in _rows(path, file):
                speakers_given = "speaker" in row.cells or speakers_given
                if not _add_row(table, row, _recording(row, known, stems), seen):
                    repeated.append(row.line)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not table.segments:
        raise UserError(f"{path}: no rows below the header")
    for recording, speakers in table.speakers.items():
        if not speakers:
            speakers.add(f"file {recording}")
    _warn(path, repeated, speakers_given)
    return table


def _warn(path: Path, repeated: list[int], speakers_given: bool) -> None:
    if repeated:
        logger.warning(
            "%s: %d row(s) repeat an earlier one and count once (line %s)",
            path,
            len(repeated),
            ", ".join(map(str, repeated[:_SHOWN])) + (" ..." if len(repeated) > _SHOWN else ""),
        )
    if not speakers_given:
        logger.warning(
            "%s has no column 'speaker': every recording counts as another speaker, so the same "
            "voice may end up in training and test",
            path,
        )


def _recording(row: _Row, known: Mapping[str, Path], stems: Mapping[str, list[Path]]) -> Path:
    name = row.text("file")
    if not name:
        raise row.fail("the column 'file' is blank")
    recording = _match(name, known, stems)
    if recording is None:
        raise row.fail(
            f"{name!r} is not one of the {len(known)} audio files given, or several have that name"
        )
    return recording


def _add_row(
    table: LabelTable,
    row: _Row,
    recording: Path,
    seen: dict[tuple[Path, float, float], Segment],
) -> bool:
    """Whether the row's segment is a new one."""
    segment, speaker = row.segment(), row.speaker()
    speakers = table.speakers.setdefault(recording, set())
    if speaker:
        speakers.add(speaker)
    before = seen.setdefault((recording, segment.start, segment.end), segment)
    if before.values != segment.values:
        raise row.fail(
            f"other labels than in line {before.line} for the same stretch of {recording.name}"
        )
    if before is not segment:
        return False
    table.segments.setdefault(recording, []).append(segment)
    return True


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


def _describe(table: LabelTable, groups: list[list[Path]]) -> str:
    """Why there are no more than one or two groups: few speakers, or recordings they share."""
    speakers = {name for group in groups for path in group for name in table.speakers[path]}
    if len(speakers) > len(groups):
        linked = "all of them" if len(groups) == 1 else "them into two groups"
        return f"{len(speakers)} speakers, but recordings they share link {linked}"
    return "a single speaker" if len(groups) == 1 else "two speakers only"


def speaker_disjoint_folds(
    table: LabelTable, recordings: Sequence[Path], seed: int = 0
) -> dict[str, list[Path]]:
    """Divides the recordings into train, validation and test with no speaker in two of them.

    About 60, 20 and 20 % of the segments come out. Two speakers are too few for that: then one is
    for training and the recordings of the other are divided into validation and test, with a
    warning in the log; those of a single speaker are divided into all three. The same goes for
    more speakers where recordings they share link all of them.

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
            "%s: %s: one is for training, the other for both validation and test",
            table.path,
            _describe(table, groups),
        )
        divided, kept = sorted(groups, key=len)
        if len(divided) < 2:
            divided, kept = kept, divided
        halves = {"validation": 0.5, "test": 0.5}
        folds = {"train": kept} | _deal([[path] for path in divided], halves, table, seed)
    else:
        logger.warning(
            "%s: %s: the same voice is in train, validation and test, so scores will say nothing "
            "about other voices",
            table.path,
            _describe(table, groups),
        )
        folds = _deal([[path] for path in groups[0]], SPLITS, table, seed)
    position = {recording: index for index, recording in enumerate(recordings)}
    return {split: sorted(paths, key=position.__getitem__) for split, paths in folds.items()}
