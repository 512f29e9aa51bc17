"""Random crops of sequences, for augmentation."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class RandomCrop(keras.layers.Layer):
    """Keeps a random run of each sequence's valid timesteps, moved to the front.

    What an utterance says as a whole (who speaks, and in what mood) is in every part of it; what
    is said at one moment is not.

    Args:
        min_share: float in (0, 1]. Smallest share of the valid timesteps kept; at least one is.
        max_share: float in [min_share, 1]. Largest share.
        seed: int.

    Call arguments:
        inputs: float [B, T, F].
        padding_mask: bool [B, T]. True for real timesteps, which come first.
        training: bool. Sequences pass unchanged when not training.

    Returns:
        Tuple of float [B, T, F] and its bool [B, T] padding mask.

    Raises:
        ValueError: If the shares are out of range.

    Example:
        >>> crop = RandomCrop(0.4, 0.9)
        >>> part, mask = crop(np.zeros((2, 50, 8)), np.ones((2, 50), bool), training=True)

    References:
        Chen et al., SimCLR, ICML 2020 (https://arxiv.org/abs/2002.05709); Saeed et al., COLA,
        ICASSP 2021 (https://arxiv.org/abs/2010.10915), crops of one clip.
    """

    def __init__(self, min_share: float = 0.4, max_share: float = 0.9, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 < min_share <= max_share <= 1.0:
            raise ValueError(f"crop shares must satisfy 0 < {min_share} <= {max_share} <= 1")
        self.min_share = min_share
        self.max_share = max_share
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(derive_seed(seed, "crops"))

    def call(self, inputs, padding_mask, training=False):
        if not training:
            return inputs, padding_mask
        noise = keras.random.uniform((2, ops.shape(inputs)[0], 1), seed=self.seed_generator)
        steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
        length = ops.sum(ops.cast(padding_mask, "int32"), axis=1, keepdims=True)
        valid = ops.cast(length, "float32")
        share = self.min_share + (self.max_share - self.min_share) * noise[0]
        kept = ops.cast(ops.round(share * valid), "int32")
        kept = ops.minimum(ops.maximum(kept, 1), length)
        room = ops.cast(length - kept + 1, "float32")
        start = ops.minimum(ops.cast(noise[1] * room, "int32"), length - kept)
        source = ops.minimum(steps + start, ops.maximum(length - 1, 0))
        return ops.take_along_axis(inputs, source[:, :, None], axis=1), steps < kept

    def get_config(self):
        config = super().get_config()
        config.update(min_share=self.min_share, max_share=self.max_share, seed=self.seed)
        return config
