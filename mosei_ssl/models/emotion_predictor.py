"""From distributions over intensity levels to the answers that each metric asks for."""

import keras
from keras import ops

from mosei_ssl.models.segment_model import SegmentModel


def emotion_predictions(logits) -> dict:
    """Reads predictions off the distributions over intensity levels.

    Args:
        logits: float [B, E, L]. Logits over levels 0 .. L - 1.

    Returns:
        Dict of [B, E] tensors: `intensity` float32, the median, best in mean absolute error;
        `class` int32, the mode, best in accuracy; `present` float32, the probability of any
        intensity above level 0; `expected` float32, the mean.

    Examples:
        >>> float(emotion_predictions(np.log([[[0.3, 0.1, 0.4, 0.2]]]))["intensity"][0, 0])
        2.0
    """
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    levels = ops.arange(probabilities.shape[-1], dtype="float32")
    # Of an even split the lower level: rounding must not decide between the two.
    below_half = ops.cast(ops.cumsum(probabilities, axis=-1) < 0.5 - 1e-6, "float32")
    return {
        "intensity": ops.sum(below_half, axis=-1),
        "class": ops.cast(ops.argmax(probabilities, axis=-1), "int32"),
        "present": 1.0 - probabilities[..., 0],
        "expected": ops.sum(probabilities * levels, axis=-1),
    }


@keras.saving.register_keras_serializable(package="mosei_ssl")
class EmotionPredictor(SegmentModel):
    """Wraps an `EmotionModel`; for inference.

    Args:
        emotion_model: EmotionModel. Shared, not copied.

    Call arguments: see `SegmentModel`.

    Returns:
        Dict of [B, 6] tensors `intensity`, `class`, `present`, `expected`; see
        `emotion_predictions`.

    Examples:
        >>> predictor = EmotionPredictor(emotion_model)
        >>> predictor.predict(x, verbose=0)["class"].shape
        (2, 6)
    """

    def __init__(self, emotion_model: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.emotion_model = emotion_model
        self.backbone = emotion_model.backbone
        self.build()

    def call(self, inputs, training=False):
        return emotion_predictions(self.emotion_model(inputs, training=False))

    def get_config(self):
        config = super().get_config()
        config.update(emotion_model=keras.saving.serialize_keras_object(self.emotion_model))
        return config
