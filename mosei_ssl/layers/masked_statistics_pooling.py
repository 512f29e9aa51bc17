"""Pooling of a sequence into one vector."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mosei_ssl")
class MaskedStatisticsPooling(keras.layers.Layer):
    """Mean and standard deviation over the valid timesteps.

    Always computes in float32.

    Call arguments:
        inputs: float [B, T, D].
        padding_mask: bool [B, T]. True for real timesteps.

    Returns:
        float32 [B, 2D]: the D means, then the D standard deviations. A sequence without valid
        timesteps gives zeros.

    Example:
        >>> pool = MaskedStatisticsPooling()
        >>> pool(np.array([[[1.0], [3.0], [9.0]]]), np.array([[True, True, False]]))
        array([[2., 1.]], dtype=float32)

    References:
        Snyder et al., X-vectors, ICASSP 2018.
    """

    # Keeps the square root's gradient finite where all timesteps are equal.
    VARIANCE_EPSILON = 1e-8

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs, padding_mask):
        inputs = ops.where(padding_mask[:, :, None], ops.cast(inputs, "float32"), 0.0)
        valid = ops.cast(padding_mask, "float32")[:, :, None]
        count = ops.sum(valid, axis=1)
        divisor = ops.maximum(count, 1.0)
        mean = ops.sum(inputs, axis=1) / divisor
        deviation = (inputs - mean[:, None, :]) * valid
        variance = ops.sum(ops.square(deviation), axis=1) / divisor
        std = ops.where(count > 0, ops.sqrt(variance + self.VARIANCE_EPSILON), 0.0)
        return ops.concatenate([mean, std], axis=-1)

    def compute_output_spec(self, inputs, padding_mask):
        return keras.KerasTensor((inputs.shape[0], 2 * inputs.shape[-1]), dtype="float32")
