"""Dropout of whole feature columns."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class FeatureDropout(keras.layers.Layer):
    """Sets whole columns of a sequence to zero, their mean, for all its timesteps.

    COVAREP's columns are correlated within groups (the mel cepstrum, the phase distortion): half
    of the drops take single columns, half whole groups of neighbours.

    Args:
        rate: float in [0, 1). Share of columns dropped on average.
        group_size: int. Neighbouring columns that are dropped together in the second half.
        seed: int.

    Call arguments:
        inputs: float [B, T, F].
        training: bool. Nothing is dropped when not training.

    Returns:
        float [B, T, F]. Kept columns are not scaled: statistics keep their meaning.

    Raises:
        ValueError: If `rate` is not in [0, 1) or `group_size` is below 1.

    Example:
        >>> FeatureDropout(0.2)(np.ones((2, 5, 148)), training=True).shape
        (2, 5, 148)
    """

    def __init__(self, rate: float = 0.2, group_size: int = 8, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"feature dropout must lie in [0, 1), not {rate}")
        if group_size < 1:
            raise ValueError(f"feature group size must be at least 1, not {group_size}")
        self.rate = rate
        self.group_size = group_size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(derive_seed(seed, "columns"))

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        batch, columns = ops.shape(inputs)[0], inputs.shape[-1]
        # Two independent drops of this rate together drop `rate`.
        threshold = 1.0 - (1.0 - self.rate) ** 0.5
        groups = -(-columns // self.group_size)
        noise = keras.random.uniform((batch, columns + groups), seed=self.seed_generator)
        by_group = ops.repeat(noise[:, columns:], self.group_size, axis=1)[:, :columns]
        keep = ops.logical_and(noise[:, :columns] >= threshold, by_group >= threshold)
        return inputs * ops.cast(keep, inputs.dtype)[:, None, :]

    def get_config(self):
        config = super().get_config()
        config.update(rate=self.rate, group_size=self.group_size, seed=self.seed)
        return config
