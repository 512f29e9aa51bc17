"""`tf.data` pipelines of padded batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mosei_ssl.config import DataConfig
from mosei_ssl.data.buckets import BatchPlan, BatchSpec
from mosei_ssl.data.segments import FEATURES, Segments

if TYPE_CHECKING:
    import tensorflow as tf


_TIMES_KEPT = 1000


@dataclass(frozen=True)
class TrainingData:
    """A training dataset and what there is to know about it.

    Args:
        dataset: Batches ``(x, y)`` (or ``x``), without end unless epochs were given.
        steps_per_epoch: Batches per epoch, the same in every epoch.
        plan: Which segments are in which batch.
        segments: What the plan's indices point at.
    """

    dataset: tf.data.Dataset
    steps_per_epoch: int
    plan: BatchPlan
    segments: Segments
    _ready: dict[int, float] = field(default_factory=dict, repr=False)

    def ready_at(self, number: int) -> float | None:
        """Tell when a batch was ready, to see whether training waits for its input.

        Args:
            number: Place of the batch since iteration began, from 0.

        Returns:
            `time.perf_counter()` of then; None if it is not known (any more).
        """
        return self._ready.pop(number, None)

    def batch_names(self, epoch: int, step: int) -> list[str]:
        """Name the segments of a batch.

        Args:
            epoch: Epoch, from 0.
            step: Batch of that epoch, from 0.

        Returns:
            ``video[segment]`` of each, in the order of the batch.
        """
        table = self.segments
        return [
            f"{table.video_ids[index]}[{table.segment_ids[index]}]"
            for index in self.plan.epoch(epoch)[step].indices
        ]


def _fill(segments: Segments, spec: BatchSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(spec.indices)
    features = np.zeros((count, spec.padded_length, FEATURES), dtype=np.float32)
    for place, (index, start, length) in enumerate(
        zip(spec.indices, spec.starts, spec.lengths, strict=True)
    ):
        features[place, :length] = segments.rows(int(index), int(start), int(length))
    mask = np.arange(spec.padded_length)[None, :] < spec.lengths[:, None]
    return features, mask, segments.emotions[spec.indices]


def _dataset(
    segments: Segments,
    specs: Callable[[], Iterable[BatchSpec]],
    config: DataConfig,
    *,
    batch_size: int | None,
    with_labels: bool,
    batches: int | None = None,
    ready: dict[int, float] | None = None,
) -> tf.data.Dataset:
    import tensorflow as tf

    times: dict[int, float] = {} if ready is None else ready

    def plan() -> Iterator[tuple[Any, ...]]:
        for number, spec in enumerate(specs()):
            # Nobody may ask for the times: keep no more than are under way.
            times.pop(number - _TIMES_KEPT, None)
            yield number, spec.indices, spec.starts, spec.lengths, np.int64(spec.padded_length)

    def gather(number, indices, starts, lengths, padded):  # type: ignore[no-untyped-def]
        filled = _fill(segments, BatchSpec(indices, starts, lengths, int(padded)))
        times[int(number)] = time.perf_counter()
        return filled

    def batch(*spec):  # type: ignore[no-untyped-def]
        features, mask, emotions = tf.numpy_function(
            gather, spec, [tf.float32, tf.bool, tf.float32]
        )
        features.set_shape([batch_size, None, FEATURES])
        mask.set_shape([batch_size, None])
        emotions.set_shape([batch_size, segments.emotions.shape[1]])
        inputs = {"features": features, "padding_mask": mask}
        return (inputs, emotions) if with_labels else inputs

    row = tf.TensorSpec([batch_size], tf.int64)
    one = tf.TensorSpec([], tf.int64)
    signature = (one, row, row, row, one)
    dataset = (
        tf.data.Dataset.from_generator(plan, output_signature=signature)
        .map(batch, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
    )
    options = tf.data.Options()
    # Nothing here is left to tune, and the tuner's thread sleeps for 10 ms, 20 ms, 40 ms and so on:
    # who lets go of the dataset waits for it to wake, up to as long as it was used.
    options.autotune.enabled = False
    dataset = dataset.with_options(options)
    size = tf.data.INFINITE_CARDINALITY if batches is None else batches
    return dataset.apply(tf.data.experimental.assert_cardinality(size))


def make_training_dataset(
    segments: Segments,
    config: DataConfig,
    *,
    seed: int,
    start_epoch: int = 0,
    start_step: int = 0,
    epochs: int | None = None,
    min_steps: int = 1,
    boundaries: tuple[int, ...] | None = None,
    with_labels: bool = True,
    shard_index: int = 0,
    shard_count: int = 1,
) -> TrainingData:
    """Make the shuffled, bucketed, padded batches that training consumes.

    Which segments are in which batch, in which order and cropped where, is a pure function of
    (seed, epoch, step): a dataset started at (epoch, step) continues exactly as one that came
    there by itself. Frames are gathered by index in C-speed copies, so memory stays flat however
    large the corpus is.

    Args:
        segments: What to train on.
        config: Batch size, crop, bucket settings, prefetch.
        seed: Seed of order and crops.
        start_epoch: Epoch to start in.
        start_step: Batch of that epoch to start with.
        epochs: Epoch to stop before; None goes on without end.
        min_steps: An epoch repeats the segments until it has so many batches.
        boundaries: Bucket lengths; None chooses them from the segments' lengths.
        with_labels: Whether to give ``(x, y)`` or only ``x``.
        shard_index: Of every batch, this worker takes each `shard_count`-th segment.
        shard_count: Workers that share a batch; must divide the batch size.

    Returns:
        The dataset with its number of steps per epoch. x is {"features": float32 [B, T, 74],
        "padding_mask": bool [B, T]}, y is float32 [B, 6].

    Raises:
        ValueError: Without segments, or if the start or the shards make no sense.

    Example:
        >>> data = make_training_dataset(train, DataConfig(), seed=0)  # doctest: +SKIP
        >>> model.fit(data.dataset, steps_per_epoch=data.steps_per_epoch)  # doctest: +SKIP
    """
    plan = BatchPlan(segments.lengths, config, seed, boundaries=boundaries, min_steps=min_steps)
    if not 0 <= start_step <= plan.steps_per_epoch:
        raise ValueError(f"start_step {start_step} is not in 0..{plan.steps_per_epoch}")
    if not 0 <= shard_index < shard_count or config.batch_size % shard_count:
        raise ValueError(
            f"shard {shard_index} of {shard_count} does not fit a batch of {config.batch_size}"
        )

    def specs() -> Iterator[BatchSpec]:
        epoch, skip = start_epoch, start_step
        while epochs is None or epoch < epochs:
            for spec in plan.epoch(epoch)[skip:]:
                yield spec.shard(shard_index, shard_count)
            epoch, skip = epoch + 1, 0

    batches = None
    if epochs is not None:
        batches = max(0, (epochs - start_epoch) * plan.steps_per_epoch - start_step)
    ready: dict[int, float] = {}
    dataset = _dataset(
        segments,
        specs,
        config,
        batch_size=config.batch_size // shard_count,
        with_labels=with_labels,
        batches=batches,
        ready=ready,
    )
    return TrainingData(dataset, plan.steps_per_epoch, plan, segments, ready)


def make_evaluation_dataset(
    segments: Segments,
    config: DataConfig,
    *,
    indices: np.ndarray | None = None,
    with_labels: bool = True,
) -> tf.data.Dataset:
    """Make batches that hold every segment exactly once, in order.

    A batch closes early where padding would make it larger than `batch_size` segments of
    `max_frames`, so one segment of minutes does not blow up memory. For speed pass
    ``indices=segments.length_order()`` and put the results back in place.

    Args:
        segments: What to evaluate on.
        config: Batch size, `eval_max_frames`, prefetch.
        indices: Segments to take, in this order; None takes all as they come.
        with_labels: Whether to give ``(x, y)`` or only ``x``.

    Returns:
        A finite dataset; the last batch may be smaller.

    Example:
        >>> predictions = model.predict(make_evaluation_dataset(test, config))  # doctest: +SKIP
    """
    chosen = np.arange(len(segments)) if indices is None else np.asarray(indices)
    specs = list(_evaluation_specs(segments.lengths, chosen.astype(np.int64), config))
    return _dataset(
        segments,
        lambda: specs,
        config,
        batch_size=None,
        with_labels=with_labels,
        batches=len(specs),
    )


def _evaluation_specs(
    lengths: np.ndarray, chosen: np.ndarray, config: DataConfig
) -> Iterator[BatchSpec]:
    windows = lengths[chosen]
    room = config.batch_size * (config.max_frames or int(windows.max(initial=1)))
    start = 0
    while start < len(chosen):
        stop, longest = start, 0
        while stop < len(chosen) and stop - start < config.batch_size:
            candidate = max(longest, _round_up(int(windows[stop]), 20))
            if stop > start and candidate * (stop + 1 - start) > room:
                break
            stop, longest = stop + 1, candidate
        part = chosen[start:stop]
        yield BatchSpec(part, np.zeros(len(part), np.int64), windows[start:stop], longest)
        start = stop


def _round_up(length: int, multiple: int) -> int:
    """Round up to one of few lengths: multiples, coarser (an eighth) for longer segments."""
    step = multiple
    while step * 8 < length:
        step *= 2
    return -(-length // step) * step
