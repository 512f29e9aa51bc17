"""Labels of all segments, from the label ``.csd`` or from a CSV file.

The whole table is held in memory: MOSEI's 23,259 segments take about a megabyte.
"""

import collections
import csv
import dataclasses
import logging
import math
from pathlib import Path

import numpy as np

from tfds_mosei.csd import ComputationalSequence
from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import LABEL_NAMES, LABEL_ROOT, column_order

_logger = logging.getLogger(__name__)

CSV_COLUMNS = ("id", "start", "end", *LABEL_NAMES)
"""Columns of a label CSV, in any order; others are ignored."""

_CSV_ID_NAMES = ("id", "video_id", "video", "video id")
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


def labels_from_sequence(sequence: ComputationalSequence) -> dict[str, VideoLabels]:
    """Reads all labels of a ``.csd`` file with the root ``All Labels``, by video id."""
    order = _column_order(sequence)
    needed = f"'{LABEL_ROOT}' has the {len(LABEL_NAMES)} numbers {', '.join(LABEL_NAMES)}."
    table: dict[str, VideoLabels] = {}
    for video_id in sequence.video_ids:
        # Known before anything is read: a few bytes are enough to claim millions of columns.
        _, width = sequence.shape(video_id)
        if width != len(LABEL_NAMES):
            raise CorpusError(
                f"{sequence.path}: labels of video {video_id!r} have {width} columns; {needed}"
            )
        intervals, values = sequence.read(video_id)
        if values.dtype.kind not in "fb":
            raise CorpusError(
                f"{sequence.path}: labels of video {video_id!r} are of type {values.dtype}; "
                f"{needed}"
            )
        table[video_id] = VideoLabels(intervals, values[:, order].astype(np.float32, copy=False))
    return table


def _column_order(sequence: ComputationalSequence) -> list[int]:
    """Where each label is; other names than ours are an error, since any guess mixes up labels."""
    names = sequence.dimension_names
    if names is None or len(names) != len(LABEL_NAMES):
        _logger.warning(
            "%s: its metadata does not name %d columns; they are taken to be %s.",
            sequence.path,
            len(LABEL_NAMES),
            ", ".join(LABEL_NAMES),
        )
        return list(range(len(LABEL_NAMES)))
    order = column_order(names, LABEL_NAMES)
    if order is None:
        raise CorpusError(
            f"{sequence.path}: the columns are named {', '.join(names)}; the names "
            f"{', '.join(LABEL_NAMES)} are needed, in any order. Correct 'dimension names' in "
            "its metadata."
        )
    return order


def labels_from_csv(path: str | Path) -> dict[str, VideoLabels]:
    """Reads labels from a CSV file with a header line that names `CSV_COLUMNS`, by video id.

    Rows of one video keep their order.
    """
    path = Path(path)
    rows: dict[str, list[list[float]]] = collections.defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = csv_columns(next(reader, []))
            if columns is None:
                raise CorpusError(
                    f"{path}: the first line must name the columns {', '.join(CSV_COLUMNS)}."
                )
            for row in reader:
                if row:
                    video_id, numbers = _parse_row(row, columns, path, reader.line_num)
                    rows[video_id].append(numbers)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: the label file cannot be read ({error}).") from error
    arrays = {video_id: np.array(lines, dtype=np.float64) for video_id, lines in rows.items()}
    return {
        video_id: VideoLabels(array[:, :2], array[:, 2:].astype(np.float32))
        for video_id, array in arrays.items()
    }


def csv_columns(header: list[str]) -> list[int] | None:
    """Positions of id, start, end and the seven labels; None where the header is another one."""
    names = [cell.strip().lower() for cell in header]
    id_name = next((name for name in _CSV_ID_NAMES if name in names), "id")
    wanted = [id_name, *CSV_COLUMNS[1:]]
    return [names.index(name) for name in wanted] if set(wanted) <= set(names) else None


def _parse_row(
    row: list[str], columns: list[int], path: Path, line: int
) -> tuple[str, list[float]]:
    try:
        cells = [row[column].strip() for column in columns]
        numbers = [float(cell) if cell else math.nan for cell in cells[1:]]
    except (IndexError, ValueError) as error:
        raise CorpusError(
            f"{path}, line {line}: {error}; an id and nine numbers are needed "
            "(start, end, sentiment, six emotions)."
        ) from error
    if not cells[0]:
        raise CorpusError(f"{path}, line {line}: the id of the video is empty.")
    return cells[0], numbers
