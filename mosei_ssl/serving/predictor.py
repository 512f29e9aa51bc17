"""Predicting segments in batches, wherever the model runs."""

import abc
import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.data.context import context_of, in_context
from mosei_ssl.data.row_period import refuse_other_period
from mosei_ssl.serving.inputs import Segment
from mosei_ssl.serving.output import as_records
from mosei_ssl.serving.signatures import MAX_FRAMES, OUTPUTS
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, FRAME_PERIOD, NUM_FEATURES

_log = logging.getLogger(__name__)

BLOCK = 512
"""Segments read at a time: enough to sort them by length into batches of little padding."""


class Predictor(abc.ABC):
    """Groups segments of similar length into batches, and puts the answers back in order."""

    manifest: Mapping[str, Any] = {}
    """What is known of the model's origin."""

    directory: Path | None = None
    """The version directory of the export, where it is known."""

    max_batch = 32
    """Most segments in a batch."""

    max_frames = 48_000
    """Most frames in a batch, padding included."""

    @property
    def feature_mean(self) -> Sequence[float] | None:
        """Means of the features in training [74], if known and if it was in context."""
        alone = self.manifest.get("run", {}).get("context") is False
        return None if alone else self.manifest.get("model", {}).get("feature_mean")

    @property
    def row_period(self) -> float | None:
        """Seconds from row to row in training; None for a row per word."""
        return self.manifest.get("dataset", {}).get("row_period", FRAME_PERIOD)

    @abc.abstractmethod
    def _answer(self, segments: list[np.ndarray]) -> Mapping[str, np.ndarray]:
        """Predict one batch of float32 segments [T, 74]: [B, 6] by output."""

    def predict(
        self,
        segments: Sequence[np.ndarray] | np.ndarray,
        length: Sequence[int] | np.ndarray | None = None,
        *,
        recording: np.ndarray | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, np.ndarray]:
        """Predict the emotions of segments.

        Args:
            segments: N arrays [T, 74] of raw COVAREP rows, whose lengths may differ; or one array
                [N, T, 74] of padded ones.
            length: how many rows of each are its own, [N] integers; None takes all.
            recording: all rows [T, 74] of the recording that the segments are from, or of their
                speaker, relative to which they are judged; see `mosei_ssl.data.context.in_context`.
            progress: called with the number of segments done since the last call.

        Returns:
            `intensity`, `present`, `expected` float32 and `class` int32, each [N, 6], in the
            order of the segments.

        Raises:
            UserError: a segment has another width, no frame, or too many, or a length is not
                from 1 to the number of its rows; a recording is given, but the means of the
                training are not known; of a client also the `ServerError`s.
        """
        if length is not None:
            segments = own_rows(segments, length)
        rows = [check_segment(number, segment) for number, segment in enumerate(segments)]
        if recording is not None:
            if self.feature_mean is None:
                raise UserError(
                    "segments cannot be judged relative to their recording: the model was trained "
                    "without context, or the means of its training are not known. They are in the "
                    "manifest of an export; for a server name the one it runs, connect(..., "
                    "export=EXPORT)."
                )
            whole = context_of([check_rows("the recording", recording)])
            rows = [in_context(segment, whole, self.feature_mean) for segment in rows]
        answers = {
            name: np.zeros((len(rows), len(EMOTIONS)), np.int32 if name == "class" else np.float32)
            for name in OUTPUTS
        }
        for batch in plan_batches([len(r) for r in rows], self.max_batch, self.max_frames):
            outputs = self._answer([rows[index] for index in batch])
            for name, values in answers.items():
                values[batch] = outputs[name]
            if progress:
                progress(len(batch))
        return answers


def own_rows(
    segments: Sequence[np.ndarray] | np.ndarray, length: Sequence[int] | np.ndarray
) -> list[np.ndarray]:
    """The first `length` rows of each segment; raises a UserError for lengths that do not fit."""
    if np.shape(length) != (len(segments),) or np.asarray(length).dtype.kind not in "iu":
        raise UserError(
            f"length must be {len(segments)} whole numbers, one per segment; it has shape "
            f"{list(np.shape(length))}."
        )
    for number, (rows, own) in enumerate(zip(segments, length, strict=True)):
        if not 1 <= own <= len(rows):
            raise UserError(f"segment {number} has {len(rows)} rows, and its length is {own}.")
    return [np.asarray(rows)[:own] for rows, own in zip(segments, length, strict=True)]


def check_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """The rows as an array [T, 74]; raises a UserError if they are none."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != NUM_FEATURES:
        raise UserError(
            f"{name} has shape {list(rows.shape)}; raw COVAREP rows are [frames, {NUM_FEATURES}]."
        )
    return rows


def check_segment(number: int, rows: np.ndarray) -> np.ndarray:
    """The segment as contiguous float32; raises a UserError unless its shape can be answered."""
    rows = check_rows(f"segment {number}", rows)
    if not 1 <= len(rows) <= MAX_FRAMES:
        raise UserError(
            f"segment {number} has {len(rows)} frames; a model accepts 1 to {MAX_FRAMES}. "
            "Cut it into windows."
        )
    return np.ascontiguousarray(rows, dtype=np.float32)


def plan_batches(lengths: Sequence[int], max_batch: int, max_frames: int) -> Iterator[list[int]]:
    """Group segments of similar length, so that there is little padding.

    Yields the indices of each batch: at most `max_batch` segments and `max_frames` frames, padding
    included; a longer segment goes alone.

    Examples:
        >>> list(plan_batches([5, 900, 6], 2, 1000))
        [[0, 2], [1]]
    """
    batch: list[int] = []
    for index in np.argsort(lengths, kind="stable").tolist():
        # Sorted, so this one is the longest of the batch it joins.
        if batch and (len(batch) == max_batch or (len(batch) + 1) * lengths[index] > max_frames):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pad(segments: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """`features` float32 [B, T, 74], zero beyond each segment's end, and `length` int32 [B]."""
    length = np.asarray([len(rows) for rows in segments], dtype=np.int32)
    features = np.zeros((len(segments), int(length.max()), NUM_FEATURES), dtype=np.float32)
    for row, rows in zip(features, segments, strict=True):
        row[: len(rows)] = rows
    return features, length


def predict_records(
    predictor: Predictor,
    segments: Iterable[Segment],
    progress: Callable[..., object] = lambda count, known: None,
    threshold: float | None = None,
    *,
    context: bool = True,
) -> Iterator[dict[str, Any]]:
    """Predict segments block by block, so that no more of a corpus than a block is in memory.

    Yields a record per segment, in their order, see `as_records`. A warning says at the end how
    many were far longer than any that the model was trained on, and how many recordings were
    sampled at a lower rate. Segments of another row period
    than that of the manifest, by default 10 ms, are refused with a `UserError`. `progress` is
    called with the `count` of segments done since the last call and, once `known`, that of all.
    `threshold` is the probability below which the most likely emotion is "none"; None takes what
    was calibrated in training, or 0.5. With `context`, a segment is judged relative to its
    recording if the manifest has the means of the training.
    """
    trained_on = predictor.manifest.get("dataset", {})
    longest = trained_on.get("train_seconds", {}).get("longest") or math.inf
    needed = predictor.row_period
    mean = predictor.feature_mean if context else None
    result = predictor.manifest.get("run", {}).get("result") or {}
    least = result.get("threshold", 0.5) if threshold is None else threshold
    not_learned = result.get("not_learned", ())
    rates: dict[str, float | None] = {}
    seen = long = 0
    segments = iter(segments)
    while block := list(itertools.islice(segments, BLOCK)):
        seen += len(block)
        report = functools.partial(progress, known=seen if len(block) < BLOCK else None)
        for segment in block:
            refuse_other_period(segment.period, needed, segment.name, "the model was trained on")
        rows = [in_context(segment.features, segment.context, mean) for segment in block]
        long += sum(len(frames) * (needed or math.nan) > 2 * longest for frames in rows)
        rates |= {segment.name: segment.rate for segment in block}
        yield from as_records(block, predictor.predict(rows, progress=report), least, not_learned)
    if long:
        _log.warning(
            "%d of %d segments are more than twice as long as any that the model was trained on "
            "(%.1f s): a shorter --window, or --segments, suits it better",
            *(long, seen, longest),
        )
    if any(rates.values()):
        from mosei_ssl.covarep import SAMPLE_RATE, audio  # takes a second

        trained_at = [float(rate) for rate in trained_on.get("sampling_rates") or {}]
        if remark := audio.low_rates(rates, min([SAMPLE_RATE, *trained_at])):
            _log.warning("%s", remark)
