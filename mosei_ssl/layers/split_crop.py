"""Two crops of a sequence that do not overlap."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class SplitCrop(keras.layers.Layer):
    """Cuts each sequence in two at a random point; both parts are moved to the front.

    Crops that overlap can be matched by the very sounds they share. Parts that do not can only be
    matched by what holds for the utterance as a whole.

    Args:
        min_share: float in (0, 0.5]. Smallest share of the valid timesteps in a part. A sequence
            of one timestep has it in both parts.
        seed: int.

    Call arguments:
        inputs: float [B, T, F].
        padding_mask: bool [B, T]. True for real timesteps, which come first.

    Returns:
        Tuple of float [2B, T, F], the first parts and then the second ones, and its bool [2B, T]
        padding mask. Which part of a sequence comes first in it is not random.

    Raises:
        ValueError: If `min_share` is out of range.

    Example:
        >>> parts, mask = SplitCrop()(np.zeros((2, 50, 8)), np.ones((2, 50), bool))
        >>> parts.shape
        (4, 50, 8)

    References:
        van den Oord et al., Contrastive Predictive Coding, 2018
        (https://arxiv.org/abs/1807.03748).
    """

    def __init__(self, min_share: float = 0.3, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 < min_share <= 0.5:
            raise ValueError(f"the smallest crop share must lie in (0, 0.5], not {min_share}")
        self.min_share = min_share
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(derive_seed(seed, "cuts"))

    def call(self, inputs, padding_mask):
        noise = keras.random.uniform((ops.shape(inputs)[0], 1), seed=self.seed_generator)
        share = self.min_share + (1.0 - 2.0 * self.min_share) * noise
        steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
        length = ops.sum(ops.cast(padding_mask, "int32"), axis=1, keepdims=True)
        first = ops.cast(ops.round(share * ops.cast(length, "float32")), "int32")
        first = ops.maximum(ops.minimum(first, length - 1), 1)
        last = ops.maximum(length - 1, 0)
        start = ops.minimum(first, last)
        source = ops.minimum(steps + start, last)
        second = ops.take_along_axis(inputs, source[:, :, None], axis=1)
        mask = ops.concatenate([steps < ops.minimum(first, length), steps < length - start], axis=0)
        return ops.concatenate([inputs, second], axis=0), mask

    def get_config(self):
        config = super().get_config()
        config.update(min_share=self.min_share, seed=self.seed)
        return config
