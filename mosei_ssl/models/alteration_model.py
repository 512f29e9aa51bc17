"""Pretraining by undoing alterations of time, columns and magnitude."""

import keras
from keras import ops

from mosei_ssl.layers.feature_dropout import FeatureDropout
from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.timestep_masking import TimestepMasking
from mosei_ssl.models.pretraining_model import PretrainingModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class AlterationModel(PretrainingModel):
    """Reconstructs what was altered along three axes at once.

    Time: spans of timesteps are hidden. Columns: whole columns, alone or in groups of neighbours,
    are hidden for the whole sequence, so that one kind of feature has to be told from the others.
    Magnitude: some timesteps get Gaussian noise. The loss counts altered, valid values only.

    Args:
        backbone: Backbone. What is pretrained.
        mask_ratio: float in (0, 1). Mean share of hidden timesteps.
        mask_span: int. Length of a span in timesteps.
        column_rate: float in [0, 1). Mean share of hidden columns.
        noise_rate: float in [0, 1]. Share of timesteps that get noise.
        noise_scale: float. Standard deviation of the noise, in standardised units.
        loss: ``"l1"`` or ``"huber"``.
        seed: int. Seed of the alterations and of the head's initial weights.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F] and `padding_mask` bool [B, T].
        training: bool.

    Returns:
        Dict of `reconstruction` float32 [B, T', F'], `target` float32 [B, T', F'] and `weight`
        float32 [B, T', F'], 1 for values that were altered and are valid, 0 elsewhere.

    Example:
        >>> model = AlterationModel(backbone, column_rate=0.2)

    References:
        Liu et al., TERA, IEEE/ACM TASLP 29, 2021 (https://arxiv.org/abs/2007.06028).
    """

    OPTIONS = ("mask_ratio", "mask_span", "column_rate", "noise_rate", "noise_scale", "loss")

    def __init__(
        self,
        backbone: keras.Model,
        mask_ratio: float = 0.3,
        mask_span: int = 5,
        column_rate: float = 0.2,
        noise_rate: float = 0.1,
        noise_scale: float = 0.5,
        loss: str = "l1",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if not 0.0 <= noise_rate <= 1.0:
            raise ValueError(f"noise_rate must lie in [0, 1], not {noise_rate}")

        # === Layers ===
        self.masking = TimestepMasking(
            mask_ratio, mask_span, derive_seed(seed, "masking"), dtype="float32", name="masking"
        )
        self.column_dropout = FeatureDropout(
            column_rate, seed=derive_seed(seed, "columns"), dtype="float32"
        )
        self.reconstruct = self.make_reconstruction(backbone.output_dim)
        self.noise_seed = keras.random.SeedGenerator(derive_seed(seed, "noise"))

        # === Config ===
        self.noise_rate = noise_rate
        self.noise_scale = noise_scale
        self.loss_name = self.check_loss_name(loss)

        self.masking.build((None, None, backbone.frontend.output_dim))
        self.built = True

    def forward(self, frames, padding_mask, training=False):
        ones = ops.ones_like(frames)
        kept = self.column_dropout(ones, training=True)
        noisy = self._noisy_steps(padding_mask)
        noise = keras.random.normal(ops.shape(frames), seed=self.noise_seed)
        altered = frames * kept + self.noise_scale * noisy * noise
        seen, hidden = self.masking(altered, padding_mask, training=training)
        sequence = self.backbone.encoder(seen, padding_mask, training=training)
        touched = ops.maximum(ops.cast(hidden, "float32")[:, :, None] * ones, 1.0 - kept)
        touched = ops.maximum(touched, noisy * ones)
        return {
            "reconstruction": self.reconstruct(sequence),
            "target": frames,
            "weight": touched * ops.cast(padding_mask, "float32")[:, :, None],
        }

    def _noisy_steps(self, padding_mask):
        """float32 [B, T', 1], 1 where a timestep gets noise."""
        noise = keras.random.uniform(ops.shape(padding_mask), seed=self.noise_seed)
        return ops.cast(noise < self.noise_rate, "float32")[:, :, None]

    def objective(self, outputs):
        error = ops.abs(outputs["target"] - outputs["reconstruction"])
        trivial = ops.abs(outputs["target"])
        if self.loss_name == "huber":
            error, trivial = self.huber(error), self.huber(trivial)
        weight = outputs["weight"]
        loss = ops.divide_no_nan(ops.sum(error * weight), ops.sum(weight))
        trivial = ops.divide_no_nan(ops.sum(trivial * weight), ops.sum(weight))
        return loss, {"relative_error": ops.divide_no_nan(loss, trivial)}

    def get_config(self):
        config = super().get_config()
        config.update(
            mask_ratio=self.masking.ratio,
            mask_span=self.masking.span,
            column_rate=self.column_dropout.rate,
            noise_rate=self.noise_rate,
            noise_scale=self.noise_scale,
            loss=self.loss_name,
        )
        return config
