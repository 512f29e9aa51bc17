"""Labels of all segments, from label ``.csd`` files or from tables.

The whole table is held in memory: MOSEI's 23,259 segments take about a megabyte.
"""

import collections
import dataclasses
import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfds_mosei.csd import ComputationalSequence
from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import LABEL_NAMES, LABEL_ROOT, column_order
from tfds_mosei.tables import NUMBERS, Row, Table, rows_once

_logger = logging.getLogger(__name__)

_LIMITS = np.array([[-3.0, 3.0]] + [[0.0, 3.0]] * 6)


@dataclasses.dataclass(frozen=True)
class VideoLabels:
    """Labels of one video, as they are in the file."""

    intervals: np.ndarray  # float64 [n, 2], start and end of each segment in seconds
    values: np.ndarray  # float32 [n, 7], sentiment and six emotions


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


def labels_from_csv(*paths: str | Path) -> dict[str, VideoLabels]:
    """Reads labels from tables, taken for one, by video id; rows of a video keep their order.

    What is missing, as the sentiment may be, is NaN.
    """
    tables = [Table(Path(path)) for path in paths]

    def numbered() -> Iterator[tuple[Row, tuple[object, ...], list[float]]]:
        for row in itertools.chain.from_iterable(tables):
            numbers = [row.number(name) for name in NUMBERS]
            known = math.isfinite(numbers[0]) and math.isfinite(numbers[1])
            yield row, (row.text("id"), *numbers[:2], None if known else row.place), numbers

    rows: dict[str, list[Sequence[float]]] = collections.defaultdict(list)
    for row, _, numbers in rows_once(numbered()):
        rows[row.text("id")].append(numbers)
    arrays = {video: np.array(lines, np.float64) for video, lines in rows.items()}
    return {
        video_id: VideoLabels(array[:, :2], array[:, 2:].astype(np.float32))
        for video_id, array in arrays.items()
    }
