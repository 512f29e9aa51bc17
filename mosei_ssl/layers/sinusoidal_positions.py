"""Positions for encoders that have no sense of order."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mosei_ssl")
class SinusoidalPositions(keras.layers.Layer):
    """Adds sine and cosine waves of each timestep's position.

    Has no maximum length: a segment may be longer than all that were trained on.

    Args:
        max_wavelength: float. Longest wavelength in timesteps.

    Call arguments:
        inputs: float [B, T, D], D even.

    Returns:
        float [B, T, D], inputs with the positions 0, 1, 2, ... added.

    Raises:
        ValueError: If D is odd.

    Example:
        >>> tuple(SinusoidalPositions()(np.zeros((1, 3, 8))).shape)
        (1, 3, 8)

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017 (https://arxiv.org/abs/1706.03762).
    """

    def __init__(self, max_wavelength: float = 1000.0, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = max_wavelength

    def build(self, inputs_shape):
        if inputs_shape[-1] % 2:
            raise ValueError(f"positions need an even width, not {inputs_shape[-1]}")

    def call(self, inputs):
        positions = ops.arange(ops.shape(inputs)[1], dtype="int32")[None, :]
        half = inputs.shape[-1] // 2
        exponent = ops.arange(half, dtype="float32") * (-math.log(self.max_wavelength) / half)
        # float32: half precision cannot tell position 2048 from 2049.
        angles = ops.cast(positions, "float32")[:, :, None] * ops.exp(exponent)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return inputs + ops.cast(waves, inputs.dtype)
