"""Labels of all segments, from label ``.csd`` files or from tables.

The whole table is held in memory: MOSEI's 23,259 segments take about a megabyte.
"""

import collections
import csv
import dataclasses
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfds_mosei.csd import ComputationalSequence
from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import EMOTIONS, LABEL_NAMES, LABEL_ROOT, column_order, plain_name

_logger = logging.getLogger(__name__)

CSV_COLUMNS = ("id", "start", "end", *LABEL_NAMES)
"""Columns of a label table, in any order and case; sentiment may be missing, others are ignored."""

_SYNONYMS = {
    "id": ("id", "videoid", "video", "name", "recording"),
    "start": ("start", "starttime", "begin", "starts"),
    "end": ("end", "endtime", "stop", "ends"),
}
_DELIMITERS = ",\t;"
TABLE_SUFFIXES = (".csv", ".tsv")
_LIMITS = np.array([[-3.0, 3.0]] + [[0.0, 3.0]] * 6)


@dataclasses.dataclass(frozen=True)
class VideoLabels:
    """Labels of one video, in the order of the file.

    Attributes:
        intervals: float64 [n, 2], start and end of each segment in seconds, as in the file.
        values: float32 [n, 7], sentiment and six emotions, as in the file.
    """

    intervals: np.ndarray
    values: np.ndarray


def clip_labels(values: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Brings labels [n, 7] into range; some older releases have values above 3.

    Returns the clipped labels, and how many values of each column changed (only those that did).
    """
    clipped = np.clip(values, _LIMITS[:, 0], _LIMITS[:, 1]).astype(np.float32)
    changed = np.count_nonzero((clipped != values) & np.isfinite(values), axis=0)
    return clipped, {name: int(n) for name, n in zip(LABEL_NAMES, changed, strict=True) if n}


def labels_from_sequence(
    sequence: ComputationalSequence, wanted: Sequence[str] = LABEL_NAMES
) -> dict[str, VideoLabels]:
    """Reads all labels of a ``.csd`` file by video id; those not `wanted` are NaN."""
    order = column_order(sequence.dimension_names, wanted, sequence.path)
    if order is None:
        order = list(range(len(wanted)))
        _logger.warning(
            "%s: its metadata does not name %d columns; they are taken to be %s.",
            sequence.path,
            len(wanted),
            ", ".join(wanted),
        )
    needed = f"'{LABEL_ROOT}' has the {len(wanted)} numbers {', '.join(wanted)}."
    places = [LABEL_NAMES.index(name) for name in wanted]
    table: dict[str, VideoLabels] = {}
    for video_id in sequence.video_ids:
        # Known before anything is read: a few bytes are enough to claim millions of columns.
        _, width = sequence.shape(video_id)
        if width != len(wanted):
            raise CorpusError(
                f"{sequence.path}: labels of video {video_id!r} have {width} columns; {needed}"
            )
        intervals, found = sequence.read(video_id)
        if found.dtype.kind not in "fb":
            raise CorpusError(
                f"{sequence.path}: labels of video {video_id!r} are of type {found.dtype}; {needed}"
            )
        values = np.full((len(found), len(LABEL_NAMES)), np.nan, np.float32)
        values[:, places] = found[:, order]
        table[video_id] = VideoLabels(intervals, values)
    return table


def join_sentiment(
    emotions: Mapping[str, VideoLabels], sentiments: Mapping[str, VideoLabels]
) -> dict[str, VideoLabels]:
    """Labels of `emotions` with the sentiment of the same video and interval, where there is one.

    MOSEI's labels were first released as two files.
    """
    joined: dict[str, VideoLabels] = {}
    for video_id, labels in emotions.items():
        values = labels.values.copy()
        if video_id in sentiments:
            other = sentiments[video_id]
            keys = [tuple(row) for row in other.intervals.round(3).tolist()]
            known = dict(zip(keys, other.values[:, 0], strict=True))
            times = labels.intervals.round(3).tolist()
            values[:, 0] = [known.get(tuple(row), math.nan) for row in times]
        joined[video_id] = VideoLabels(labels.intervals, values)
    return joined


def labels_from_csv(*paths: str | Path, emotions: bool = True) -> dict[str, VideoLabels]:
    """Reads labels from tables, by video id; rows of one video keep their order.

    A row that repeats another counts once, with a warning; other labels for the same stretch are
    an error.

    Args:
        *paths: files with a header line that names `CSV_COLUMNS`, in UTF-8, with commas, tabs or
            semicolons between the columns. Several are read as one table.
        emotions: whether the six emotions must be there; otherwise missing ones are NaN.

    Returns:
        Labels by video id; where there is no sentiment it is NaN.

    Raises:
        CorpusError: a file cannot be read, lacks columns, or contradicts itself.

    Example:
        >>> from tfds_mosei.labels import labels_from_csv
        >>> path = tmp_path / "segments.tsv"
        >>> path.write_text("Video\\tStart_Time\\tEnd_Time\\ntalk\\t0\\t1.5\\n") > 0
        True
        >>> labels_from_csv(path, emotions=False)["talk"].intervals
        array([[0. , 1.5]])
    """
    rows: dict[str, dict[tuple[float, ...], list[float]]] = collections.defaultdict(dict)
    repeated = 0
    for path in map(Path, paths):
        for place, video_id, numbers in _rows(path, emotions):
            stretch = tuple(numbers[:2])
            known = np.isfinite(stretch).all()
            key = stretch if known else (*stretch, len(rows[video_id]))
            other = rows[video_id].setdefault(key, numbers)
            if other is numbers:
                continue
            if not np.array_equal(other, numbers, equal_nan=True):
                raise CorpusError(
                    f"{place}: {video_id!r} from {stretch[0]:g} to {stretch[1]:g} s has other "
                    "labels than before. Keep one row for each stretch."
                )
            repeated += 1
    if repeated:
        names = ", ".join(Path(path).name for path in paths)
        _logger.warning("%s: %d rows repeat others and count once.", names, repeated)
    arrays = {video: np.array([*lines.values()], np.float64) for video, lines in rows.items()}
    return {
        video_id: VideoLabels(array[:, :2], array[:, 2:].astype(np.float32))
        for video_id, array in arrays.items()
    }


def table_header(path: str | os.PathLike[str]) -> list[str]:
    """Cells of the first line of a table; empty where it has none."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            line = file.readline(65536)
            return next(csv.reader([line], delimiter=_delimiter(line)), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(
            f"{path}: cannot be read ({error}): {_NEEDED} Save a table in another encoding, such "
            "as Latin-1, as UTF-8."
        ) from error


_NEEDED = (
    f"a label table has the columns {', '.join(CSV_COLUMNS)}, separated by commas, in UTF-8; "
    "sentiment may be missing."
)


def table_columns(header: Sequence[str], path: object, emotions: bool = True) -> list[int | None]:
    """Positions of `CSV_COLUMNS` in a header, None for missing ones that may be missing."""
    names = [plain_name(cell) for cell in header]
    columns: list[int | None] = []
    for wanted in CSV_COLUMNS:
        synonyms = _SYNONYMS.get(wanted, (wanted,))
        columns.append(next((names.index(name) for name in synonyms if name in names), None))
    needed = ("id", "start", "end", *(EMOTIONS if emotions else ()))
    found = dict(zip(CSV_COLUMNS, columns, strict=True))
    missing = [name for name in needed if found[name] is None]
    if missing:
        first = ",".join(header)[:200]
        if {"clipid", "annotation"} <= {*names}:
            raise CorpusError(
                f"{path} is MMSA's label table: it has sentiment, but no times and no emotions. "
                "Use CMU_MOSEI_Labels.csd, or a table with times and emotions."
            )
        raise CorpusError(
            f"{path}: its first line is {first!r}; it lacks {', '.join(missing)}: {_NEEDED}"
        )
    return columns


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _rows(path: Path, emotions: bool) -> Iterator[tuple[str, str, list[float]]]:
    """Where a row is, the id of its video, and its nine numbers, NaN for what is missing."""
    columns = table_columns(table_header(path), path, emotions)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            line = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(line))
            next(reader)
            for row in reader:
                if any(map(str.strip, row)):
                    place = f"{path}, line {reader.line_num}"
                    yield place, *_parse_row(row, columns, place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: the label file cannot be read ({error}).") from error


def _parse_row(
    row: list[str], columns: Iterable[int | None], place: str
) -> tuple[str, list[float]]:
    try:
        cells = ["" if column is None else row[column].strip() for column in columns]
        numbers = [float(cell) if cell else math.nan for cell in cells[1:]]
    except (IndexError, ValueError) as error:
        raise CorpusError(
            f"{place}: {error}; an id and nine numbers are needed (start, end, sentiment, six "
            "emotions)."
        ) from error
    if not cells[0]:
        raise CorpusError(f"{place}: the id of the video is empty.")
    return cells[0], numbers
