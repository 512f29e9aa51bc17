"""One video's rows and labels become its examples."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfds_mosei.alignment import EPSILON, FrameIndex
from tfds_mosei.chunks import cut_at_pauses
from tfds_mosei.labels import VideoLabels, clip_labels
from tfds_mosei.schema import EMOTIONS, LABEL_NAMES, NUM_FEATURES, VUV_COLUMN
from tfds_mosei.statistics import ColumnMoments
from tfds_mosei.stored_rows import Rows

DROP_REASONS = {
    "bad_interval": "start or end is not a number, or the end lies before the start",
    "zero_length": f"shorter than {EPSILON:g} s",
    "bad_label": "a label is not a finite number",
    "outside_features": "no feature row intersects it",
    "no_features": "the video has no features",
}
"""Why a label row becomes no example."""


@dataclasses.dataclass
class VideoSummary:
    """What one video gave to one split: the pieces of the data report.

    Attributes:
        video_id: id of the video.
        split: split it was written to.
        segments: examples written.
        durations: seconds of each example, by its interval.
        lengths: rows of each example.
        labels: float32 [segments, 7].
        dropped: ``(segment_id, reason)`` of label rows that became no example.
        clipped: label values of these examples brought into range, by column.
        oddities: counts of what is unusual but kept, by kind.
        moments: statistics of the rows written.
    """

    video_id: str
    split: str
    segments: int = 0
    durations: list[float] = dataclasses.field(default_factory=list)
    lengths: list[int] = dataclasses.field(default_factory=list)
    labels: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros((0, len(LABEL_NAMES)), np.float32)
    )
    dropped: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    clipped: dict[str, int] = dataclasses.field(default_factory=dict)
    oddities: dict[str, int] = dataclasses.field(default_factory=dict)
    moments: ColumnMoments = dataclasses.field(
        default_factory=lambda: ColumnMoments.empty(NUM_FEATURES)
    )

    def add(self, frames: np.ndarray, seconds: float) -> None:
        """Counts one example.

        Args:
            frames: its rows, [n, 74].
            seconds: its duration.
        """
        self.segments += 1
        self.lengths.append(len(frames))
        self.durations.append(seconds)
        self.moments = self.moments.merge(ColumnMoments.of(frames))

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON can hold it, without loss.

        Returns:
            A dictionary for `from_json`.
        """
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["labels"] = self.labels.tolist()
        plain["moments"] = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self.moments).items()
        }
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "VideoSummary":
        """Reads what `to_json` gave.

        Args:
            plain: the dictionary.

        Returns:
            The summary.
        """
        moments: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in plain["moments"].items()
        }
        labels = np.array(plain["labels"], np.float32).reshape(-1, len(LABEL_NAMES))
        dropped = [(row, reason) for row, reason in plain["dropped"]]
        return cls(
            **{
                **plain,
                "labels": labels,
                "dropped": dropped,
                "moments": ColumnMoments(**moments),
            }
        )


def segment_key(video_id: str, segment_id: int) -> str:
    """Key of an example, unique in a dataset.

    Args:
        video_id: id of the video.
        segment_id: row of the segment in the label file.

    Returns:
        The name that the official SDK gives the segment: ``video_id[segment_id]``.
    """
    return f"{video_id}[{segment_id}]"


def unavailable(video_id: str, split: str, labels: VideoLabels) -> VideoSummary:
    """Summary of a labelled video that has no features: all its rows are dropped.

    Args:
        video_id: id of the video.
        split: split it belongs to.
        labels: its labels.

    Returns:
        The summary.
    """
    dropped = [(row, "no_features") for row in range(len(labels.values))]
    return VideoSummary(video_id, split, dropped=dropped)


def segment_examples(
    video_id: str,
    split: str,
    intervals: np.ndarray,
    features: Rows,
    labels: VideoLabels,
) -> tuple[Iterator[tuple[str, dict[str, Any]]], VideoSummary]:
    """Cuts a video into its annotated segments.

    Args:
        video_id: id of the video.
        split: split it belongs to.
        intervals: float64 [n, 2], start and end of each row in seconds.
        features: float32 [n, 74], COVAREP rows, in memory or read as they are needed.
        labels: its labels, m rows.

    Returns:
        An iterator of ``(key, example)``, in the order of the label file, and a summary that
        is complete once the iterator is exhausted.
    """
    summary = VideoSummary(video_id, split)
    return _segments(intervals, features, labels, summary), summary


def _segments(
    intervals: np.ndarray, features: Rows, labels: VideoLabels, summary: VideoSummary
) -> Iterator[tuple[str, dict[str, Any]]]:
    index = FrameIndex(intervals)
    values, _ = clip_labels(labels.values)
    odd = collections.Counter(_label_oddities(labels.intervals, index))
    if index.unusable:
        odd["unusable_rows"] = index.unusable
    kept: list[int] = []
    found = index.rows_of_each(np.nan_to_num(labels.intervals))
    for row, (start, end) in enumerate(labels.intervals):
        reason = _reason_to_drop(start, end, labels.values[row])
        if reason is None:
            frames = features[found[row]]
            reason = None if len(frames) else "outside_features"
        if reason is not None:
            summary.dropped.append((row, reason))
            continue
        kept.append(row)
        summary.add(frames, float(end - start))
        yield (
            segment_key(summary.video_id, row),
            {
                "video_id": summary.video_id,
                "segment_id": row,
                "interval": np.array([start, end], np.float32),
                "features": np.ascontiguousarray(frames, dtype=np.float32),
                "emotions": values[row, 1:],
                "sentiment": values[row, 0],
            },
        )
    summary.labels, summary.clipped = clip_labels(labels.values[kept])
    summary.oddities = dict(odd)


def chunk_examples(
    video_id: str, split: str, intervals: np.ndarray, features: np.ndarray
) -> tuple[Iterator[tuple[str, dict[str, Any]]], VideoSummary]:
    """Cuts a whole video into chunks without labels, for pretraining.

    Args:
        video_id: id of the video.
        split: split it belongs to.
        intervals: float64 [n, 2], start and end of each row in seconds.
        features: float32 [n, 74], COVAREP rows.

    Returns:
        An iterator of ``(key, example)`` in order of time, and a summary that is complete once
        the iterator is exhausted. ``segment_id`` is -1, the labels are NaN.
    """
    summary = VideoSummary(video_id, split)
    return _chunks(intervals, features, summary), summary


def _chunks(
    intervals: np.ndarray, features: np.ndarray, summary: VideoSummary
) -> Iterator[tuple[str, dict[str, Any]]]:
    index = FrameIndex(intervals)
    if index.unusable:
        summary.oddities = {"unusable_rows": index.unusable}
    for number, rows in enumerate(cut_at_pauses(index, features[:, VUV_COLUMN])):
        frames = features[rows]
        start, end = intervals[rows[0], 0], intervals[rows, 1].max()
        summary.add(frames, float(end - start))
        yield (
            f"{summary.video_id}/{number}",
            {
                "video_id": summary.video_id,
                "segment_id": -1,
                "interval": np.array([start, end], np.float32),
                "features": np.ascontiguousarray(frames, dtype=np.float32),
                "emotions": np.full(len(EMOTIONS), np.nan, np.float32),
                "sentiment": np.float32(np.nan),
            },
        )


def _reason_to_drop(start: float, end: float, labels: np.ndarray) -> str | None:
    if not (np.isfinite(start) and np.isfinite(end)) or end < start - EPSILON:
        return "bad_interval"
    if end - start < EPSILON:
        return "zero_length"
    if not np.isfinite(labels).all():
        return "bad_label"
    return None


def _label_oddities(intervals: np.ndarray, index: FrameIndex) -> dict[str, int]:
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
