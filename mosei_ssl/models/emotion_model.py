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
from mosei_ssl.models.emotion_metrics import EmotionAccuracy, EmotionMAE
from mosei_ssl.models.emotion_predictor import EmotionPredictor
from mosei_ssl.models.segment_model import SegmentModel
from mosei_ssl.models.soft_target_crossentropy import SoftTargetCrossentropy, soft_target
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS

NUM_EMOTIONS = len(EMOTIONS)
NUM_LEVELS = 4

_METRICS = {
    "mae": EmotionMAE,
    "mean_absolute_error": EmotionMAE,
    "accuracy": EmotionAccuracy,
    "acc": EmotionAccuracy,
}


@keras.saving.register_keras_serializable(package="mosei_ssl")
class EmotionModel(SegmentModel):
    """A backbone with an emotion head: what is fine-tuned, or trained from scratch as baseline.

    Args:
        backbone: Backbone. Pretrained or fresh; shared, not copied.
        head: HeadConfig (or its fields as a dict). Default options if None.
        seed: int. Seed of the head's initial weights and dropout.
        frozen: bool. Whether to train the head only, see `freeze_backbone`.
        zero_share: float. Share of every emotion's probability that is moved to level 0, see
            `DistributionHead`.
        bound: float or None. The embedding's columns, which are standardised, are squashed to
            (-bound, bound): on other voices and microphones a few columns lie far off, and would
            decide every answer.

    Call arguments: see `SegmentModel`.

    Returns:
        float32 [B, 6, 4]. Logits over intensity levels 0..3 for every emotion; see
        `emotion_predictions` and `to_predictor`.

    Raises:
        UserError: If an option of the head is out of range.

    Examples:
        >>> model = EmotionModel(backbone)
        >>> model.adapt(x)
        >>> model.compile("adam", metrics=["mae"])
        >>> sorted(model.evaluate(x, np.zeros((2, 6)), verbose=0, return_dict=True))
        ['loss', 'mae']
        >>> model.to_predictor().predict(x, verbose=0)["intensity"].shape
        (2, 6)
    """

    def __init__(
        self,
        backbone: keras.Model,
        head: HeadConfig | dict | None = None,
        seed: int = 0,
        frozen: bool = False,
        zero_share: float = 0.0,
        bound: float | None = 3.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        head = HeadConfig(**head) if isinstance(head, dict) else (head or HeadConfig())

        # === Layers ===
        self.backbone = backbone
        if backbone.trainable:
            # A pretraining task may have left parts of it frozen; only a change reaches them.
            backbone.trainable = False
            backbone.trainable = True
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
            seed=derive_seed(seed, "distribution"),
            weight_penalty=head.weight_penalty,
            zero_share=zero_share,
            name="distribution",
        )

        # === Config ===
        self.head = head
        self.seed = seed
        self.bound = bound
        self.loss_function = SoftTargetCrossentropy()

        self.build()
        if frozen:
            self.freeze_backbone()

    def build(self, inputs_shape=None):
        if not self.built:
            self.encoder_standardize.build((None, 2 * self.backbone.output_dim))
            self.distribution.build((None, self.embedding_dim))
        super().build()

    def compile(self, optimizer="adam", loss="auto", *, metrics="auto", **kwargs):
        """Configures training, as `keras.Model.compile`.

        Args:
            optimizer: optimizer or its name.
            loss: "auto" for `SoftTargetCrossentropy`, or another loss of labels float [B, 6] and
                logits float [B, 6, 4].
            metrics: "auto" for both of "mae" (of the predicted intensity, see `EmotionMAE`) and
                "accuracy" (four classes, see `EmotionAccuracy`), a list of these names or of
                metrics of labels and logits, or None.
            **kwargs: as for `keras.Model.compile`.

        Raises:
            UserError: a metric has another name.
        """
        super().compile(
            optimizer=optimizer,
            loss=self.loss_function if loss == "auto" else loss,
            metrics=_resolve(["mae", "accuracy"] if metrics == "auto" else metrics),
            weighted_metrics=_resolve(kwargs.pop("weighted_metrics", None)),
            **kwargs,
        )

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def embedding_dim(self) -> int:
        """Width of what `embedding` returns."""
        return 2 * self.backbone.output_dim + 2 * self.backbone.frames_dim

    def call(self, inputs, training=False):
        embedding = self.embedding(inputs, training=training)
        return self.distribution(self.embedding_dropout(embedding, training=training))

    def embedding(self, inputs, training=False):
        """The vector that the distributions are read from, float32 [B, embedding_dim]."""
        frames, padding_mask = self.backbone.timesteps(inputs)
        # A frozen encoder gives what `adapt` has seen: without its dropout.
        learning = training and self.backbone.trainable
        sequence = self.backbone.encoder(frames, padding_mask, training=learning)
        states = self.encoder_pooling(sequence, padding_mask)
        pooled = [
            self.encoder_standardize(states, training=training),
            self.backbone.summary_statistics(frames, padding_mask),
        ]
        embedding = ops.concatenate(pooled, axis=-1)
        if self.bound:
            embedding = self.bound * ops.tanh(embedding / self.bound)
        return self.pooled_dropout(embedding, training=training)

    def adapt(self, batches: Iterable) -> None:
        """Standardises the backbone's summary and the pooled states; needs no labels.

        Args:
            batches: batches as for `fit`, of the training split, with labels or without.

        Raises:
            UserError: there are none.
        """
        states = []

        def watch(frames, mask):
            sequence = self.backbone.encoder(frames, mask, training=False)
            states.append(ops.convert_to_numpy(self.encoder_pooling(sequence, mask)))

        self.backbone.adapt(batches, watch)
        stacked = np.concatenate(states)
        self.encoder_standardize.moving_mean.assign(stacked.mean(axis=0))
        self.encoder_standardize.moving_variance.assign(stacked.var(axis=0))

    def freeze_backbone(self) -> None:
        """Trains the head only from now on.

        The pooled states are then standardised as `adapt` finds them, not by the few labelled
        segments of a batch. If training has begun, its optimizer is replaced by a new one with the
        same options.
        """
        self.backbone.trainable = False
        self.keep_standardization()
        if self.compiled and self.optimizer.built:
            self.compile_from_config(self.get_compile_config())

    def keep_standardization(self) -> None:
        """Standardises pooled states as `adapt` found them, also in training.

        By default a batch is standardised by itself, which follows a backbone that changes fast; of
        few segments that is noise, which costs more than a slow change does.
        """
        self.encoder_standardize.trainable = False

    def set_prior(self, labels: np.ndarray) -> None:
        """Starts the head from how often each level occurs among the labelled segments.

        Args:
            labels: float [N, 6]. Emotions of the labelled subset; NaN does not count.
        """
        labels = np.asarray(labels, dtype="float32")
        targets = ops.convert_to_numpy(soft_target(np.nan_to_num(labels), NUM_LEVELS))
        counts = (targets * np.isfinite(labels)[..., None]).sum(axis=0)
        # A quarter of a segment for every level: what was not seen is rare, not impossible.
        counts = counts + 0.25
        self.distribution.set_prior(counts / counts.sum(axis=-1, keepdims=True))

    def to_predictor(self) -> EmotionPredictor:
        """A model from the same inputs to a dict of predictions, sharing these weights."""
        return EmotionPredictor(self)

    def get_config(self):
        config = super().get_config()
        config.update(
            backbone=keras.saving.serialize_keras_object(self.backbone),
            head=asdict(self.head),
            seed=self.seed,
            frozen=not self.backbone.trainable,
            zero_share=self.distribution.zero_share,
            bound=self.bound,
        )
        return config


def _resolve(metrics):
    """Metrics of labels [B, 6] and logits [B, 6, 4] in place of Keras's names."""
    if metrics is None:
        return None
    resolved = []
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        if isinstance(metric, str):
            if metric.lower() not in _METRICS:
                raise UserError(
                    f"metrics: EmotionModel knows 'mae' and 'accuracy', not {metric!r}; other "
                    "metrics must be objects that take labels [B, 6] and logits [B, 6, 4]"
                )
            metric = _METRICS[metric.lower()](name=metric)
        resolved.append(metric)
    return resolved
