"""Loss for intensity labels between two levels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mosei_ssl")
class SoftTargetCrossentropy(keras.losses.Loss):
    """Crossentropy between predicted level distributions and intensity labels.

    An intensity between two levels (MOSEI's are means of three raters) becomes a target that
    shares its weight between them: 1/3 is 2/3 level 0 and 1/3 level 1. Intensities are clipped to
    the range of levels. Labels that are not finite do not count.

    Call arguments:
        y_true: float [B, E]. Intensities in [0, L - 1].
        y_pred: float [B, E, L]. Logits.

    Returns:
        float32 [B] (reduced as `reduction` says): mean over the labelled emotions.

    Examples:
        >>> loss = SoftTargetCrossentropy()
        >>> round(float(loss(np.array([[0.0]]), np.array([[[0.0, 0.0, 0.0, 0.0]]]))), 3)  # log 4
        1.386
    """

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        labelled = ops.isfinite(y_true)
        target = soft_target(ops.where(labelled, y_true, 0.0), y_pred.shape[-1])
        loss = -ops.sum(target * ops.log_softmax(y_pred, axis=-1), axis=-1)
        weight = ops.cast(labelled, "float32")
        return ops.divide_no_nan(ops.sum(loss * weight, axis=-1), ops.sum(weight, axis=-1))


def soft_target(intensity, levels: int):
    """Shares the weight of intensities [...] between neighbouring levels, float32 [..., levels]."""
    intensity = ops.clip(ops.cast(intensity, "float32"), 0.0, levels - 1.0)[..., None]
    distance = ops.abs(intensity - ops.arange(levels, dtype="float32"))
    return ops.maximum(1.0 - distance, 0.0)
