"""Tables of labelled segments, CSV or Excel, whose header names the columns in many spellings."""

import codecs
import contextlib
import csv
import dataclasses
import datetime
import itertools
import logging
import math
import os
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import EMOTIONS, LABEL_NAMES, plain_name

if TYPE_CHECKING:
    import openpyxl

_logger = logging.getLogger(__name__)

TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx")
NUMBERS = ("start", "end", *LABEL_NAMES)
TIMES = ("start", "end")
RECORDINGS = ("id",)
LABELLED = ("id", *TIMES, *EMOTIONS)
"""Columns of a label table, in any order and case; sentiment may be missing, others are ignored."""

_SYNONYMS = {
    "id": (
        *("id", "videoid", "video", "file", "filename", "name", "recording"),
        *("path", "filepath", "audio", "audiofile", "audiopath", "wav", "wavfile"),
    ),
    # "Start (s)" is starts.
    "start": (
        *("start", "starttime", "begin", "starts", "starttimes", "startsec", "begintime"),
        "onset",
    ),
    "end": ("end", "endtime", "stop", "ends", "endtimes", "endsec", "stoptime", "offset"),
    "emotion": ("emotion", "emotions", "label", "labels", "class", "category"),
    "intensity": ("intensity", "level", "strength"),
    "speaker": (
        *("speaker", "speakerid", "speakername", "actor", "actorid"),
        *("subjectid", "participant", "participantid"),
    ),
}
_NEEDED = (
    f"a label table has the columns id, {', '.join(NUMBERS)}, separated by commas, in UTF-8; "
    "sentiment may be missing."
)
Stretch = TypeVar("Stretch", bound=Hashable)
_SEPARATOR = re.compile(r'"?sep=([,;|\t])"?\r?\n?', re.IGNORECASE)  # Excel's own first line
_CLOCK = re.compile(r"(?:(\d+):(?=[0-5]?\d:))?(\d+):([0-5]\d(?:\.\d*)?)")  # 0:05.5, 1:00:05
_TIME_CELL = "the time of day "
_HEAD = 65536  # bytes and characters that are enough to know a header
_SHOWN = 5  # repeated rows named in a warning; there may be thousands


@dataclasses.dataclass(frozen=True)
class Row:
    """Cells of a line by column; errors name the line."""

    path: Path
    line: int
    cells: Mapping[str, str]
    decimal_comma: bool = False

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.line}"

    def fail(self, what: str) -> CorpusError:
        """An error that names the line."""
        return CorpusError(f"{self.place}: {what}")

    def text(self, name: str) -> str:
        return self.cells.get(name, "").strip()

    def number(self, name: str, blank: float = math.nan) -> float:
        """The number in a cell, of seconds in a time; `blank` where it is empty or missing."""
        text = self.text(name)
        plain = text.replace(",", ".") if self.decimal_comma else text
        if name in TIMES and (clock := _CLOCK.fullmatch(plain)):
            hours, minutes, seconds = map(float, clock.groups("0"))
            return 3600 * hours + 60 * minutes + seconds
        try:
            return float(plain) if plain else blank
        except ValueError:
            why = ""
            if text.startswith(_TIME_CELL):
                why = (
                    ": a spreadsheet takes 0:05 for five minutes of a day. Write seconds, or "
                    "format the cells as text before you write times"
                )
            raise self.fail(f"{name} is {text!r}, not a number{why}") from None


class Table:
    """The rows of a table that are not blank; `unused` are the columns that no name is known for.

    A row must have a cell in each of the columns `needed`, and none beyond the header.
    """

    def __init__(self, path: Path, needed: Sequence[str] = LABELLED, about: str = _NEEDED):
        self._path, self._needed = path, needed
        self._lines = _Lines(path)
        if self._lines.encoding == "cp1252":
            _logger.warning(
                "%s is not in UTF-8: it was read as Windows-1252 (cp1252). If letters with accents "
                "come out wrong, save it as UTF-8.",
                path,
            )
        self._header = self._lines.header()
        self.columns = find_columns(self._header, self._lines.place, needed, about)
        if self._lines.sheet:
            message = "%s: the sheet %r is read, since the first has no known column"
            _logger.info(message, path, self._lines.title)
        known = self.columns.values()
        self.unused = [name for i, name in enumerate(self._header) if name and i not in known]
        self.mapping = {name: self._header[i] for name, i in self.columns.items()}

    def __iter__(self) -> Iterator[Row]:
        # Spreadsheets leave nameless columns at the end.
        width = max(i + 1 for i, name in enumerate(self._header) if name)
        for line, cells in itertools.islice(self._lines, 1, None):
            if any(map(str.strip, cells)):
                yield self._row(line, cells, width)

    def _row(self, line: int, cells: list[str], width: int) -> Row:
        found = {name: cells[i] for name, i in self.columns.items() if i < len(cells)}
        row = Row(self._path, line, found, self._lines.separator != ",")
        beyond = len(cells) > len(self._header) or any(map(str.strip, cells[width:]))
        if beyond or not found.keys() >= {*self._needed}:
            # The cells before those under no column may be under the wrong one.
            point = "" if row.decimal_comma else "write decimals with a point, and "
            raise row.fail(
                f"{len(cells)} cells, but {width} columns in the header: {point}put text that "
                "holds the separator in quotes"
            )
        if not row.text("id"):
            raise row.fail(f"the column {self._header[self.columns['id']]!r} is blank")
        return row


def table_header(path: str | os.PathLike[str]) -> list[str]:
    """Cells of the first line of a table; empty where it has none."""
    return _Lines(Path(path), _HEAD).header()


class _Lines:
    """Number and cells of each line, the header's first; of a workbook, of one sheet.

    That is the first, unless it has no known column and exactly one other names recordings.
    The encoding of a text file is guessed from its first `size` bytes, or from all if negative.
    """

    def __init__(self, path: Path, size: int = -1):
        self.path, self.encoding, self.separator, self._skipped = path, "", "", 0
        self.place, self.sheet, self.title = str(path), 0, ""
        suffix = path.suffix.lower()
        if suffix in (".xls", ".ods"):
            raise CorpusError(f"{path}: tables in {suffix} are not read: save it as .xlsx or .csv.")
        if suffix == ".xlsx":
            with _reasons(path), self._workbook() as book:
                known = [_known([*map(_cell_text, next(s.values, ()))]) for s in book.worksheets]
                others = [i for i, found in enumerate(known) if {"id"} < found.keys()]
                if not known[0] and len(others) == 1:
                    self.sheet = others[0]
                self.title = book.worksheets[self.sheet].title
            self.place += f", sheet {self.title!r}, row 1"
            return
        with _reasons(path):
            with path.open("rb") as file:
                self.encoding = _encoding(file.read(size), size < 0)
            with path.open(newline="", encoding=self.encoding) as text:
                first = text.readline(_HEAD)
        if said := _SEPARATOR.fullmatch(first):
            self.separator, self._skipped = said[1], 1
        else:
            self.separator = max(",\t;", key=first.count)

    def header(self) -> list[str]:
        _, cells = next(iter(self), (1, []))
        return [cell.strip() for cell in cells]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        with _reasons(self.path):
            yield from self._text() if self.separator else self._sheet()

    def _workbook(self) -> "contextlib.closing[openpyxl.Workbook]":
        import openpyxl

        return contextlib.closing(openpyxl.load_workbook(self.path, True, data_only=True))

    def _sheet(self) -> Iterator[tuple[int, list[str]]]:
        with self._workbook() as book:
            for line, row in enumerate(book.worksheets[self.sheet].values, start=1):
                yield line, list(map(_cell_text, row))

    def _text(self) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(newline="", encoding=self.encoding) as file:
            lines = itertools.islice(file, self._skipped, None)
            reader = csv.reader(lines, delimiter=self.separator, strict=True)
            while True:
                # A cell with line breaks ends further down than a mistake in it.
                line = self._skipped + reader.line_num + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    raise CorpusError(
                        f"{self.path}, line {line}: not CSV ({error}): is a quote not closed, or "
                        "text after one?"
                    ) from error
                if cells is None:
                    return
                yield line, cells


def _cell_text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(int(cell))  # a spreadsheet's TRUE counts as 1
    if isinstance(cell, datetime.time | datetime.timedelta):
        return f"{_TIME_CELL}{cell}"  # nobody can tell whether minutes or hours were meant
    return "" if cell is None else str(cell)


def _encoding(content: bytes, whole: bool) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, whole)
    except UnicodeDecodeError:
        # A file with null bytes is binary; reading it as UTF-8 fails with a clear error.
        return "utf-8-sig" if b"\0" in content else "cp1252"
    return "utf-8-sig"


@contextlib.contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading a file, as a `CorpusError`."""
    try:
        yield
    except CorpusError:
        raise
    except Exception as error:
        # A damaged workbook shows up as zip, XML and key errors.
        reason = getattr(error, "strerror", None) or error
        hint = " Save a table as UTF-8, or as .xlsx." if isinstance(error, UnicodeError) else ""
        raise CorpusError(f"{path}: cannot be read ({reason}).{hint}") from error


def find_columns(
    header: Sequence[str], path: object, needed: Sequence[str] = LABELLED, about: str = _NEEDED
) -> dict[str, int]:
    """Positions of the known columns in a header, which must have those `needed`."""
    names = [plain_name(cell) for cell in header]
    found = _known(header)
    for name in map(names.__getitem__, found.values()):
        if names.count(name) > 1:
            raise CorpusError(f"{path}: the column {name!r} is named twice in the header.")
    missing = [name for name in needed if name not in found]
    if missing and {"clipid", "annotation"} <= {*names}:
        raise CorpusError(
            f"{path} is MMSA's label table: it has sentiment, but no times and no emotions. Use "
            "CMU_MOSEI_Labels.csd, or a table with times and emotions."
        )
    if missing:
        first = ",".join(header)[:200]
        lack = f"it lacks {', '.join(missing)}"
        if tuple(needed) == RECORDINGS:  # which their owner hardly calls ids
            lack = "no column names the recordings (file, filename, path, ...)"
        raise CorpusError(f"{path}: its first line is {first!r}; {lack}: {about}")
    return found


def _known(header: Sequence[str]) -> dict[str, int]:
    names = [plain_name(cell) for cell in header]
    found: dict[str, int] = {}
    for wanted in ("id", *NUMBERS, "emotion", "intensity", "speaker"):
        name = next((name for name in _SYNONYMS.get(wanted, (wanted,)) if name in names), None)
        if name is not None:
            found[wanted] = names.index(name)
    return found


def rows_once(
    rows: Iterable[tuple[Row, Stretch, Sequence[float]]],
) -> Iterator[tuple[Row, Stretch, Sequence[float]]]:
    """Rows without repetitions, which are warned of; other labels for a stretch are an error."""
    seen: dict[Stretch, tuple[Row, Sequence[float]]] = {}
    repeated: list[str] = []
    for row, stretch, labels in rows:
        before, known = seen.setdefault(stretch, (row, labels))
        if before is row:
            yield row, stretch, labels
        elif np.array_equal(known, labels, equal_nan=True):
            repeated.append(f"{row.path.name}, line {row.line}")
        else:
            where = f"line {before.line}" if before.path == row.path else before.place
            raise row.fail(
                f"the labels differ from those in {where} for the same stretch of "
                f"{row.text('id')!r}. Keep one row for each stretch."
            )
    if repeated:
        places = "; ".join(repeated[:_SHOWN]) + (" ..." if len(repeated) > _SHOWN else "")
        message = "%d row(s) repeat an earlier one and count once (%s)"
        _logger.warning(message, len(repeated), places)
