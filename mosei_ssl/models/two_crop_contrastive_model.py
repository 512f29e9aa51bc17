"""Pretraining by telling crops of one segment from crops of others."""

import keras
from keras import ops

from mosei_ssl.layers.feature_dropout import FeatureDropout
from mosei_ssl.layers.masked_statistics_pooling import MaskedStatisticsPooling
from mosei_ssl.layers.random_crop import RandomCrop
from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.models.pretraining_model import PretrainingModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TwoCropContrastiveModel(PretrainingModel):
    """Recognises a segment by another crop of it, among the other segments of the batch.

    The loss is the normalised temperature-scaled crossentropy over pooled, projected states.

    Args:
        backbone: Backbone. What is pretrained.
        min_crop: float in (0, 1]. Smallest share of a segment in a crop.
        max_crop: float. Largest share.
        feature_dropout: float in [0, 1). See `FeatureDropout`; drawn for each crop.
        temperature: float > 0.
        projection_dim: int. Width of the space in which crops are compared.
        seed: int. Seed of crops, dropout and the projection's initial weights.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F] and `padding_mask` bool [B, T].
        training: bool. Crops are drawn either way: without them there is no task.

    Returns:
        Dict of `projected` float32 [2B, projection_dim], unit vectors, first crops first.

    Example:
        >>> model = TwoCropContrastiveModel(backbone)
        >>> model.compile(keras.optimizers.Adam(1e-3))

    References:
        Chen et al., SimCLR, ICML 2020 (https://arxiv.org/abs/2002.05709); Saeed et al., COLA,
        ICASSP 2021 (https://arxiv.org/abs/2010.10915).
    """

    METRICS: tuple[str, ...] = ("retrieval_accuracy",)
    OPTIONS: tuple[str, ...] = (
        "min_crop",
        "max_crop",
        "feature_dropout",
        "temperature",
        "projection_dim",
    )

    def __init__(
        self,
        backbone: keras.Model,
        min_crop: float = 0.4,
        max_crop: float = 0.9,
        feature_dropout: float = 0.2,
        temperature: float = 0.1,
        projection_dim: int = 64,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")

        # === Layers ===
        self.crop = RandomCrop(min_crop, max_crop, derive_seed(seed, "crop"), dtype="float32")
        self.feature_dropout = FeatureDropout(
            feature_dropout, seed=derive_seed(seed, "feature dropout"), dtype="float32"
        )
        self.pooling = MaskedStatisticsPooling(name="pooling")
        pooled_dim = 2 * backbone.output_dim
        self.expand = self.make_dense(pooled_dim, pooled_dim, "expand")
        self.project = self.make_dense(pooled_dim, projection_dim, "project")

        # === Config ===
        self.temperature = temperature
        self.projection_dim = projection_dim

        self.built = True

    def forward(self, frames, padding_mask, training=False):
        frames = ops.concatenate([frames, frames], axis=0)
        padding_mask = ops.concatenate([padding_mask, padding_mask], axis=0)
        frames, padding_mask = self.crop(frames, padding_mask, training=True)
        frames = self.feature_dropout(frames, training=True)
        sequence = self.backbone.encoder(frames, padding_mask, training=training)
        hidden = ops.gelu(self.expand(self.pooling(sequence, padding_mask)), approximate=True)
        projected = ops.normalize(self.project(hidden), axis=-1)
        return {"projected": projected}

    def objective(self, outputs):
        projected = outputs["projected"]
        size = ops.shape(projected)[0] // 2
        similarity = ops.matmul(projected, ops.transpose(projected)) / self.temperature
        index = ops.cumsum(ops.ones_like(projected[:, 0], dtype="int32")) - 1
        partner = ops.where(index < size, index + size, index - size)
        is_self = index[:, None] == index[None, :]
        is_partner = partner[:, None] == index[None, :]
        similarity = ops.where(is_self, -1e9, similarity)
        positive = ops.sum(ops.where(is_partner, similarity, 0.0), axis=-1)
        loss = ops.mean(ops.logsumexp(similarity, axis=-1) - positive)
        best = ops.cast(ops.argmax(similarity, axis=-1), partner.dtype)
        accuracy = ops.mean(ops.cast(best == partner, "float32"))
        return loss, {"retrieval_accuracy": accuracy}

    def get_config(self):
        config = super().get_config()
        config.update(
            min_crop=self.crop.min_share,
            max_crop=self.crop.max_share,
            feature_dropout=self.feature_dropout.rate,
            temperature=self.temperature,
            projection_dim=self.projection_dim,
        )
        return config
