"""Finite `tf.data` datasets of padded batches, one iteration for an epoch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mosei_ssl.config import DataConfig
from mosei_ssl.data.buckets import BatchPlan, BatchSpec, evaluation_batches
from mosei_ssl.data.segments import Segments
from tfds_mosei.schema import NUM_FEATURES

if TYPE_CHECKING:
    import tensorflow as tf

_PREFETCHED = 4


def make_training_dataset(
    segments: Segments,
    config: DataConfig,
    *,
    seed: int = 0,
    epoch: int | Callable[[], int] | None = None,
    min_steps: int = 1,
    with_labels: bool = True,
) -> tf.data.Dataset:
    """Make the shuffled, bucketed, padded batches of one epoch after another.

    Which segments are in which batch, in which order and cropped where, is a pure function of
    seed and epoch, see `BatchPlan`.

    Args:
        segments: What to train on.
        config: `batch_size`, `max_frames`.
        seed: Seed of order and crops.
        epoch: The epoch, from 0, that an iteration gives, or a function that returns it when an
            iteration begins: a training that resumes sets it. None counts iterations.
        min_steps: An epoch repeats the segments until it has so many batches.
        with_labels: Whether to give ``(x, y)`` or only ``x``.

    Returns:
        A finite `tf.data.Dataset` of known cardinality. x is {"features": float32 [B, T, 74],
        "padding_mask": bool [B, T]}, y is float32 [B, 6]; B is always `batch_size`.

    Raises:
        ValueError: Without segments.

    Examples:
        >>> from mosei_ssl.data import segments_from_arrays
        >>> train = segments_from_arrays([np.zeros((50, 74))] * 5, np.zeros((5, 6)))
        >>> dataset = make_training_dataset(train, DataConfig(batch_size=2))
        >>> [x["features"].shape[:2].as_list() for x, y in dataset]
        [[2, 60], [2, 60], [2, 60]]
    """
    plan = BatchPlan(segments.lengths, config, seed, min_steps=min_steps)
    count = itertools.count()

    def batches() -> list[BatchSpec]:
        if epoch is None:
            return plan.epoch(next(count))
        return plan.epoch(epoch() if callable(epoch) else epoch)

    return _dataset(segments, batches, plan.steps_per_epoch, config.batch_size, with_labels)


def make_evaluation_dataset(
    segments: Segments,
    config: DataConfig,
    *,
    indices: np.ndarray | None = None,
    with_labels: bool = True,
) -> tf.data.Dataset:
    """Make batches that hold every segment exactly once, whole and in order.

    For speed pass ``indices=segments.length_order()`` and put the results back in place.

    Args:
        segments: What to evaluate on.
        config: `batch_size`, and `max_frames`: a batch closes early where padding would make it
            larger than `batch_size` segments of that length.
        indices: int [M] segments to take, in this order; None takes all as they come.
        with_labels: Whether to give ``(x, y)`` or only ``x``.

    Returns:
        A finite `tf.data.Dataset` as from `make_training_dataset`, but B differs.

    Examples:
        >>> from mosei_ssl.data import segments_from_arrays
        >>> test = segments_from_arrays([np.zeros((50, 74))] * 5, np.zeros((5, 6)))
        >>> dataset = make_evaluation_dataset(test, DataConfig(batch_size=4))
        >>> [x["features"].shape[:2].as_list() for x, y in dataset]
        [[4, 60], [1, 60]]
    """
    chosen = np.arange(len(segments)) if indices is None else np.asarray(indices)
    batches = list(evaluation_batches(segments.lengths, chosen.astype(np.int64), config))
    return _dataset(segments, lambda: batches, len(batches), None, with_labels)


def _dataset(
    segments: Segments,
    batches: Callable[[], Iterable[BatchSpec]],
    steps: int,
    batch_size: int | None,
    with_labels: bool,
) -> tf.data.Dataset:
    import tensorflow as tf

    def generate() -> Iterator[Any]:
        for batch in batches():
            inputs = _inputs(segments, batch)
            yield (inputs, segments.emotions[batch.indices]) if with_labels else inputs

    inputs = {
        "features": tf.TensorSpec([batch_size, None, NUM_FEATURES], tf.float32),
        "padding_mask": tf.TensorSpec([batch_size, None], tf.bool),
    }
    labels = tf.TensorSpec([batch_size, segments.emotions.shape[1]], tf.float32)
    options = tf.data.Options()
    # Nothing here is left to tune, and the tuner's thread sleeps longer and longer: whatever drops
    # the dataset would wait for it to wake.
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_generator(
            generate, output_signature=(inputs, labels) if with_labels else inputs
        )
        .prefetch(_PREFETCHED)
        .with_options(options)
        .apply(tf.data.experimental.assert_cardinality(steps))
    )


def _inputs(segments: Segments, batch: BatchSpec) -> dict[str, np.ndarray]:
    shape = (len(batch.indices), batch.padded_length, NUM_FEATURES)
    features = np.zeros(shape, dtype=np.float32)
    windows = zip(batch.indices, batch.starts, batch.lengths, strict=True)
    for place, (index, start, length) in enumerate(windows):
        features[place, :length] = segments.frames[index][start : start + length]
    mask = np.arange(batch.padded_length)[None, :] < batch.lengths[:, None]
    return {"features": features, "padding_mask": mask}
