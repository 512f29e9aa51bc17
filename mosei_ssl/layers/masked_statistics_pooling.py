"""Pooling of a sequence into one vector."""

import keras
from keras import ops

# Keeps the square root's gradient finite where all timesteps are equal.
_VARIANCE_EPSILON = 1e-8


def masked_statistics(inputs, valid, axis: int):
    """Mean and standard deviation of valid entries, zeros without any, and whether there are any.

    `inputs` float32 [..., D] holds zeros where `valid` float32 [..., 1] does.
    """
    count = ops.sum(valid, axis=axis)
    divisor = ops.maximum(count, 1.0)
    mean = ops.sum(inputs, axis=axis) / divisor
    deviation = (inputs - ops.expand_dims(mean, axis)) * valid
    variance = ops.sum(ops.square(deviation), axis=axis) / divisor
    some = count > 0
    std = ops.where(some, ops.sqrt(variance + _VARIANCE_EPSILON), 0.0)
    return ops.concatenate([mean, std], axis=-1), some


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

    Examples:
        >>> pool = MaskedStatisticsPooling()
        >>> pooled = pool(np.array([[[1.0], [3.0], [9.0]]]), np.array([[True, True, False]]))
        >>> keras.ops.convert_to_numpy(pooled).round(3).tolist()
        [[2.0, 1.0]]

    References:
        Snyder et al., X-vectors, ICASSP 2018.
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs, padding_mask):
        inputs = ops.where(padding_mask[:, :, None], ops.cast(inputs, "float32"), 0.0)
        return masked_statistics(inputs, ops.cast(padding_mask, "float32")[:, :, None], axis=1)[0]
