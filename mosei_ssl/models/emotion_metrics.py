"""MAE and four-class accuracy of predicted distributions, for Keras's `fit` and `evaluate`."""

import keras
from keras import ops

from mosei_ssl.models.emotion_predictor import emotion_predictions

# Labels are multiples of 1/6 stored as float32; a half must round up however it was stored.
_HALF_TOLERANCE = 1e-6


@keras.saving.register_keras_serializable(package="mosei_ssl")
class EmotionMAE(keras.metrics.Mean):
    """Mean absolute error of the predicted intensity, the distribution's median.

    Labels that are not finite do not count; larger ones than the highest level are clipped.

    Call arguments:
        y_true: float [B, E]. Intensities.
        y_pred: float [B, E, L]. Logits over levels 0 .. L - 1.
        sample_weight: float [B], optional.

    Examples:
        >>> metric = EmotionMAE()
        >>> float(metric(np.array([[1.0]]), np.array([[[0.0, 0.0, 0.0, 9.0]]])))
        2.0
    """

    def __init__(self, name="mae", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.cast(y_true, "float32")
        labelled = ops.isfinite(y_true)
        weight = ops.cast(labelled, "float32")
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        labels = ops.clip(ops.where(labelled, y_true, 0.0), 0.0, y_pred.shape[-1] - 1.0)
        return super().update_state(self.score(labels, emotion_predictions(y_pred)), weight)

    def score(self, labels, predictions):
        return ops.abs(labels - predictions["intensity"])


@keras.saving.register_keras_serializable(package="mosei_ssl")
class EmotionAccuracy(EmotionMAE):
    """Share of emotions whose level, the distribution's mode, is the label rounded half up.

    Called as `EmotionMAE` is.

    Examples:
        >>> metric = EmotionAccuracy()
        >>> float(metric(np.array([[2.5, 0.0]]), np.array([[[0.0, 0, 0, 9], [0.0, 0, 0, 9]]])))
        0.5

    References:
        Zadeh et al., Multimodal Language Analysis in the Wild, ACL 2018.
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def score(self, labels, predictions):
        level = ops.cast(ops.floor(labels + (0.5 + _HALF_TOLERANCE)), "int32")
        return ops.cast(level == predictions["class"], "float32")
