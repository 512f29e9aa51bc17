"""From raw feature rows to the timesteps an encoder sees."""

from collections.abc import Sequence

import keras

from mosei_ssl.layers.feature_standardization import FeatureStandardization
from mosei_ssl.layers.temporal_pooling import TemporalPooling


@keras.saving.register_keras_serializable(package="mosei_ssl")
class FeatureFrontend(keras.layers.Layer):
    """Cleans, standardises and pools raw rows; needs nothing but the segment itself.

    Args:
        mean: [F] floats. Column means of the training split.
        std: [F] floats. Column standard deviations of the training split.
        pooling_factor: int. Frames per timestep, see `TemporalPooling`.

    Call arguments:
        features: float32 [B, T, F]. Raw rows; may hold NaN and infinities.
        padding_mask: bool [B, T]. True for real frames.

    Returns:
        Tuple of float32 [B, T', F'] timesteps and bool [B, T'] padding mask.

    Example:
        >>> frontend = FeatureFrontend(mean=[0.0] * 74, std=[1.0] * 74, pooling_factor=10)
        >>> frames, mask = frontend(np.zeros((2, 300, 74)), np.ones((2, 300), bool))
        >>> tuple(frames.shape)
        (2, 30, 148)
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], pooling_factor: int = 10, **kwargs
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

        # === Layers ===
        self.standardize = FeatureStandardization(mean, std, name="standardize")
        self.pool = TemporalPooling(pooling_factor, name="pool")

        # === Config ===
        self.num_features = len(self.standardize.mean)
        self.output_dim = self.pool.output_width(self.num_features)

        self.build()

    def build(self, features_shape=None):
        if not self.standardize.built:
            self.standardize.build((None, None, self.num_features))
        self.built = True

    def call(self, features, padding_mask):
        return self.pool(self.standardize(features), padding_mask)

    def compute_output_spec(self, features, padding_mask):
        return self.pool.compute_output_spec(features, padding_mask)

    def get_config(self):
        config = super().get_config()
        config.update(
            mean=self.standardize.mean,
            std=self.standardize.std,
            pooling_factor=self.pool.factor,
        )
        return config
