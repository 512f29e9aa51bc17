"""A metric for the utterance summary, from what changes within utterances."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from mosei_ssl.layers.split_crop import SplitCrop


def whiten_summary(
    backbone: keras.Model,
    batches: Iterable[dict],
    split: SplitCrop,
    strength: float,
    splits: int,
) -> None:
    """Standardises a backbone's summary and turns down what differs between parts of utterances.

    With `d` half the difference of two parts' standardised statistics, the summary's matrix becomes
    ``(I + strength * Cov(d)) ** -0.5``: within-class covariance normalisation with every utterance
    a class of its own, so it needs no labels.

    Args:
        backbone: Backbone. Its `summary` is set.
        batches: inputs as for a call of the backbone; gone through three times.
        split: draws the two parts.
        strength: float >= 0. How much of the differences is taken out.
        splits: int. Random splits of each utterance.

    References:
        Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006.
    """
    backbone.adapt(batches)
    summary = backbone.summary
    width = summary.scale_matrix.shape[0]
    total, count = np.zeros((width, width)), 0
    for inputs in batches:
        frames, mask = backbone.frontend(inputs["features"], inputs["padding_mask"])
        for _ in range(splits):
            parts = ops.convert_to_numpy(summary.statistics(*split(frames, mask)))
            size = len(parts) // 2
            difference = 0.5 * (parts[:size] - parts[size:])
            total += difference.T @ difference
            count += size
    summary.whiten(total / max(1, count), strength)
    backbone.adapt(batches)
