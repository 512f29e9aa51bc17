"""Pretraining of encoder and utterance summary from pairs of crops."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.split_crop import SplitCrop
from mosei_ssl.models.two_crop_contrastive_model import TwoCropContrastiveModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TwoCropWhiteningModel(TwoCropContrastiveModel):
    """Learns which directions of an utterance's statistics are noise, and turns them down.

    Two parts of one utterance differ in what is said and agree in who speaks and in what mood.
    With `A` the matrix of the backbone's `UtteranceSummary` and `d` half the difference of two
    parts' statistics, the loss is ``(strength * |A d|^2 + |A|^2) / 2 - log |det A|``, over the
    number of columns: the negative log likelihood of the differences under a Gaussian of precision
    ``A^T A``, with a prior on `A`. Its minimum is ``(I + strength * Cov(d)) ** -0.5``: directions
    that vary within utterances shrink, the others stay.

    This is within-class covariance normalisation with every utterance a class of its own, so it
    needs no labels. A contrastive loss on the statistics themselves would also blow up directions
    in which utterances hardly differ, and those are mostly noise.

    The encoder is trained along by the contrastive task, which shares no weights with the summary.

    Args:
        backbone: Backbone. What is pretrained; see `adapt`.
        strength: float > 0. Weight of the differences against the prior.
        min_part: float in (0, 0.5]. Smallest share of an utterance in a part.
        seed: int. Seed of crops, dropout and the projection's initial weights.
        **kwargs: options of `TwoCropContrastiveModel`.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F], `padding_mask` bool [B, T] and, optionally,
            `group` int [B].
        training: bool.

    Returns:
        What `TwoCropContrastiveModel` returns, `difference` float32 [B, S], half the difference of
        the parts' statistics after the matrix, `summary` float32 [B, S], and `matrix` float32
        [S, S].

    Example:
        >>> model = TwoCropWhiteningModel(backbone)
        >>> model.adapt(batches)

    References:
        Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006.
    """

    METRICS = (*TwoCropContrastiveModel.METRICS, "noise_share")
    OPTIONS = (*TwoCropContrastiveModel.OPTIONS, "strength", "min_part")

    def __init__(
        self,
        backbone: keras.Model,
        strength: float = 200.0,
        min_part: float = 0.3,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if strength <= 0:
            raise ValueError(f"strength must be above 0, not {strength}")
        self.split = SplitCrop(min_part, derive_seed(seed, "split"), dtype="float32")
        self.strength = strength

    def forward(self, frames, padding_mask, training=False, group=None):
        outputs = super().forward(frames, padding_mask, training=training, group=group)
        summary = self.backbone.summary
        parts, parts_mask = self.split(frames, padding_mask)
        parts = summary(parts, parts_mask)
        size = ops.shape(frames)[0]
        # The gain is no part of the matrix that is learned.
        outputs["difference"] = 0.5 * (parts[:size] - parts[size:]) / summary.gain
        outputs["summary"] = summary(frames, padding_mask) / summary.gain
        matrix = ops.convert_to_tensor(summary.scale_matrix)
        outputs["matrix"] = matrix + ops.eye(matrix.shape[0])
        return outputs

    def objective(self, outputs):
        loss, metrics = super().objective(outputs)
        matrix = outputs["matrix"]
        noise = ops.mean(ops.sum(ops.square(outputs["difference"]), axis=-1))
        prior = ops.sum(ops.square(matrix))
        whitening = 0.5 * (self.strength * noise + prior) - ops.slogdet(matrix)[1]
        total = ops.mean(ops.sum(ops.square(outputs["summary"]), axis=-1))
        metrics["noise_share"] = ops.divide_no_nan(noise, total)
        return loss + whitening / matrix.shape[0], metrics

    def get_config(self):
        config = super().get_config()
        config.update(strength=self.strength, min_part=self.split.min_share)
        return config
