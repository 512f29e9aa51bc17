"""Pretraining by reconstruction of masked timesteps."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.timestep_masking import TimestepMasking
from mosei_ssl.models.pretraining_model import PretrainingModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class MaskedTimestepModel(PretrainingModel):
    """Hides spans of timesteps from the encoder and reconstructs them.

    The loss is the mean absolute error of hidden, valid timesteps, in standardised units. Beside
    it stands `relative_error`: 1 means no better than the corpus mean, which needs no model.

    Args:
        backbone: Backbone. What is pretrained.
        mask_ratio: float in (0, 1). Mean share of hidden timesteps.
        mask_span: int. Length of a span in timesteps (pooled ones, see `TemporalPooling`).
        seed: int. Seed of the masks and of the reconstruction head's initial weights.

    Call arguments: see `SegmentModel`. Masks are drawn anew when training and fixed by the seed
    otherwise.

    Returns:
        Dict of `reconstruction` float32 [B, T', F'], `target` float32 [B, T', F'] and `weight`
        float32 [B, T'], 1 where a timestep is hidden and valid, 0 elsewhere.

    Examples:
        >>> model = MaskedTimestepModel(backbone)
        >>> model.compile("adam")
        >>> sorted(model.evaluate(x, verbose=0, return_dict=True))
        ['loss', 'relative_error']

    References:
        Liu et al., Mockingjay, ICASSP 2020 (https://arxiv.org/abs/1910.12638).
    """

    def __init__(
        self,
        backbone: keras.Model,
        mask_ratio: float = 0.3,
        mask_span: int = 5,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)

        # === Layers ===
        self.masking = TimestepMasking(
            mask_ratio, mask_span, derive_seed(seed, "masking"), dtype="float32", name="masking"
        )
        # Begins near the corpus mean, zero: the first steps of a short pretraining would otherwise
        # go into unlearning its noise.
        self.reconstruct = keras.layers.Dense(
            backbone.frames_dim,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=0.002, seed=derive_seed(seed, "reconstruct")
            ),
            dtype="float32",
            name="reconstruct",
        )

        # === Config ===
        self.mask_ratio = mask_ratio
        self.mask_span = mask_span

        self.build()

    def build(self, inputs_shape=None):
        if not self.built:
            self.reconstruct.build((None, self.backbone.output_dim))
            self.masking.build((None, None, self.backbone.frames_dim))
        super().build()

    def forward(self, frames, padding_mask, training=False):
        seen, hidden = self.masking(frames, padding_mask, training=training)
        sequence = self.backbone.encoder(seen, padding_mask, training=training)
        return {
            "reconstruction": self.reconstruct(sequence),
            "target": frames,
            "weight": ops.cast(hidden, "float32"),
        }

    def objective(self, outputs):
        target, weight = outputs["target"], outputs["weight"]
        error = mean_absolute_error(target, outputs["reconstruction"], weight)
        trivial = mean_absolute_error(target, ops.zeros_like(target), weight)
        return error, {"relative_error": ops.divide_no_nan(error, trivial)}

    def get_config(self):
        config = super().get_config()
        config.update(mask_ratio=self.mask_ratio, mask_span=self.mask_span)
        return config


def mean_absolute_error(target, reconstruction, weight):
    """Of [B, T, F], over timesteps weighted by [B, T]; 0 if all weights are."""
    error = ops.abs(ops.cast(target, "float32") - ops.cast(reconstruction, "float32"))
    per_step = ops.mean(error, axis=-1) * weight
    return ops.divide_no_nan(ops.sum(per_step), ops.sum(weight))
