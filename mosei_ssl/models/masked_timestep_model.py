"""Pretraining by reconstruction of masked timesteps."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.timestep_masking import TimestepMasking
from mosei_ssl.models.pretraining_model import PretrainingModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class MaskedTimestepModel(PretrainingModel):
    """Hides spans of timesteps from the encoder and reconstructs them.

    The loss counts hidden, valid timesteps only, in standardised units.

    Args:
        backbone: Backbone. What is pretrained.
        mask_ratio: float in (0, 1). Mean share of hidden timesteps.
        mask_span: int. Length of a span in timesteps (pooled ones, see `TemporalPooling`).
        loss: ``"l1"`` or ``"huber"``.
        seed: int. Seed of the masks and of the reconstruction head's initial weights.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F] and `padding_mask` bool [B, T].
        training: bool. Masks are drawn anew when training and fixed by the seed otherwise.

    Returns:
        Dict of `reconstruction` float32 [B, T', F'], `target` float32 [B, T', F'] and `weight`
        float32 [B, T'], 1 where a timestep is hidden and valid, 0 elsewhere.

    Example:
        >>> model = MaskedTimestepModel(backbone)
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> model.fit(dataset_of_x)  # doctest: +SKIP

    References:
        Liu et al., Mockingjay, ICASSP 2020 (https://arxiv.org/abs/1910.12638).
    """

    def __init__(
        self,
        backbone: keras.Model,
        mask_ratio: float = 0.3,
        mask_span: int = 5,
        loss: str = "l1",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)

        # === Layers ===
        self.masking = TimestepMasking(
            mask_ratio, mask_span, derive_seed(seed, "masking"), dtype="float32", name="masking"
        )
        self.reconstruct = self.make_reconstruction(backbone.output_dim)

        # === Config ===
        self.mask_ratio = mask_ratio
        self.mask_span = mask_span
        self.loss_name = self.check_loss_name(loss)

        self.masking.build((None, None, backbone.frontend.output_dim))
        self.built = True

    def forward(self, frames, padding_mask, training=False):
        seen, hidden = self.masking(frames, padding_mask, training=training)
        sequence = self.backbone.encoder(seen, padding_mask, training=training)
        return {
            "reconstruction": self.reconstruct(sequence),
            "target": frames,
            "weight": ops.cast(hidden, "float32"),
        }

    def objective(self, outputs):
        error = self.reconstruction_error(
            outputs["target"], outputs["reconstruction"], outputs["weight"], self.loss_name
        )
        trivial = self.reconstruction_error(
            outputs["target"],
            ops.zeros_like(outputs["target"]),
            outputs["weight"],
            self.loss_name,
        )
        # Beside the error itself: 1 means no better than the corpus mean, which needs no model.
        return error, {"relative_error": ops.divide_no_nan(error, trivial)}

    def get_config(self):
        config = super().get_config()
        config.update(mask_ratio=self.mask_ratio, mask_span=self.mask_span, loss=self.loss_name)
        return config
