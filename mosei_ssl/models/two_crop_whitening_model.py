"""Pretraining of encoder and utterance summary from pairs of crops."""

from collections.abc import Iterable

import keras

from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.split_crop import SplitCrop
from mosei_ssl.models.summary_whitening import whiten_summary
from mosei_ssl.models.two_crop_contrastive_model import TwoCropContrastiveModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TwoCropWhiteningModel(TwoCropContrastiveModel):
    """Finds which directions of an utterance's statistics are noise, and turns them down.

    Two parts of one utterance differ in what is said and agree in who speaks and in what mood.
    With `d` half the difference of two parts' standardised statistics, `adapt` sets the matrix of
    the backbone's `UtteranceSummary` to ``(I + strength * Cov(d)) ** -0.5``: directions that vary
    within utterances shrink, the others stay. This is within-class covariance normalisation with
    every utterance a class of its own, so it needs no labels. It is also the minimum of
    ``strength * |A d|^2 + |A|^2 - 2 log |det A|``, which gradients reach only slowly; hence the
    closed form. A contrastive loss on the statistics themselves would blow up directions in which
    utterances hardly differ, and those are mostly noise.

    Fitting then trains the encoder by the contrastive task.

    Args:
        backbone: Backbone. What is pretrained.
        strength: float > 0. How much of the differences is taken out.
        min_part: float in (0, 0.5]. Smallest share of an utterance in a part.
        splits: int. Random splits of each utterance that the covariance is estimated from.
        seed: int. Seed of crops, dropout and the projection's initial weights.
        **kwargs: options of `TwoCropContrastiveModel`.

    Call arguments:
        inputs: as for `TwoCropContrastiveModel`, whose outputs it has.
        training: bool.

    Example:
        >>> model = TwoCropWhiteningModel(backbone)
        >>> model.adapt(batches)  # the summary
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> model.fit(batches)  # the encoder

    References:
        Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006.
    """

    OPTIONS = (*TwoCropContrastiveModel.OPTIONS, "strength", "min_part", "splits")

    def __init__(
        self,
        backbone: keras.Model,
        strength: float = 200.0,
        min_part: float = 0.3,
        splits: int = 4,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if strength <= 0:
            raise ValueError(f"strength must be above 0, not {strength}")
        if splits < 1:
            raise ValueError(f"splits must be at least 1, not {splits}")
        self.split = SplitCrop(min_part, derive_seed(seed, "split"), dtype="float32")
        self.strength = strength
        self.splits = splits

    def adapt(self, batches: Iterable[dict]) -> None:
        """Standardises the backbone's summary and sets its matrix; once, before fitting.

        Args:
            batches: inputs as for a call; gone through three times.
        """
        whiten_summary(self.backbone, batches, self.split, self.strength, self.splits)

    def get_config(self):
        config = super().get_config()
        config.update(strength=self.strength, min_part=self.split.min_share, splits=self.splits)
        return config
