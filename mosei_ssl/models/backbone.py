"""What every backbone has in common."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
from keras import ops

from mosei_ssl.layers.feature_frontend import FeatureFrontend
from mosei_ssl.layers.utterance_summary import UtteranceSummary


class Backbone(keras.Model):
    """Raw feature rows to hidden states: a frontend, an encoder and an utterance summary.

    Subclasses give the encoder: a layer that is called with ``(frames, padding_mask, positions,
    training)``, returns float32 [B, T', hidden_dim], and lists its layers by depth in ``stages``.
    All weights exist once a backbone is constructed.

    Args:
        encoder: keras.layers.Layer. See above.
        mean: [F] floats. Column means of the training split.
        std: [F] floats. Column standard deviations of the training split.
        pooling_factor: int. Frames (at 100 Hz) per timestep.
        epsilon: float. Smallest standard deviation divided by.
        clip: float. Largest absolute standardised value.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F], raw rows that may hold NaN and infinities,
            and `padding_mask` bool [B, T], True for real rows.
        training: bool.

    Returns:
        Dict of `sequence` float32 [B, T', hidden_dim], `frames` float32 [B, T', F'] (what the
        encoder saw), `padding_mask` bool [B, T'], with T' = ceil(T / pooling_factor), and
        `summary` float32 [B, 2F'], statistics of the whole segment, see `UtteranceSummary`.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        mean: Sequence[float],
        std: Sequence[float],
        pooling_factor: int,
        epsilon: float,
        clip: float,
        **kwargs,
    ):
        # Autocasting would round raw rows (F0 in Hz) to half precision before they are
        # standardised; each layer casts for itself.
        super().__init__(autocast=False, **kwargs)

        # === Layers ===
        self.frontend = FeatureFrontend(
            mean, std, pooling_factor, epsilon=epsilon, clip=clip, name="frontend"
        )
        self.encoder = encoder
        self.summary = UtteranceSummary(name="summary")

        # === Config ===
        self.pooling_factor = pooling_factor
        self.epsilon = epsilon
        self.clip = clip

        self.build()

    def build(self, inputs_shape=None):
        if not self.encoder.built:
            self.encoder.build((None, None, self.frontend.output_dim))
        if not self.summary.built:
            self.summary.build((None, None, self.frontend.output_dim))
        self.built = True

    def call(self, inputs, training=False):
        frames, padding_mask = self.frontend(inputs["features"], inputs["padding_mask"])
        sequence = self.encoder(frames, padding_mask, training=training)
        return {
            "sequence": sequence,
            "frames": frames,
            "padding_mask": padding_mask,
            "summary": self.summary(frames, padding_mask),
        }

    def adapt(self, batches: Iterable[dict]) -> None:
        """Sets how the summary's statistics are standardised; needs no labels.

        Without it a head learns next to nothing from few labels: the spread of a window's
        standard deviation is a tenth of that of its mean.

        Args:
            batches: inputs as for a call, from the training split.
        """
        pooled = [
            ops.convert_to_numpy(
                self.summary.pooling(*self.frontend(inputs["features"], inputs["padding_mask"]))
            )
            for inputs in batches
        ]
        self.summary.adapt(np.concatenate(pooled))

    @property
    def learned_variables(self) -> list[keras.Variable]:
        """What pretraining hands on: encoder and summary matrix.

        Not the standardisations, which belong to the dataset at hand.
        """
        return [*self.encoder.trainable_variables, self.summary.scale_matrix]

    @property
    def output_dim(self) -> int:
        """Width of the hidden states."""
        return self.encoder.hidden_dim

    def get_config(self):
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "mean": self.frontend.standardize.mean,
            "std": self.frontend.standardize.std,
            "pooling_factor": self.pooling_factor,
            "epsilon": self.epsilon,
            "clip": self.clip,
        }
