"""The segments of a split: a table, and the frames of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mosei_ssl.data.recognition import Content, merge_content, sample_content
from tfds_mosei.schema import FRAME_PERIOD

_TINY_STD = 1e-6
_COLUMNS = ("video_ids", "segment_ids", "intervals", "emotions", "sentiment")


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Segments of one or several splits, with everything known about them.

    Args:
        frames: N arrays float32 [T, 74], the COVAREP rows of each segment, one every 10 ms, raw or
            in context, with whatever non-finite values the corpus has; not to be written to.
        video_ids: [N] str, the video of each segment.
        segment_ids: [N] int64 row in the label file, -1 where there is none.
        intervals: [N, 2] float32 start and end in seconds.
        emotions: [N, 6] float32 labels in [0, 3]; NaN where unlabelled.
        sentiment: [N] float32 label in [-3, 3].
        metadata: Metadata of the (first) prepared dataset: fingerprint, synthetic,
            feature_statistics and so on.
        name: Name of the dataset and split, for messages and reports.
        raw_content: What `content` gives, where the frames are no longer raw.

    Examples:
        >>> segments = segments_from_arrays([np.zeros((5, 74)), np.ones((9, 74))], np.eye(6)[:2])
        >>> len(segments), segments.lengths, segments.rows(1).shape
        (2, array([5, 9]), (9, 74))
    """

    frames: tuple[np.ndarray, ...]
    video_ids: np.ndarray
    segment_ids: np.ndarray
    intervals: np.ndarray
    emotions: np.ndarray
    sentiment: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    raw_content: Content | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.frames)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] int64 frames of each segment."""
        return np.array([len(rows) for rows in self.frames], dtype=np.int64)

    def rows(self, index: int) -> np.ndarray:
        """float32 [T, 74] rows of a segment."""
        return self.frames[index]

    def subset(self, indices: np.ndarray | Sequence[int]) -> Segments:
        """Choose segments, in the order of `indices`; their frames are shared, not copied."""
        indices = np.asarray(indices, dtype=np.int64)
        columns = {key: getattr(self, key)[indices] for key in _COLUMNS}
        return replace(self, frames=tuple(self.frames[index] for index in indices), **columns)

    def named(self, names: Iterable[tuple[str, int]]) -> Segments:
        """Choose segments by video and row in the label file; raises a KeyError for others."""
        keys = zip(self.video_ids.tolist(), self.segment_ids.tolist(), strict=True)
        where = {key: index for index, key in enumerate(keys)}
        return self.subset([where[name] for name in names])

    def labelled(self) -> Segments:
        """Keep the segments that have emotion labels."""
        return self.subset(np.flatnonzero(np.isfinite(self.emotions).all(axis=1)))

    @property
    def statistics(self) -> dict[str, Any]:
        """Feature statistics of the dataset's train split ("mean", "std", ...: [74])."""
        return self.metadata.get("feature_statistics", {})

    @property
    def normalization(self) -> dict[str, list[float]]:
        """Means and standard deviations of the train split's columns, as backbones take them."""
        return {key: list(self.statistics[key]) for key in ("mean", "std")}

    @property
    def synthetic(self) -> bool:
        """Whether the corpus is synthetic."""
        return bool(self.metadata.get("synthetic", False))

    @property
    def speaker_ids(self) -> np.ndarray:
        """[N] str, who speaks in each segment; its video where the dataset does not know."""
        known = self.metadata.get("speakers") or {}
        return np.array(["+".join(known.get(v, [v])) for v in self.video_ids.tolist()], dtype=str)

    @property
    def group_ids(self) -> np.ndarray:
        """[N] str, what goes together: speakers, or the videos of a single one."""
        speakers = self.speaker_ids
        return speakers if len(set(speakers.tolist())) > 1 else self.video_ids

    @property
    def row_period(self) -> float | None:
        """Seconds from row to row; None for a row per word."""
        return self.metadata.get("row_period", FRAME_PERIOD)

    @cached_property
    def content(self) -> Content:
        """What videos are recognised by, under whatever id: see `mosei_ssl.data.recognition`."""
        if self.raw_content is not None:
            own = set(self.video_ids.tolist())
            return {video: found for video, found in self.raw_content.items() if video in own}
        return sample_content(zip(self.video_ids, self.frames, strict=True))

    def length_order(self) -> np.ndarray:
        """Order segments by length, so that evaluation pads little.

        Returns:
            int64 [N] indices; put results back in place with ``result[order] = batch_results``.
        """
        return np.argsort(self.lengths, kind="stable").astype(np.int64)


def concatenate_segments(parts: Sequence[Segments], *, match_statistics: bool = False) -> Segments:
    """Join several splits or corpora into one.

    Args:
        parts: What to join; metadata of the first is kept, but the whole is synthetic if any part
            is.
        match_statistics: Map the rows of the others linearly, column by column, from their own
            train mean and standard deviation to those of the first. A model that standardises
            with the first corpus' statistics then sees every corpus standardised by its own.

    Returns:
        Segments of all parts, in order.

    Raises:
        ValueError: Without parts, or if statistics to match are missing.

    Examples:
        >>> part = segments_from_arrays([np.zeros((5, 74))], np.zeros((1, 6)))
        >>> len(concatenate_segments([part, part]))
        2
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    first = parts[0]
    frames = list(first.frames)
    for part in parts[1:]:
        frames += _matched(part, first) if match_statistics else part.frames
    synthetic = any(part.synthetic for part in parts)
    raw = not match_statistics and all(part.raw_content is None for part in parts)
    return Segments(
        frames=tuple(frames),
        **{key: np.concatenate([getattr(part, key) for part in parts]) for key in _COLUMNS},
        metadata=first.metadata | ({"synthetic": True} if synthetic else {}),
        name="+".join(part.name for part in parts),
        raw_content=None if raw else merge_content(part.content for part in parts),
    )


def _matched(part: Segments, first: Segments) -> list[np.ndarray]:
    """The rows of `part`, mapped to the statistics of `first`."""
    if not part.statistics or not first.statistics:
        raise ValueError(f"no feature statistics to match {part.name} with")
    mean, std, wanted_mean, wanted_std = (
        np.asarray(segments.statistics[key], dtype=np.float64)
        for segments in (part, first)
        for key in ("mean", "std")
    )
    constant = (std < _TINY_STD) | (wanted_std < _TINY_STD)
    scale = np.where(constant, 1.0, wanted_std / np.where(constant, 1.0, std))
    shift = (wanted_mean - mean * scale).astype(np.float32)
    scale = scale.astype(np.float32)
    return [rows * scale + shift for rows in part.frames]


def segments_from_arrays(
    rows: Sequence[np.ndarray],
    emotions: np.ndarray,
    *,
    video_ids: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
    name: str = "arrays",
) -> Segments:
    """Make segments of arrays in memory, for tests and for other sources of features.

    Args:
        rows: N arrays [T, 74].
        emotions: [N, 6] labels.
        video_ids: [N] videos; None makes one of each segment.
        metadata: As of a prepared dataset.
        name: Name for messages.

    Returns:
        The segments.

    Examples:
        >>> len(segments_from_arrays([np.zeros((5, 74))], np.zeros((1, 6))))
        1
    """
    count = len(rows)
    ids = [f"video_{index:05d}" for index in range(count)] if video_ids is None else video_ids
    ends = 0.01 * np.array([len(part) for part in rows])
    return Segments(
        frames=tuple(np.asarray(part, dtype=np.float32) for part in rows),
        video_ids=np.asarray(ids, dtype=str),
        segment_ids=np.arange(count, dtype=np.int64),
        intervals=np.stack([np.zeros(count), ends], axis=1).astype(np.float32),
        emotions=np.asarray(emotions, dtype=np.float32).reshape(count, -1),
        sentiment=np.full(count, np.nan, dtype=np.float32),
        metadata=metadata or {},
        name=name,
    )
