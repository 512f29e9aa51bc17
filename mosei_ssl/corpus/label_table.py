"""Labels of a user's own recordings: a table in one of several layouts, or class folders."""

import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path, PureWindowsPath
from typing import ClassVar

from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES, OTHER_SUFFIXES, printable
from mosei_ssl.corpus.recordings import video_ids
from mosei_ssl.corpus.speaker_names import complete_speakers, same_name
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, LABEL_NAMES, SYNONYMS, plain_name
from tfds_mosei.tables import RECORDINGS, Row, Table, rows_once

logger = logging.getLogger(__name__)

PRESENT = 2.0  # intensity of an emotion of which no more is known than that it is present
ABOUT = (
    f"a table of recordings has the columns file and any of {', '.join(EMOTIONS)}, or file and "
    "emotion (one of these words) and perhaps intensity; and, if you like, start, end, sentiment "
    "and speaker."
)
_NO_EMOTION = ("neutral", "calm", "none")
# Only in cells: a column "dis" or "sur" may be anything.
_WORDS = {
    "scared": "fear",
    **{name[:3]: name for name in ("anger", "happy", "neutral", "fear", "disgust", "surprise")},
}
_OTHER_EMOTIONS = (
    *("contempt", "excited", "excitement", "frustrated", "frustration", "bored", "boredom"),
    *("anxious", "anxiety", "amused", "amusement", "love", "pride", "shame", "guilt", "envy"),
    *("confused", "confusion", "disappointed", "disappointment"),
)
_TIMES = frozenset(("start", "begin", "onset", "end", "stop", "offset"))
_MISTAKES_SHOWN = 20
# Labels often name the video that a recording was taken from.
_ENDINGS = (*AUDIO_SUFFIXES, *OTHER_SUFFIXES)


@dataclass(frozen=True)
class Segment:
    """Sentiment and emotions from start to end (seconds; infinite: to the recording's end)."""

    start: float
    end: float
    values: tuple[float, ...]
    line: int


# Row, recording with start and end, and the seven labels, of each segment.
_Labelled = list[tuple[Row, tuple[Path, float, float], Sequence[float]]]


@dataclass
class LabelTable:
    """Segments by labelled recording, and each recording's known speakers in lower case."""

    path: Path
    segments: dict[Path, list[Segment]] = field(default_factory=dict)
    speakers: dict[Path, set[str]] = field(default_factory=dict)


def read_labels(
    path: str | Path,
    recordings: Iterable[Path],
    *,
    present_level: float = PRESENT,
    speaker_from: str | None = None,
) -> LabelTable:
    """Reads the labels of recordings; the log says how they were understood.

    A table, CSV or .xlsx, names these columns in its header, in the spellings that
    `tfds_mosei.tables` knows: ``file`` names a recording (path, file name, or name without
    ending); ``start`` and ``end`` in seconds (blank: the whole recording); any of the six
    emotions, 0 (absent) to 3 (strong), and ``sentiment``, -3 to 3 (blank or missing: 0);
    ``speaker`` (case does not matter). In place of the emotions it may have ``emotion``, which
    names one or several of them or says "neutral", and ``intensity``; rows of the same stretch
    then add up. A row that repeats another counts once, with a warning in the log. In place of a
    table a folder may be given, in which recordings lie in folders named after emotions.

    `present_level` is the intensity of an emotion that is named without one, and of 1 in a table
    that has no other numbers than 0 and 1; `speaker_from` a regular expression with one group, the
    speaker, for the file names of recordings of which none is given. Mistakes in the table are a
    `UserError` that names the line of each.
    """
    if not 0 < present_level <= 3:
        raise UserError(f"--present-level is {present_level:g}, not above 0 and at most 3.")
    table = LabelTable(Path(path))
    recordings = list(recordings)
    if table.path.is_dir():
        found, how = _class_folders(table, recordings, present_level)
    else:
        found, how = _table_rows(table, KnownRecordings(recordings), present_level)
    for row, (recording, start, end), values in found:
        segment = Segment(start, end, tuple(values), row.line)
        table.segments.setdefault(recording, []).append(segment)
    if not found:
        raise UserError(f"{path}: no rows below the header")
    complete_speakers(table.speakers, table.segments, recordings, speaker_from, table.path)
    emotions = [[value > 0 for value in values[1:]] for _, _, values in found]
    counts = [sum(column) for column in zip(*emotions, strict=True)]
    logger.info(
        "%s: %s; %d segments of %d recordings: %s, no emotion %d",
        *(path, how, len(found), len(table.segments)),
        ", ".join(f"{name} {n}" for name, n in zip(EMOTIONS, counts, strict=True)),
        sum(not any(row) for row in emotions),
    )
    return table


def check_template(path: str | Path) -> None:
    """Raises a UserError for a table that exists, or is neither .csv nor .xlsx."""
    if Path(path).exists():
        raise UserError(f"{path} exists, and may hold labels: give another --template.")
    if Path(path).suffix.lower() not in (".csv", ".xlsx"):
        raise UserError(f"{path}: tables are written as .csv or .xlsx.")


def write_template(path: str | Path, rows: Sequence[tuple[str, object, object]]) -> None:
    """Writes a table to be filled in, of files, starts and ends; a UserError if it exists."""
    import pandas

    check_template(path)
    sheet = pandas.DataFrame(rows, columns=["file", "start", "end"])
    sheet = sheet.reindex(columns=[*sheet.columns, *EMOTIONS, "speaker"])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if Path(path).suffix.lower() == ".csv":
        # Without the mark Excel takes UTF-8 for Windows-1252.
        sheet.to_csv(path, index=False, encoding="utf-8-sig")
    else:
        sheet.to_excel(path, index=False)


def _table_rows(
    table: LabelTable, known: "KnownRecordings", present_level: float
) -> tuple[_Labelled, str]:
    """The rows of a table, and how its columns were understood."""
    rows = Table(table.path, RECORDINGS, ABOUT)
    graded = bool(rows.columns.keys() & set(EMOTIONS))
    _check_columns(table.path, rows, graded)
    mistakes: list[str] = []
    blank = 0

    def segments() -> Iterator[tuple[Row, tuple[Path, float, float], list[float]]]:
        nonlocal blank
        for row in rows:
            blank += not any(map(row.text, (*EMOTIONS, "emotion")))
            try:
                recording, start, end = known.of(row), *stretch(row)
                table.speakers.setdefault(recording, set()).update(_speakers(row))
                values = _grades(row) if graded else _named(row, present_level)
            except UserError as error:
                mistakes.append(str(error))
            else:
                yield row, (recording, start, end), values

    found: _Labelled = []
    try:
        found = list(rows_once(segments())) if graded else _added_up(segments())
    except UserError as error:
        mistakes.append(str(error))  # what follows cannot be told
    if mistakes:
        shown = mistakes[:_MISTAKES_SHOWN]
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        raise UserError("\n".join(shown))
    if found and blank >= len(found):
        raise UserError(f"{table.path}: no emotion is filled in, in any row.")
    if blank:
        message = "%s: %d rows name no emotion and count as none (write 0 there, or delete them)"
        logger.warning(message, table.path, blank)
    called = {"id": "recording"}
    mapping = rows.mapping.items()
    how = ", ".join(f"{called.get(name, name)} from {cell!r}" for name, cell in mapping)
    grades = {value for *_, values in found for value in values[1:]} if graded else set()
    if grades == {0.0, 1.0}:
        found = [
            (row, stretch, [sentiment, *(present_level * value for value in values)])
            for row, stretch, (sentiment, *values) in found
        ]
        how += f", 1 for present taken as {present_level:g}"
    elif grades - {0.0, 1.0} and max(grades) <= 1:
        logger.warning(
            "%s: no emotion is above 1, but intensities go from 0 (absent) to 3 (strong): multiply "
            "shares from 0 to 1 by 3.",
            table.path,
        )
    return found, how


def _check_columns(path: Path, rows: Table, graded: bool) -> None:
    """Refuses a table without emotions, or with one that would be lost."""
    if not graded and "emotion" not in rows.columns:
        raise UserError(f"{path}: no emotion among its columns ({', '.join(EMOTIONS)}, or emotion)")
    emotions = {*EMOTIONS, *_OTHER_EMOTIONS}
    spellings = [*emotions, *(spelling for spelling, name in SYNONYMS.items() if name in emotions)]
    lost = [
        name
        for name in rows.unused
        for words in [re.findall("[a-z]+", name.lower())]
        if emotions & set(map(plain_name, words))
        # angrry; of short words too many are alike
        or any(len(word) > 4 and get_close_matches(word, spellings, 1, 0.85) for word in words)
    ]
    if graded and "emotion" in rows.columns:
        lost.append(rows.mapping["emotion"])
    if lost:
        raise UserError(
            f"{path}: {', '.join(map(repr, lost))} would not be used: name each column of an "
            f"emotion as one of {', '.join(EMOTIONS)}, and delete the others."
        )
    check_times(path, rows)
    unused = [name for name in rows.unused if plain_name(name) not in _NO_EMOTION]
    if unused:
        logger.warning("%s: columns not used: %s", path, ", ".join(map(repr, unused)))


def check_times(path: Path, rows: Table) -> None:
    """Refuses a table of segments that would be taken for whole recordings."""
    words = {name: {*re.findall("[a-z]+", name.lower())} for name in rows.unused}
    times = [name for name, said in words.items() if said & _TIMES and "date" not in said]
    if "start" in rows.columns:
        times += [name for name, said in words.items() if said == {"duration"}]
    if times and not {"start", "end"} <= rows.columns.keys():
        raise UserError(
            f"{path}: {', '.join(map(repr, times))} would not be used: name the columns of a "
            "segment's start and end, in seconds from the recording's, start and end, and delete "
            "the others."
        )


def _grades(row: Row) -> list[float]:
    sentiment = _within(row, "sentiment", -3, 3, 0.0)
    return [sentiment, *(_within(row, emotion, 0, 3, 0.0) for emotion in EMOTIONS)]


def _named(row: Row, present_level: float) -> list[float]:
    """Labels from names of emotions in a cell."""
    level = _within(row, "intensity", 0, 3, present_level)
    values = [_within(row, "sentiment", -3, 3, 0.0), *(0.0 for _ in EMOTIONS)]
    for word in re.split(r"[\s,]+and\s|[,;|/+&]", row.text("emotion"), flags=re.IGNORECASE):
        name = _emotion(word)
        if name in EMOTIONS:
            values[LABEL_NAMES.index(name)] = level
        elif name not in _NO_EMOTION:
            allowed = ", ".join((*EMOTIONS, *_NO_EMOTION))
            advice = ""
            if name in _OTHER_EMOTIONS:
                advice = ": delete such rows; recordings without labels serve for pretraining"
            raise row.fail(f"the emotion is {word.strip()!r}, not one of {allowed}{advice}")
    return values


def _emotion(word: str) -> str:
    plain = plain_name(word)
    return _WORDS.get(plain, plain)


def _added_up(rows: Iterable[tuple[Row, tuple[Path, float, float], list[float]]]) -> _Labelled:
    """Rows of the same stretch as one, of each label the value farthest from 0."""
    found: dict[tuple[Path, float, float], tuple[Row, list[float]]] = {}
    said: dict[tuple[Path, float, float], set[str]] = defaultdict(set)
    repeated = 0
    for row, stretch, values in rows:
        name = _emotion(row.text("emotion"))
        if said[stretch] and (name in _NO_EMOTION) != any(n in _NO_EMOTION for n in said[stretch]):
            first = found[stretch][0]
            raise row.fail(
                f"the emotion is {row.text('emotion')!r}, but line {first.line} says "
                f"{first.text('emotion')!r} of the same recording"
            )
        repeated += name in said[stretch]
        said[stretch].add(name)
        before = found.setdefault(stretch, (row, values))[1]
        before[:] = [max(pair, key=abs) for pair in zip(before, values, strict=True)]
    if repeated:
        logger.warning("%d rows repeat others: each counts once", repeated)
    return [(row, stretch, values) for stretch, (row, values) in found.items()]


def _class_folders(
    table: LabelTable, recordings: Iterable[Path], present_level: float
) -> tuple[_Labelled, str]:
    """The recordings in folders that are named after emotions."""
    found: _Labelled = []
    other: set[str] = set()
    for number, recording in enumerate(recordings, start=1):
        folder = recording.parent.name
        row = Row(table.path, number, {"emotion": folder})
        inside = recording.absolute().is_relative_to(table.path.absolute())
        if not inside or _emotion(folder) not in (*EMOTIONS, *_NO_EMOTION):
            other.add(str(recording.parent))
        else:
            found.append((row, (recording, 0.0, math.inf), _named(row, present_level)))
            table.speakers[recording] = set()
    if other:
        logger.warning("no label for what lies in %s", ", ".join(sorted(other)))
    if not found:
        allowed = ", ".join((*EMOTIONS, *_NO_EMOTION))
        raise UserError(f"{table.path}: no recording in a folder named {allowed}.")
    return found, "emotion from the folder's name"


def _within(row: Row, name: str, low: float, high: float, blank: float) -> float:
    value = row.number(name, blank)
    if not low <= value <= high:
        raise row.fail(f"{name} is {row.text(name)}, outside {low:g} to {high:g}")
    return value


def stretch(row: Row) -> tuple[float, float]:
    """Start and end in seconds; where they are blank, 0 and infinity."""
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
    return {same_name(name)} if name else set()


class KnownRecordings:
    """Recordings by what a cell may call them: path, file name with or without ending, or id.

    A name in other capitals, or with accents in another form, counts where no other fits better.
    """

    _SPELLINGS: ClassVar[tuple[Callable[[str], str], ...]] = (str, same_name)

    def __init__(self, recordings: Iterable[Path]):
        self._paths = {str(recording): recording for recording in recordings}
        self._names: list[dict[str, list[Path]]] = [defaultdict(list) for _ in self._SPELLINGS]
        for recording, identity in video_ids(list(self._paths.values())).items():
            for names, spelt in zip(self._names, self._SPELLINGS, strict=True):
                for name in {spelt(name) for name in (recording.name, recording.stem, identity)}:
                    names[name].append(recording)

    def of(self, row: Row) -> Path:
        """The recording that a row is about, which must be there."""
        if found := self.find(row):
            return found
        name = row.text("id")
        raise row.fail(f"{name!r} is not one of the {len(self._paths)} audio files given")

    def find(self, row: Row) -> Path | None:
        """The recording that a row is about, if it is there; it must not be one of several."""
        name = row.text("id")
        cells = [name, name.replace("\\", "/")] if "\\" in name else [name]  # written on Windows
        for level in range(len(self._SPELLINGS)):
            for cell in cells:
                found = self._find(cell, level)
                if len(found) == 1:
                    return found[0]
                if len(found) > 1:
                    some = " and ".join(printable(path) for path in found[:2])
                    raise row.fail(f"{name!r} may be {some}: write more of the path")
        return None

    def _find(self, name: str, level: int) -> list[Path]:
        if name in self._paths:
            return [self._paths[name]]
        wanted, known, spelt = Path(name), self._names[level], self._SPELLINGS[level]
        candidates = known.get(spelt(wanted.name), [])
        # Not everything after a dot is an ending: "talk.2" is not "talk".
        if not candidates and wanted.suffix.lower() in _ENDINGS:
            candidates = known.get(spelt(wanted.stem), [])
        folders = tuple(map(spelt, wanted.parts[:-1]))
        above = [tuple(map(spelt, path.parts[:-1])) for path in candidates]
        exact = [
            path
            for path, parts in zip(candidates, above, strict=True)
            if parts[len(parts) - len(folders) :] == folders
        ]
        elsewhere = wanted.is_absolute() and not wanted.exists()
        if exact or not (elsewhere or PureWindowsPath(name).drive):
            return exact
        # Written on another machine: the folders that paths end in alike must be unique.
        common = [
            sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            for parts in above
            for pairs in [zip(reversed(parts), reversed(folders), strict=False)]
        ]
        return [p for p, n in zip(candidates, common, strict=True) if n == max(common) > 0]
