"""Emotion intensities from a backbone."""

from collections.abc import Iterable
from dataclasses import asdict

import keras
import numpy as np
from keras import ops

from mosei_ssl.config import HeadConfig
from mosei_ssl.layers.distribution_head import DistributionHead
from mosei_ssl.layers.masked_statistics_pooling import MaskedStatisticsPooling
from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.models.soft_target_crossentropy import SoftTargetCrossentropy

NUM_EMOTIONS = 6
NUM_LEVELS = 4


@keras.saving.register_keras_serializable(package="mosei_ssl")
class EmotionModel(keras.Model):
    """A backbone with an emotion head: what is fine-tuned, or trained from scratch as baseline.

    Args:
        backbone: Backbone. Pretrained or fresh; shared, not copied.
        head: HeadConfig (or its fields as a dict). Default options if None.
        seed: int. Seed of the head's initial weights and dropout.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F], raw rows that may hold NaN and infinities,
            and `padding_mask` bool [B, T], True for real rows.
        training: bool.

    Returns:
        float32 [B, 6, 4]. Logits over intensity levels 0..3 for every emotion; see
        `emotion_predictions` and `to_predictor`.

    Raises:
        UserError: If an option of the head is out of range.

    Example:
        >>> model = EmotionModel(backbone)
        >>> model.compile(keras.optimizers.Adam(1e-3), loss=model.loss_function)
        >>> predictions = model.to_predictor()(x)["intensity"]  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: keras.Model,
        head: HeadConfig | dict | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        head = HeadConfig(**head) if isinstance(head, dict) else (head or HeadConfig())

        # === Layers ===
        self.backbone = backbone
        self.encoder_pooling = MaskedStatisticsPooling(name="encoder_pooling")
        # Pooled states get the spread of the summary's columns, whatever the encoder gives them.
        self.encoder_standardize = keras.layers.BatchNormalization(
            momentum=0.95,
            epsilon=1e-5,
            center=False,
            scale=False,
            dtype="float32",
            name="encoder_standardize",
        )
        self.pooled_dropout = keras.layers.Dropout(
            head.dropout, seed=derive_seed(seed, "pooled dropout"), dtype="float32"
        )
        self.embedding_dropout = keras.layers.Dropout(
            head.dropout, seed=derive_seed(seed, "embedding dropout"), dtype="float32"
        )
        self.distribution = DistributionHead(
            NUM_EMOTIONS,
            NUM_LEVELS,
            "ordinal",
            seed=derive_seed(seed, "distribution"),
            weight_penalty=head.weight_penalty,
            name="distribution",
        )

        # === Config ===
        self.head = head
        self.seed = seed
        self.loss_function = SoftTargetCrossentropy()

        self.build()

    def build(self, inputs_shape=None):
        self.encoder_standardize.build((None, 2 * self.backbone.output_dim))
        self.distribution.build((None, self.embedding_dim))
        self.built = True

    @property
    def embedding_dim(self) -> int:
        """Width of what `embedding` returns."""
        return 2 * self.backbone.output_dim + 2 * self.backbone.frontend.output_dim

    def call(self, inputs, training=False):
        return self.forward(*self._timesteps(inputs), training=training)

    def forward(self, frames, padding_mask, training=False):
        """Like a call, on timesteps that the frontend has made already.

        Args:
            frames: float32 [B, T', F'].
            padding_mask: bool [B, T']. True for real timesteps.
            training: bool.

        Returns:
            float32 [B, 6, 4]. Logits.
        """
        embedding = self._embed(frames, padding_mask, training)
        return self.distribution(self.embedding_dropout(embedding, training=training))

    def embedding(self, inputs, training=False):
        """The vector that the distributions are read from.

        Args:
            inputs: as for a call.
            training: bool.

        Returns:
            float32 [B, embedding_dim].
        """
        return self._embed(*self._timesteps(inputs), training)

    def adapt(self, batches: Iterable[dict]) -> None:
        """Standardises the backbone's summary and the pooled states; needs no labels.

        Args:
            batches: inputs as for a call, from the training split; gone through twice.
        """
        self.backbone.adapt(batches)
        states = []
        for inputs in batches:
            frames, mask = self._timesteps(inputs)
            pooled = self.encoder_pooling(self.backbone.encoder(frames, mask, training=False), mask)
            states.append(ops.convert_to_numpy(pooled))
        stacked = np.concatenate(states)
        self.encoder_standardize.moving_mean.assign(stacked.mean(axis=0))
        self.encoder_standardize.moving_variance.assign(stacked.var(axis=0))

    def freeze_backbone(self) -> None:
        """Trains the head only. Call it after `adapt` and before `compile`.

        The pooled states are then standardised as `adapt` found them, not by the few labelled
        segments of a batch.
        """
        self.backbone.trainable = False
        self.encoder_standardize.trainable = False

    def set_prior(self, labels: np.ndarray) -> None:
        """Starts the head from how often each level occurs among the labelled segments.

        Args:
            labels: float [N, 6]. Emotions of the labelled subset; NaN does not count.
        """
        labels = np.asarray(labels, dtype="float32")
        targets = ops.convert_to_numpy(
            SoftTargetCrossentropy.soft_target(np.nan_to_num(labels), NUM_LEVELS)
        )
        counts = (targets * np.isfinite(labels)[..., None]).sum(axis=0)
        # A quarter of a segment for every level: what was not seen is rare, not impossible.
        counts = counts + 0.25
        self.distribution.set_prior(counts / counts.sum(axis=-1, keepdims=True))

    def _timesteps(self, inputs):
        return self.backbone.frontend(inputs["features"], inputs["padding_mask"])

    def _embed(self, frames, padding_mask, training):
        # A frozen encoder gives what `adapt` has seen: without its dropout.
        learning = training and self.backbone.trainable
        sequence = self.backbone.encoder(frames, padding_mask, training=learning)
        states = self.encoder_pooling(sequence, padding_mask)
        pooled = [
            self.encoder_standardize(states, training=training),
            self.backbone.summary(frames, padding_mask),
        ]
        return self.pooled_dropout(ops.concatenate(pooled, axis=-1), training=training)

    def to_predictor(self) -> keras.Model:
        """A model from the same inputs to a dict of predictions, sharing these weights.

        Returns:
            EmotionPredictor, see there.
        """
        from mosei_ssl.models.emotion_predictor import EmotionPredictor

        return EmotionPredictor(self)

    def get_config(self):
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "head": asdict(self.head),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)
