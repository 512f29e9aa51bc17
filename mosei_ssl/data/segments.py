"""The segments of a split: a table in memory, frames in memory or in a flat file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

FEATURES = 74
_TINY_STD = 1e-6


@dataclass(frozen=True)
class FrameSource:
    """All frames of one split of one prepared dataset, one segment after the other.

    Args:
        frames: [total, 74] float32 raw rows, an array or a memory map.
        scale: [74] factor applied to rows when they are read; None for raw rows.
        shift: [74] offset added after scaling.
    """

    frames: np.ndarray
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read rows [start, stop).

        Args:
            start: First row.
            stop: Row after the last.

        Returns:
            float32 [stop - start, 74]; not to be written to.
        """
        rows = self.frames[start:stop]
        if self.scale is None or self.shift is None:
            return rows
        return rows * self.scale + self.shift


@dataclass(frozen=True)
class Segments:
    """Segments of one or several splits, with everything known about them.

    Frames are only read when asked for, so a corpus larger than memory is no different.

    Args:
        video_ids: [N] str, the video (for RAVDESS the speaker) of each segment.
        segment_ids: [N] int64 row in the label file, -1 where there is none.
        intervals: [N, 2] float32 start and end in seconds.
        lengths: [N] int64 frames of 10 ms.
        emotions: [N, 6] float32 labels in [0, 3]; NaN where unlabelled.
        sentiment: [N] float32 label in [-3, 3].
        offsets: [N] int64 first row in the segment's source.
        source: [N] int64 which of `sources` holds the segment.
        sources: The frames.
        metadata: Metadata of the (first) prepared dataset: fingerprint, synthetic,
            feature_statistics and so on.
        name: Name of the dataset and split, for messages and reports.

    Example:
        >>> segments = load_segments(DataConfig(data_dir="data"), "train")  # doctest: +SKIP
        >>> segments.rows(0).shape  # doctest: +SKIP
        (712, 74)
    """

    video_ids: np.ndarray
    segment_ids: np.ndarray
    intervals: np.ndarray
    lengths: np.ndarray
    emotions: np.ndarray
    sentiment: np.ndarray
    offsets: np.ndarray
    source: np.ndarray
    sources: tuple[FrameSource, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.rows(index) for index in range(len(self)))

    def rows(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Read a segment's raw COVAREP rows.

        Args:
            index: Segment.
            start: First frame of the window within the segment.
            length: Frames of the window; None reads to the end.

        Returns:
            float32 [T, 74], with whatever non-finite values the corpus has.
        """
        first = int(self.offsets[index])
        stop = first + (int(self.lengths[index]) if length is None else start + length)
        return self.sources[int(self.source[index])].read(first + start, stop)

    def subset(self, indices: np.ndarray | Sequence[int]) -> Segments:
        """Choose segments; frames stay where they are.

        Args:
            indices: Segments to keep, in the order wanted.

        Returns:
            Segments sharing the same frames.
        """
        indices = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            **{
                key: getattr(self, key)[indices]
                for key in (
                    "video_ids",
                    "segment_ids",
                    "intervals",
                    "lengths",
                    "emotions",
                    "sentiment",
                    "offsets",
                    "source",
                )
            },
        )

    def labelled(self) -> Segments:
        """Keep the segments that have emotion labels.

        Returns:
            Segments without NaN labels.
        """
        return self.subset(np.flatnonzero(np.isfinite(self.emotions).all(axis=1)))

    @property
    def statistics(self) -> dict[str, Any]:
        """Feature statistics of the dataset's train split ("mean", "std", ...: [74])."""
        return self.metadata.get("feature_statistics", {})

    @property
    def synthetic(self) -> bool:
        """Whether the corpus is made up."""
        return bool(self.metadata.get("synthetic", False))

    def length_order(self) -> np.ndarray:
        """Order segments by length, so that evaluation pads little.

        Returns:
            int64 [N] indices; put results back in place with ``result[order] = batch_results``.
        """
        return np.argsort(self.lengths, kind="stable").astype(np.int64)


def _matched(source: FrameSource, own: dict[str, Any], target: dict[str, Any]) -> FrameSource:
    mean, std = (np.asarray(own[key], dtype=np.float64) for key in ("mean", "std"))
    wanted_mean, wanted_std = (np.asarray(target[key], dtype=np.float64) for key in ("mean", "std"))
    constant = (std < _TINY_STD) | (wanted_std < _TINY_STD)
    scale = np.where(constant, 1.0, wanted_std / np.where(constant, 1.0, std))
    shift = wanted_mean - mean * scale
    return FrameSource(source.frames, scale.astype(np.float32), shift.astype(np.float32))


def concatenate_segments(parts: Sequence[Segments], *, match_statistics: bool = False) -> Segments:
    """Join several splits or corpora into one.

    Args:
        parts: What to join; metadata of the first is kept, but for synthetic: what is partly made
            up is made up.
        match_statistics: Map the rows of the others linearly, column by column, from their own
            train mean and standard deviation to those of the first. A model that standardises
            with the first corpus' statistics then sees every corpus standardised by its own.

    Returns:
        Segments of all parts, in order.

    Raises:
        ValueError: Without parts, or if statistics to match are missing.

    Example:
        >>> both = concatenate_segments([train, extra], match_statistics=True)  # doctest: +SKIP
    """
    if not parts:
        raise ValueError("nothing to concatenate")
    first = parts[0]
    sources: list[FrameSource] = []
    numbers = []
    for part in parts:
        numbers.append(part.source + len(sources))
        for source in part.sources:
            if match_statistics and part is not first:
                if not part.statistics or not first.statistics:
                    raise ValueError(f"no feature statistics to match {part.name} with")
                source = _matched(source, part.statistics, first.statistics)
            sources.append(source)
    joined = {
        key: np.concatenate([getattr(part, key) for part in parts])
        for key in (
            "video_ids",
            "segment_ids",
            "intervals",
            "lengths",
            "emotions",
            "sentiment",
            "offsets",
        )
    }
    made_up = any(part.synthetic for part in parts)
    return Segments(
        **joined,
        source=np.concatenate(numbers),
        sources=tuple(sources),
        metadata=first.metadata | ({"synthetic": True} if made_up else {}),
        name="+".join(part.name for part in parts),
    )


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

    Example:
        >>> len(segments_from_arrays([np.zeros((5, 74))], np.zeros((1, 6))))
        1
    """
    count = len(rows)
    lengths = np.array([len(part) for part in rows], dtype=np.int64)
    frames = np.concatenate(rows).astype(np.float32) if count else np.zeros((0, FEATURES), "f4")
    ids = [f"video_{index:05d}" for index in range(count)] if video_ids is None else video_ids
    return Segments(
        video_ids=np.asarray(ids, dtype=str),
        segment_ids=np.arange(count, dtype=np.int64),
        intervals=np.stack([np.zeros(count), lengths * 0.01], axis=1).astype(np.float32),
        lengths=lengths,
        emotions=np.asarray(emotions, dtype=np.float32).reshape(count, -1),
        sentiment=np.full(count, np.nan, dtype=np.float32),
        offsets=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)[:count],
        source=np.zeros(count, dtype=np.int64),
        sources=(FrameSource(frames),),
        metadata=metadata or {},
        name=name,
    )
