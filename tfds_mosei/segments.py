"""Which video gives which examples to which split; the same for every way of building."""

import collections
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfds_mosei.alignment import EPSILON, FrameIndex
from tfds_mosei.chunks import cut_at_pauses, holes_after
from tfds_mosei.csd import Rows
from tfds_mosei.folds import Folds
from tfds_mosei.labels import VideoLabels, clip_labels
from tfds_mosei.schema import LABEL_NAMES, LABELLED_SPLITS, NUM_FEATURES, VUV_COLUMN
from tfds_mosei.sources import Corpus
from tfds_mosei.statistics import ColumnMoments
from tfds_mosei.timing import RowTiming

_logger = logging.getLogger(__name__)

UNASSIGNED = "unassigned"
UNLABELLED = "unlabelled"
SPLITS = (*LABELLED_SPLITS, UNASSIGNED, UNLABELLED)
UNLABELLED_CHOICES = ("train", "all", "none")

DROP_REASONS = {
    "bad_interval": "start or end is not a number, or the end lies before the start",
    "zero_length": f"shorter than {EPSILON:g} s",
    "bad_label": "an emotion is not a finite number",
    "outside_features": "no feature row intersects it",
    "no_features": "the video has no features",
    "other_rows": "rows of the video do not come as those of the other videos",
}
"""Why a label row becomes no example."""

Examples = Iterator[tuple[str, dict[str, Any]]]


@dataclasses.dataclass
class VideoSummary:
    """What one video gave to one split: the pieces of the data report."""

    video_id: str
    split: str
    durations: list[float] = dataclasses.field(default_factory=list)  # seconds of each example
    lengths: list[int] = dataclasses.field(default_factory=list)  # rows of each
    labels: np.ndarray = dataclasses.field(  # of each, [examples, 7]
        default_factory=lambda: np.zeros((0, len(LABEL_NAMES)), np.float32)
    )
    # Label rows that became no example, and why.
    dropped: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    # Label values of the examples that were brought into range, by column.
    clipped: dict[str, int] = dataclasses.field(default_factory=dict)
    # Counts of what is unusual but kept, by kind.
    irregularities: dict[str, int] = dataclasses.field(default_factory=dict)
    moments: ColumnMoments = dataclasses.field(
        default_factory=lambda: ColumnMoments.empty(NUM_FEATURES)
    )

    def example(
        self, row: int, start: float, end: float, frames: np.ndarray, labels: np.ndarray
    ) -> dict[str, Any]:
        """Counts an example, given its rows [n, 74] and labels [7], and puts it together."""
        self.lengths.append(len(frames))
        self.durations.append(float(end - start))
        self.moments = self.moments.merge(ColumnMoments.of(frames))
        return {
            "video_id": self.video_id,
            "segment_id": row,
            "interval": np.array([start, end], np.float32),
            "features": np.ascontiguousarray(frames, dtype=np.float32),
            "emotions": labels[1:],
            "sentiment": labels[0],
        }

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON can hold it, without loss."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["labels"] = self.labels.tolist()
        plain["moments"] = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self.moments).items()
        }
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "VideoSummary":
        """Reads what `to_json` gave."""
        moments: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in plain["moments"].items()
        }
        restored = {
            "labels": np.array(plain["labels"], np.float32).reshape(-1, len(LABEL_NAMES)),
            "dropped": [(row, reason) for row, reason in plain["dropped"]],
            "moments": ColumnMoments(**moments),
        }
        return cls(**{**plain, **restored})


def plan_videos(corpus: Corpus, folds: Folds, unlabelled: str) -> dict[str, tuple[str, ...]]:
    """Videos that each split reads, sorted; optional splits only where they have any.

    The split ``unlabelled`` reads those of the train fold (``"train"``), those in no fold too
    (``"all"``), or is left out (``"none"``); never a video of the validation or test fold.
    """
    plan: dict[str, tuple[str, ...]] = {}
    for split in (*LABELLED_SPLITS, UNASSIGNED):
        fold = None if split == UNASSIGNED else split
        plan[split] = tuple(v for v in sorted(corpus.labels) if folds.split_of(v) == fold)
    allowed = {"train": ("train",), "all": ("train", None), "none": ()}[unlabelled]
    plan[UNLABELLED] = tuple(v for v in corpus.features.video_ids if folds.split_of(v) in allowed)
    return {split: ids for split, ids in plan.items() if ids or split in LABELLED_SPLITS}


def video_examples(
    corpus: Corpus, split: str, video_id: str, timing: RowTiming
) -> tuple[Examples, VideoSummary]:
    """Examples that one video gives to a split, and a summary, complete once they are exhausted."""
    summary, reason = VideoSummary(video_id, split), "no_features"
    if corpus.has_features(video_id):
        intervals, rows = corpus.features.open(video_id)
        if timing.fits(intervals):
            if split == UNLABELLED:
                return chunk_examples(summary, intervals, rows[:]), summary
            return segment_examples(summary, intervals, rows, corpus.labels[video_id]), summary
        reason = "other_rows"
        _logger.warning("%r is left out: %s.", video_id, DROP_REASONS[reason])
    count = 0 if split == UNLABELLED else len(corpus.labels[video_id].values)
    summary.dropped = [(row, reason) for row in range(count)]
    return iter(()), summary


def segment_examples(
    summary: VideoSummary, intervals: np.ndarray, features: Rows, labels: VideoLabels
) -> Examples:
    """Annotated segments in the order of the label file, under the SDK's names ``video[row]``."""
    index = FrameIndex(intervals)
    # Only what lies in a segment is read, where that is one piece.
    rows = features if index.in_order else features[:]
    values, _ = clip_labels(labels.values)
    odd = collections.Counter(_irregular_labels(labels.intervals, index))
    odd.update(_irregular_rows(intervals, index))
    kept: list[int] = []
    found = index.rows_of_each(np.nan_to_num(labels.intervals))
    for row, (start, end) in enumerate(labels.intervals):
        reason = _reason_to_drop(start, end, labels.values[row])
        if reason is None:
            frames = rows[found[row]]
            reason = None if len(frames) else "outside_features"
        if reason is not None:
            summary.dropped.append((row, reason))
            continue
        kept.append(row)
        example = summary.example(row, start, end, frames, values[row])
        yield f"{summary.video_id}[{row}]", example
    summary.labels, summary.clipped = clip_labels(labels.values[kept])
    summary.irregularities = dict(odd)


def chunk_examples(summary: VideoSummary, intervals: np.ndarray, features: np.ndarray) -> Examples:
    """Chunks of a whole video in order of time, for pretraining: row -1, labels NaN."""
    index = FrameIndex(intervals)
    summary.irregularities = _irregular_rows(intervals, index)
    for number, rows in enumerate(cut_at_pauses(index, features[:, VUV_COLUMN])):
        frames = features[rows]
        start, end = intervals[rows[0], 0], intervals[rows, 1].max()
        unlabelled = np.full(len(LABEL_NAMES), np.nan, np.float32)
        example = summary.example(-1, start, end, frames, unlabelled)
        yield f"{summary.video_id}/{number}", example


def _reason_to_drop(start: float, end: float, labels: np.ndarray) -> str | None:
    if not (np.isfinite(start) and np.isfinite(end)) or end < start - EPSILON:
        return "bad_interval"
    if end - start < EPSILON:
        return "zero_length"
    # Tables without sentiment are complete; no model here predicts it.
    if not np.isfinite(labels[1:]).all() or np.isinf(labels[0]):
        return "bad_label"
    return None


def _irregular_rows(intervals: np.ndarray, index: FrameIndex) -> dict[str, int]:
    """Counts rows without times, rows out of order, and holes between rows."""
    odd = {"unusable_rows": index.unusable, "unsorted_rows": 0}
    if not index.in_order:
        odd["unsorted_rows"] = int(np.count_nonzero(np.diff(intervals[:, 0]) < 0))
    odd["gaps_in_rows"] = int(np.count_nonzero(holes_after(index)))
    return {name: count for name, count in odd.items() if count}


def _irregular_labels(intervals: np.ndarray, index: FrameIndex) -> dict[str, int]:
    """Counts what MOSEI's own label file holds and no reader should trip over."""
    starts, ends = intervals[:, 0], intervals[:, 1]
    order = np.argsort(starts, kind="stable")
    odd = {
        "unsorted_videos": int(np.any(np.diff(starts) < 0)),
        "overlapping_neighbours": int(np.sum(ends[order][:-1] > starts[order][1:])),
        "negative_starts": int(np.sum(starts < 0)),
    }
    if len(index.order):
        last = index.ends.max()
        odd["ends_after_features"] = int(np.sum((ends > last) & (starts < last)))
    return {name: count for name, count in odd.items() if count}
