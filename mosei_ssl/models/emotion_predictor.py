"""An emotion model that answers with predictions instead of logits."""

import keras

from mosei_ssl.models.emotion_predictions import emotion_predictions


@keras.saving.register_keras_serializable(package="mosei_ssl")
class EmotionPredictor(keras.Model):
    """Wraps an `EmotionModel`; for inference.

    Args:
        emotion_model: EmotionModel. Shared, not copied.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F] and `padding_mask` bool [B, T].

    Returns:
        Dict of [B, 6] tensors `intensity`, `class`, `present`, `expected`; see
        `emotion_predictions`.

    Example:
        >>> predictor = EmotionPredictor(emotion_model)
        >>> predictor.predict(x)["class"]  # doctest: +SKIP
    """

    def __init__(self, emotion_model: keras.Model, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.emotion_model = emotion_model
        self.built = True

    def call(self, inputs):
        return emotion_predictions(self.emotion_model(inputs, training=False))

    def get_config(self):
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "emotion_model": keras.saving.serialize_keras_object(self.emotion_model),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["emotion_model"] = keras.saving.deserialize_keras_object(config["emotion_model"])
        return cls(**config)
