"""A metric for the utterance summary, from what changes within utterances."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from mosei_ssl.models.segment_model import inputs_of

_SMALLEST_PART = 0.3
"""Least share of an utterance's timesteps in one of its two parts."""
_SPLITS = 4
"""Random splits of each utterance."""


def whiten_summary(
    backbone: keras.Model,
    batches: Iterable,
    strength: float,
    seed_generator: keras.random.SeedGenerator,
) -> None:
    """Standardises a backbone's summary and turns down what differs between parts of utterances.

    With `d` half the difference of two parts' standardised statistics, the summary's matrix becomes
    ``(I + strength * Cov(d)) ** -0.5``: within-class covariance normalisation with every utterance
    as one class, so it needs no labels (Hatch, Kajarekar and Stolcke, Interspeech 2006).
    """
    backbone.adapt(batches)
    summary = backbone.summary_statistics
    width = summary.scale_matrix.shape[0]
    total, count = np.zeros((width, width)), 0
    for inputs in inputs_of(batches):
        frames, mask = backbone.timesteps(inputs)
        for _ in range(_SPLITS):
            noise = keras.random.uniform((len(mask), 1), seed=seed_generator)
            parts = ops.convert_to_numpy(summary.statistics(*split_in_two(frames, mask, noise)))
            size = len(parts) // 2
            difference = 0.5 * (parts[:size] - parts[size:])
            total += difference.T @ difference
            count += size
    summary.whiten(total / max(1, count), strength)
    backbone.adapt(batches)


def split_in_two(frames, padding_mask, noise):
    """Cuts each sequence in two where `noise`, [B, 1] in [0, 1), says.

    Gives float [2B, T, F], the first parts and then the second ones moved to the front, and their
    bool [2B, T] padding mask. Parts that do not overlap differ in what is said, and agree in what
    holds for the utterance as a whole. A sequence of one timestep has it in both parts.
    """
    share = _SMALLEST_PART + (1.0 - 2.0 * _SMALLEST_PART) * noise
    steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
    length = ops.sum(ops.cast(padding_mask, "int32"), axis=1, keepdims=True)
    first = ops.cast(ops.round(share * ops.cast(length, "float32")), "int32")
    first = ops.maximum(ops.minimum(first, length - 1), 1)
    last = ops.maximum(length - 1, 0)
    start = ops.minimum(first, last)
    source = ops.minimum(steps + start, last)
    second = ops.take_along_axis(frames, source[:, :, None], axis=1)
    mask = ops.concatenate([steps < ops.minimum(first, length), steps < length - start], axis=0)
    return ops.concatenate([frames, second], axis=0), mask
