"""A spreadsheet of labels for a user's own recordings."""

import logging
import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PureWindowsPath

from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS
from tfds_mosei.tables import Row, Table, rows_once

logger = logging.getLogger(__name__)

_ABOUT = (
    f"a table of recordings has the columns file and any of {', '.join(EMOTIONS)}, and, if you "
    "like, start, end, sentiment and speaker."
)
# Labels often name the video that a recording was taken from.
_VIDEO = ".mp4 .m4v .m4a .mpg .mpeg .mkv .avi .mov .webm .wmv .flv .3gp .aac .wma"
_ENDINGS = (*AUDIO_SUFFIXES, *_VIDEO.split())


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

    Its header names these columns, in the spellings that `tfds_mosei.tables` knows: ``file`` names
    a recording (path, file name, or name without ending); ``start`` and ``end`` in seconds (blank:
    the whole recording); any of the six emotions, 0 (absent) to 3 (strong), and ``sentiment``, -3
    to 3 (blank or missing: 0); ``speaker`` (case does not matter).

    A row that repeats another (same recording, start, end and labels) counts once, with a warning
    in the log; its speaker is added to the recording's.
    """
    table = LabelTable(Path(path))
    rows = Table(table.path, ["id"], _ABOUT)
    if not rows.columns.keys() & set(EMOTIONS):
        raise UserError(f"{path}: no emotion among its columns ({', '.join(EMOTIONS)})")
    if rows.unused:
        logger.warning("%s: columns not used: %s", path, ", ".join(map(repr, rows.unused)))
    known = _KnownRecordings(recordings)

    def segments() -> Iterator[tuple[Row, tuple[Path, float, float], list[float]]]:
        for row in rows:
            recording, start, end = known.of(row), *_stretch(row)
            table.speakers.setdefault(recording, set()).update(_speakers(row))
            values = [_within(row, "sentiment", -3, 3, 0.0)]
            values += [_within(row, emotion, 0, 3, 0.0) for emotion in EMOTIONS]
            yield row, (recording, start, end), values

    for row, (recording, start, end), values in rows_once(segments()):
        segment = Segment(start, end, tuple(values), row.line)
        table.segments.setdefault(recording, []).append(segment)
    if not table.segments:
        raise UserError(f"{path}: no rows below the header")
    for recording, speakers in table.speakers.items():
        if not speakers:
            speakers.add(f"file {recording}")
    if "speaker" not in rows.columns:
        message = (
            "%s has no column 'speaker': each recording counts as a different speaker, so the same "
            "voice may end up in training and test"
        )
        logger.warning(message, path)
    return table


def _within(row: Row, name: str, low: float, high: float, blank: float) -> float:
    value = row.number(name, blank)
    if not low <= value <= high:
        raise row.fail(f"{name} is {row.text(name)}, outside {low:g} to {high:g}")
    return value


def _stretch(row: Row) -> tuple[float, float]:
    start = _within(row, "start", 0, math.inf, 0.0)
    end = _within(row, "end", 0, math.inf, math.inf)
    if end <= start:
        raise row.fail(f"end {end:g} is not after start {start:g}")
    return start, end


def _speakers(row: Row) -> set[str]:
    """The speaker, if there is one: the same in capitals or not, with any form of accents."""
    name = row.text("speaker")
    if "\n" in name:
        raise row.fail("speaker goes over several lines: is a quote not closed?")
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return {name} if name else set()


class _KnownRecordings:
    """Recordings by what a cell may call them: path, file name, or file name without ending."""

    def __init__(self, recordings: Iterable[Path]):
        self._paths = {str(recording): recording for recording in recordings}
        self._names: dict[str, list[Path]] = defaultdict(list)
        for recording in self._paths.values():
            for name in {recording.name, recording.stem}:
                self._names[name].append(recording)

    def of(self, row: Row) -> Path:
        name = row.text("id")
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
