"""What every backbone has in common."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from mosei_ssl.layers.feature_standardization import FeatureStandardization
from mosei_ssl.layers.temporal_pooling import TemporalPooling
from mosei_ssl.layers.utterance_summary import UtteranceSummary
from mosei_ssl.models.presets import load_preset
from mosei_ssl.models.segment_model import SegmentModel, inputs_of
from mosei_ssl.utils.errors import UserError


class Backbone(SegmentModel):
    """Raw feature rows to hidden states, through an encoder, and to an utterance summary.

    Rows are cleaned, standardised and pooled in time first. Subclasses give the encoder: a layer
    that is called with ``(frames, padding_mask, training)``, returns float32 [B, T', hidden_dim],
    and lists its layers by depth in ``stages``. A subclass takes its encoder's arguments, of which
    its config consists, and those below.

    Args:
        encoder: keras.layers.Layer. See above.
        mean: [F] floats. Column means of the training split.
        std: [F] floats. Column standard deviations of the training split.
        pooling_factor: int. Frames (at 100 Hz) per timestep.

    Call arguments: see `SegmentModel`.

    Returns:
        Dict of `sequence` float32 [B, T', hidden_dim], `frames` float32 [B, T', F'] (what the
        encoder saw), `padding_mask` bool [B, T'], with T' = ceil(T / pooling_factor), and
        `summary` float32 [B, 2F'], statistics of the whole segment, see `UtteranceSummary`.

    Examples:
        >>> outputs = backbone(x)
        >>> tuple(outputs["sequence"].shape), tuple(outputs["summary"].shape)
        ((2, 4, 8), (2, 296))
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        mean: Sequence[float],
        std: Sequence[float],
        pooling_factor: int,
        **kwargs,
    ):
        super().__init__(**kwargs)

        # === Layers ===
        self.standardize = FeatureStandardization(mean, std, name="standardize")
        self.pool = TemporalPooling(pooling_factor, name="pool")
        self.encoder = encoder
        self.summary_statistics = UtteranceSummary(name="summary")

        # === Config ===
        self.num_features = len(self.standardize.mean)
        self.pooling_factor = pooling_factor

        self.build()

    def build(self, inputs_shape=None):
        if not self.built:
            self.standardize.build((None, None, self.num_features))
            self.encoder.build((None, None, self.frames_dim))
            self.summary_statistics.build((None, None, self.frames_dim))
        super().build()

    @classmethod
    def from_preset(cls, preset: str | Path) -> Self:
        """Loads a pretrained backbone.

        Args:
            preset: a run directory of pretraining or fine-tuning, a `.keras` file with a backbone
                or a model that has one, or the name of a preset that comes with the package.

        Returns:
            The backbone, standardising as in that run.

        Raises:
            UserError: there is no such preset, it cannot be read, or it is another backbone.

        Examples:
            >>> backbone.save(tmp_path / "backbone.keras")
            >>> type(Backbone.from_preset(tmp_path)).__name__
            'TransformerBackbone'
        """
        model: Any = load_preset(preset)
        for part in ("emotion_model", "backbone"):
            model = getattr(model, part, model)
        if not isinstance(model, cls):
            raise UserError(f"{preset} holds a {type(model).__name__}, not a {cls.__name__}.")
        return model

    def call(self, inputs, training=False):
        frames, padding_mask = self.timesteps(inputs)
        return {
            "sequence": self.encoder(frames, padding_mask, training=training),
            "frames": frames,
            "padding_mask": padding_mask,
            "summary": self.summary_statistics(frames, padding_mask),
        }

    def timesteps(self, inputs):
        """What the encoder sees, float32 [B, T', F'], and its bool [B, T'] padding mask."""
        return self.pool(self.standardize(inputs["features"]), inputs["padding_mask"])

    def adapt(self, batches: Iterable, watch: Callable[[Any, Any], object] | None = None) -> None:
        """Sets how the summary's statistics are standardised; needs no labels.

        Without it a head learns next to nothing from few labels: the spread of a window's
        standard deviation is a tenth of that of its mean.

        Args:
            batches: batches as for `fit`, of the training split, with labels or without.
            watch: called with the timesteps and padding mask of each batch, too.

        Raises:
            UserError: there are none.
        """
        pooled = []
        for inputs in inputs_of(batches):
            frames, padding_mask = self.timesteps(inputs)
            statistics = self.summary_statistics.pooling(frames, padding_mask)
            pooled.append(ops.convert_to_numpy(statistics))
            if watch:
                watch(frames, padding_mask)
        if not pooled:
            raise UserError("adapt needs at least one batch, and there is none")
        self.summary_statistics.adapt(np.concatenate(pooled))

    @property
    def learned_variables(self) -> list[keras.Variable]:
        """What pretraining hands on: encoder and summary matrix.

        Not the standardisations, which belong to the dataset at hand.
        """
        return [*self.encoder.trainable_variables, self.summary_statistics.scale_matrix]

    @property
    def frames_dim(self) -> int:
        """F', the width of what the encoder sees."""
        return self.pool.output_width(self.num_features)

    @property
    def output_dim(self) -> int:
        """Width of the hidden states."""
        return self.encoder.hidden_dim

    def get_config(self):
        options = self.encoder.get_config().items()
        config = {k: v for k, v in options if k not in ("trainable", "activity_regularizer")}
        config.update(super().get_config())
        config.update(
            mean=self.standardize.mean,
            std=self.standardize.std,
            pooling_factor=self.pooling_factor,
        )
        return config
