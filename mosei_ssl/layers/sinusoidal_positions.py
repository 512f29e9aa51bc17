"""Positions for encoders that have no sense of order."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mosei_ssl")
class SinusoidalPositions(keras.layers.Layer):
    """Adds sine and cosine waves of each timestep's position.

    Needs no longest length: a segment may be longer than all that were trained on.

    Args:
        max_wavelength: float. Longest wavelength in timesteps.

    Call arguments:
        inputs: float [B, T, D], D even.
        positions: int [B, T], optional. Position of each timestep; 0, 1, 2, ... by default.

    Returns:
        float [B, T, D], inputs with the position added.

    Raises:
        ValueError: If D is odd.

    Example:
        >>> SinusoidalPositions()(np.zeros((1, 3, 8))).shape
        (1, 3, 8)

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017 (https://arxiv.org/abs/1706.03762).
    """

    def __init__(self, max_wavelength: float = 1000.0, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = max_wavelength

    def build(self, inputs_shape, positions_shape=None):
        if inputs_shape[-1] % 2:
            raise ValueError(f"positions need an even width, not {inputs_shape[-1]}")
        self.width = inputs_shape[-1]

    def call(self, inputs, positions=None):
        if positions is None:
            positions = ops.arange(ops.shape(inputs)[1], dtype="int32")[None, :]
        half = self.width // 2
        exponent = ops.arange(half, dtype="float32") * (-math.log(self.max_wavelength) / half)
        # float32: half precision cannot tell position 2048 from 2049.
        angles = ops.cast(positions, "float32")[:, :, None] * ops.exp(exponent)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return inputs + ops.cast(waves, inputs.dtype)

    def compute_output_spec(self, inputs, positions=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        config.update(max_wavelength=self.max_wavelength)
        return config
