"""Pretraining of a codebook: which sounds speech is made of."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from mosei_ssl.layers.codebook_encoder import CodebookEncoder
from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.models.pretraining_model import PretrainingModel
from mosei_ssl.models.segment_model import inputs_of

_SMALLEST_PART = 0.3
"""Least share of an utterance's timesteps in one of its two parts."""
_SPLITS = 4
"""Random splits of each utterance."""


@keras.saving.register_keras_serializable(package="mosei_ssl")
class CodebookModel(PretrainingModel):
    """Learns a codebook of timesteps-in-context by k-means, and a metric for the summary.

    `adapt` sets the encoder's projection to the whitened principal components of timesteps with
    their neighbours, draws the first codebook from them, and sets the summary's metric
    (`whiten_summary`). Fitting then moves each entry towards the timesteps that are nearest to it:
    the loss is the mean squared distance to the nearest entry, per dimension, whose gradient
    descent is online k-means. Nothing else is trained by gradients; the projection could make that
    loss zero.

    Args:
        backbone: Backbone with a `CodebookEncoder`. What is pretrained.
        strength: float >= 0. Of the summary's metric; 0 for none.
        seed: int. Seed of what the metric is estimated from and of the first codebook.

    Call arguments: see `SegmentModel`.

    Returns:
        Dict of `squared_distance` float32 [B, T'], to the nearest entry and per dimension,
        `nearest` int32 [B, T'], which one it is, and `weight` float32 [B, T'], 1 for real
        timesteps.

    Raises:
        ValueError: If the backbone has another encoder or an option is out of range.

    Examples:
        >>> from mosei_ssl.models import CodebookBackbone
        >>> backbone = CodebookBackbone([0.0] * 74, [1.0] * 74, hidden_dim=8, code_dim=4)
        >>> model = CodebookModel(backbone)
        >>> model.adapt(x)
        >>> model.compile(keras.optimizers.Adam(0.02))
        >>> sorted(model.fit(x, verbose=0).history)
        ['codes_in_use', 'loss']

    References:
        Coates, Lee and Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
        AISTATS 2011; Bottou and Bengio, Convergence Properties of the K-Means Algorithms, NeurIPS
        1994; Hsu et al., HuBERT, 2021 (https://arxiv.org/abs/2106.07447), for k-means units of
        speech.
    """

    METRICS: tuple[str, ...] = ("codes_in_use",)

    # Windows that projection and first codebook are taken from.
    SAMPLE = 20_000
    # Added to each principal component's variance, as a share of the mean one: components that
    # hardly vary are noise and must not be blown up.
    REGULARIZATION = 0.1

    def __init__(self, backbone: keras.Model, strength: float = 200.0, seed: int = 0, **kwargs):
        super().__init__(backbone, seed=seed, **kwargs)
        if not isinstance(backbone.encoder, CodebookEncoder):
            raise ValueError("this task needs backbone.kind 'codebook'")
        if strength < 0:
            raise ValueError(f"strength must not be below 0, but is {strength}")
        # Trained by `objective` it would collapse; see the class.
        backbone.encoder.projection.trainable = False
        self.split_seeds = keras.random.SeedGenerator(
            derive_seed(derive_seed(seed, "split"), "cuts"), name="split_seeds"
        )
        self.strength = strength
        self.build()

    def forward(self, frames, padding_mask, training=False):
        encoder = self.backbone.encoder
        distances = encoder.squared_distances(encoder.project(frames, padding_mask))
        return {
            "squared_distance": ops.min(distances, axis=-1) / encoder.code_dim,
            "nearest": ops.cast(ops.argmin(distances, axis=-1), "int32"),
            "weight": ops.cast(padding_mask, "float32"),
        }

    def objective(self, outputs):
        weight = outputs["weight"]
        count = ops.sum(weight)
        loss = ops.divide_no_nan(ops.sum(outputs["squared_distance"] * weight), count)
        size = self.backbone.encoder.hidden_dim
        chosen = ops.one_hot(outputs["nearest"], size, dtype="float32") * weight[:, :, None]
        share = ops.divide_no_nan(ops.sum(chosen, axis=(0, 1)), count)
        entropy = -ops.sum(share * ops.log(share + 1e-9))
        return loss, {"codes_in_use": ops.exp(entropy)}

    def adapt(self, batches: Iterable) -> None:
        """Sets projection, first codebook and the summary's metric; once, before fitting.

        Args:
            batches: batches as for `fit`; gone through several times.
        """
        whiten_summary(self.backbone, batches, self.strength, self.split_seeds)
        encoder = self.backbone.encoder
        windows = self._windows(batches, np.random.default_rng(derive_seed(self.seed, "windows")))
        center = windows.mean(axis=0)
        variance, directions = np.linalg.eigh(np.cov((windows - center).T))
        # The last are the largest. With fewer columns than code_dim the rest stays zero.
        kept = min(encoder.code_dim, len(variance))
        variance, directions = variance[::-1][:kept], directions[:, ::-1][:, :kept]
        floor = self.REGULARIZATION * variance.mean() + 1e-12
        matrix = np.zeros((windows.shape[1], encoder.code_dim))
        matrix[:, :kept] = directions / np.sqrt(np.maximum(variance, 0.0) + floor)
        kernel = matrix.reshape(encoder.projection.kernel.shape)
        encoder.projection.kernel.assign(kernel.astype("float32"))
        encoder.projection.bias.assign(-(center @ matrix).astype("float32"))
        projected = (windows - center) @ matrix
        chosen = np.arange(encoder.hidden_dim) % len(projected)  # windows are in random order
        encoder.codebook.kernel.assign(projected[chosen].T.astype("float32"))

    def _windows(self, batches: Iterable, rng: np.random.Generator) -> np.ndarray:
        """A random sample of timesteps with their neighbours, float [N, context * F']."""
        context = self.backbone.encoder.context
        side = context // 2
        total = 0
        for inputs in inputs_of(batches):
            total += int(np.sum(ops.convert_to_numpy(inputs["padding_mask"])))
        share = min(1.0, 1.2 * self.SAMPLE * self.backbone.pooling_factor / max(1, total))
        found = []
        for inputs in inputs_of(batches):
            frames, mask = self.backbone.timesteps(inputs)
            mask = ops.convert_to_numpy(mask)
            frames = np.where(mask[:, :, None], ops.convert_to_numpy(frames), 0.0)
            padded = np.pad(frames, ((0, 0), (side, side), (0, 0)))
            rows, steps = np.nonzero(mask & (rng.random(mask.shape) < share))
            found.append(np.concatenate([padded[rows, steps + k] for k in range(context)], axis=-1))
        windows = np.concatenate(found)
        if len(windows) < 2:
            raise ValueError("there are too few timesteps to learn a codebook from")
        return windows[rng.permutation(len(windows))[: self.SAMPLE]].astype("float64")

    def get_config(self):
        config = super().get_config()
        config.update(strength=self.strength)
        return config


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
