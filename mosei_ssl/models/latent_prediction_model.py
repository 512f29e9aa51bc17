"""Pretraining by prediction of a slower copy's hidden states."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.timestep_masking import TimestepMasking
from mosei_ssl.models.pretraining_model import PretrainingModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class LatentPredictionModel(PretrainingModel):
    """Predicts, where timesteps are hidden, what a teacher makes of the whole sequence.

    The teacher is a moving average of the encoder; its states are normalised over time, which
    keeps them from collapsing to a constant. Unlike a reconstruction, the target holds context,
    and columns without structure do not appear in it.

    Args:
        backbone: Backbone. What is pretrained.
        mask_ratio: float in (0, 1). Mean share of hidden timesteps.
        mask_span: int. Length of a span in timesteps.
        momentum: float in [0, 1). Share of the teacher that stays in every step.
        seed: int. Seed of the masks and of the predictor's initial weights.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F] and `padding_mask` bool [B, T].
        training: bool. The teacher moves when training.

    Returns:
        Dict of `prediction` and `target`, float32 [B, T', hidden_dim], and `weight` float32
        [B, T'], 1 where a timestep is hidden and valid, 0 elsewhere.

    Example:
        >>> model = LatentPredictionModel(backbone, mask_ratio=0.5)

    References:
        Baevski et al., data2vec, ICML 2022 (https://arxiv.org/abs/2202.03555).
    """

    OPTIONS = ("mask_ratio", "mask_span", "momentum")

    def __init__(
        self,
        backbone: keras.Model,
        mask_ratio: float = 0.5,
        mask_span: int = 5,
        momentum: float = 0.99,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum must lie in [0, 1), not {momentum}")
        width = backbone.frontend.output_dim

        # === Layers ===
        self.masking = TimestepMasking(
            mask_ratio, mask_span, derive_seed(seed, "masking"), dtype="float32", name="masking"
        )
        config = keras.saving.serialize_keras_object(backbone.encoder)
        self.teacher = keras.saving.deserialize_keras_object(config)
        if not self.teacher.built:
            self.teacher.build((None, None, width))
        self.teacher.trainable = False
        self.predict_target = self.make_dense(
            backbone.output_dim, backbone.output_dim, "predict_target"
        )

        # === Config ===
        self.momentum = momentum

        self.masking.build((None, None, width))
        for own, source in self._pairs():
            # Through numpy: on JAX the two would share a buffer, which a training step gives away.
            own.assign(ops.convert_to_numpy(source))
        self.built = True

    def _pairs(self):
        return zip(self.teacher.variables, self.backbone.encoder.variables, strict=True)

    def forward(self, frames, padding_mask, training=False):
        if training:
            # Follows the student's state before this step: one step late, on every backend.
            for own, source in self._pairs():
                if "seed" not in own.name:
                    own.assign(self.momentum * own + (1.0 - self.momentum) * source)
        seen, hidden = self.masking(frames, padding_mask, training=training)
        sequence = self.backbone.encoder(seen, padding_mask, training=training)
        target = self.teacher(frames, padding_mask, training=False)
        return {
            "prediction": self.predict_target(sequence),
            "target": ops.stop_gradient(self._normalize(target, padding_mask)),
            "weight": ops.cast(hidden, "float32"),
        }

    @staticmethod
    def _normalize(states, padding_mask):
        """Zero mean and unit deviation over each sequence's valid timesteps."""
        valid = ops.cast(padding_mask, "float32")[:, :, None]
        count = ops.maximum(ops.sum(valid, axis=1, keepdims=True), 1.0)
        centered = (states - ops.sum(states * valid, axis=1, keepdims=True) / count) * valid
        variance = ops.sum(ops.square(centered), axis=1, keepdims=True) / count
        return centered * ops.rsqrt(variance + 1e-3)

    def objective(self, outputs):
        target, weight = outputs["target"], outputs["weight"]
        error = self.reconstruction_error(target, outputs["prediction"], weight, "huber")
        trivial = self.reconstruction_error(target, ops.zeros_like(target), weight, "huber")
        return error, {"relative_error": ops.divide_no_nan(error, trivial)}

    def get_config(self):
        config = super().get_config()
        config.update(
            mask_ratio=self.masking.ratio,
            mask_span=self.masking.span,
            momentum=self.momentum,
        )
        return config
