"""Ragged segments to padded batches, and the answers back in order."""

from collections.abc import Iterator, Sequence

import numpy as np

from mosei_ssl.serving.schema import MAX_FRAMES, NUM_FEATURES
from mosei_ssl.utils.errors import UserError


def check_rows(segments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Check segments before they are sent anywhere.

    Args:
        segments: arrays [T, 74].

    Returns:
        The same as contiguous float32 arrays.

    Raises:
        UserError: a segment has another shape, no frame, or too many.
    """
    checked = []
    for number, rows in enumerate(segments):
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != NUM_FEATURES:
            raise UserError(
                f"segment {number} has shape {list(rows.shape)}; raw COVAREP rows are "
                f"[frames, {NUM_FEATURES}]."
            )
        if not 1 <= len(rows) <= MAX_FRAMES:
            raise UserError(
                f"segment {number} has {len(rows)} frames; a model answers 1 to {MAX_FRAMES}. "
                "Cut it into windows."
            )
        checked.append(np.ascontiguousarray(rows, dtype=np.float32))
    return checked


def plan_batches(lengths: Sequence[int], max_batch: int, max_frames: int) -> Iterator[np.ndarray]:
    """Group segments of similar length, so that little is padded.

    Args:
        lengths: [N] frames of each segment.
        max_batch: most segments in a batch.
        max_frames: most frames in a batch, padding included; a longer segment goes alone.

    Yields:
        int64 indices of the segments of a batch; every segment is in exactly one.

    Example:
        >>> [batch.tolist() for batch in plan_batches([5, 900, 6], 2, 1000)]
        [[0, 2], [1]]
    """
    batch: list[int] = []
    for index in np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable"):
        # Sorted, so this one is the longest of the batch it joins.
        if batch and (
            len(batch) == max_batch or (len(batch) + 1) * lengths[int(index)] > max_frames
        ):
            yield np.asarray(batch)
            batch = []
        batch.append(int(index))
    if batch:
        yield np.asarray(batch)


def pad(segments: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pad segments to the longest.

    Args:
        segments: float32 arrays [T, 74].

    Returns:
        `features` float32 [B, T, 74], zero beyond each segment's end, and `length` int32 [B].
    """
    length = np.asarray([len(rows) for rows in segments], dtype=np.int32)
    features = np.zeros((len(segments), int(length.max()), NUM_FEATURES), dtype=np.float32)
    for row, rows in zip(features, segments, strict=True):
        row[: len(rows)] = rows
    return features, length
