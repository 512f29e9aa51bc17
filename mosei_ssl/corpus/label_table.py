"""A spreadsheet of labels for a user's own recordings."""

import csv
import logging
import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile, zip_longest
from pathlib import Path, PureWindowsPath
from typing import TextIO

from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, LABEL_NAMES

logger = logging.getLogger(__name__)

_KNOWN = {"file", "start", "end", "speaker", *LABEL_NAMES}
# Labels often name the video that a recording was taken from.
_VIDEO = ".mp4 .m4v .m4a .mpg .mpeg .mkv .avi .mov .webm .wmv .flv .3gp .aac .wma"
_ENDINGS = (*AUDIO_SUFFIXES, *_VIDEO.split())
_SHOWN = 5  # lines named in a warning; there may be thousands


@dataclass(frozen=True)
class Segment:
    """Sentiment and emotions from start to end (seconds; infinite: to the recording's end)."""

    start: float
    end: float
    values: tuple[float, ...]
    line: int


@dataclass
class LabelTable:
    """Segments of a spreadsheet by recording, and each recording's speakers in lower case."""

    path: Path
    segments: dict[Path, list[Segment]] = field(default_factory=dict)
    speakers: dict[Path, set[str]] = field(default_factory=dict)


def read_labels(path: str | Path, recordings: Iterable[Path]) -> LabelTable:
    """Reads a CSV file in UTF-8 whose rows label the recordings; errors name the line.

    Its header names these columns: ``file`` names a recording (path, file name, or name without
    ending); ``start`` and ``end`` in seconds (blank: the whole recording); any of the six
    emotions, 0 (absent) to 3 (strong), and ``sentiment``, -3 to 3 (blank or missing: 0);
    ``speaker`` (case does not matter).

    A row that repeats another (same recording, start, end and labels) counts once, with a warning
    in the log; its speaker is added to the recording's.
    """
    table = LabelTable(Path(path))
    known = _KnownRecordings(recordings)
    seen: dict[tuple[Path, float, float], Segment] = {}
    repeated: list[str] = []
    has_speakers = False
    try:
        with table.path.open(newline="", encoding="utf-8-sig") as file:
            for row in _rows(table.path, file):
                has_speakers = has_speakers or "speaker" in row.cells
                recording, segment = known.of(row), row.segment()
                table.speakers.setdefault(recording, set()).update(row.speakers())
                before = seen.setdefault((recording, segment.start, segment.end), segment)
                if before.values != segment.values:
                    where = f"line {before.line} for the same stretch of {recording.name}"
                    raise row.fail(f"the labels differ from those in {where}")
                if before is segment:
                    table.segments.setdefault(recording, []).append(segment)
                else:
                    repeated.append(str(row.line))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not table.segments:
        raise UserError(f"{path}: no rows below the header")
    for recording, speakers in table.speakers.items():
        if not speakers:
            speakers.add(f"file {recording}")
    if repeated:
        lines = ", ".join(repeated[:_SHOWN]) + (" ..." if len(repeated) > _SHOWN else "")
        message = "%s: %d row(s) repeat an earlier one and count once (line %s)"
        logger.warning(message, path, len(repeated), lines)
    if not has_speakers:
        message = (
            "%s has no column 'speaker': each recording counts as a different speaker, so the same "
            "voice may end up in training and test"
        )
        logger.warning(message, path)
    return table


@dataclass
class _Row:
    """Cells of a line by column; errors name the line."""

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

    def speakers(self) -> set[str]:
        """The speaker, if there is one: the same in capitals or not, with any form of accents."""
        name = self.text("speaker")
        if "\n" in name:
            raise self.fail("speaker goes over several lines: is a quote not closed?")
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        return {name} if name else set()

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
        columns = _columns(path, header)
        while True:
            # A cell with line breaks ends further down: a mistake is looked for where it begins.
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            row = _Row(path, line, dict(zip_longest(columns, cells[: len(columns)], fillvalue="")))
            if len(cells) > len(header) or any(cell.strip() for cell in cells[len(columns) :]):
                # The cells before those under no column may be under the wrong one.
                raise row.fail(
                    f"{len(cells)} cells, but {len(columns)} columns in the header: write decimals "
                    "with a point, and put text that holds the separator in quotes"
                )
            yield row
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: not CSV ({error}): is a quote not closed, or text after one?"
        ) from error


def _columns(path: Path, header: Sequence[str]) -> Sequence[str]:
    """The header without the nameless columns that spreadsheets leave at its end."""
    columns = header[: max((place + 1 for place, name in enumerate(header) if name), default=0)]
    emotions = ", ".join(EMOTIONS)
    if "file" not in columns:
        raise UserError(
            f"{path}: the header has no column 'file'; expected file, start, end, speaker and any "
            f"of {emotions}"
        )
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise UserError(f"{path}: a column is named twice in the header")
    if not set(columns) & set(EMOTIONS):
        raise UserError(f"{path}: no emotion among its columns ({emotions})")
    unknown = [name for name in columns if name not in _KNOWN]
    if unknown:
        logger.warning("%s: columns not used: %s", path, ", ".join(map(repr, unknown)))
    return columns


class _KnownRecordings:
    """Recordings by what a cell may call them: path, file name, or file name without ending."""

    def __init__(self, recordings: Iterable[Path]):
        self._paths = {str(recording): recording for recording in recordings}
        self._names: dict[str, list[Path]] = defaultdict(list)
        for recording in self._paths.values():
            for name in {recording.name, recording.stem}:
                self._names[name].append(recording)

    def of(self, row: _Row) -> Path:
        name = row.text("file")
        if not name:
            raise row.fail("the column 'file' is blank")
        found = self._find(name)
        if len(found) != 1 and "\\" in name:  # a path written on Windows
            found = self._find(name.replace("\\", "/"))
        if len(found) != 1:
            raise row.fail(
                f"{name!r} is not one of the {len(self._paths)} audio files given, or several have "
                "that name"
            )
        return found[0]

    def _find(self, name: str) -> list[Path]:
        if name in self._paths:
            return [self._paths[name]]
        wanted = Path(name)
        candidates = self._names.get(wanted.name, [])
        # Not everything after a dot is an ending: "talk.2" is not "talk".
        if not candidates and wanted.suffix.lower() in _ENDINGS:
            candidates = self._names.get(wanted.stem, [])
        folders = wanted.parts[:-1]
        exact = [p for p in candidates if p.parts[-1 - len(folders) : -1] == folders]
        if exact or not PureWindowsPath(name).drive:
            return exact
        # Written on another machine: the folders that paths end in alike must be unique.
        common = []
        for path in candidates:
            pairs = zip(reversed(path.parts[:-1]), reversed(folders), strict=False)
            common.append(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return [p for p, n in zip(candidates, common, strict=True) if n == max(common) > 0]
