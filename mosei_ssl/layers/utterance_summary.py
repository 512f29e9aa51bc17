"""Statistics of a whole utterance, in a metric that pretraining can learn."""

import keras
import numpy as np
from keras import ops

from mosei_ssl.layers.feature_standardization import FeatureStandardization
from mosei_ssl.layers.masked_statistics_pooling import MaskedStatisticsPooling


@keras.saving.register_keras_serializable(package="mosei_ssl")
class UtteranceSummary(keras.layers.Layer):
    """Mean and deviation of every column over the utterance, standardised, times a square matrix.

    The matrix starts as the identity: without pretraining the summary is the plain standardised
    statistics, which classical predictors use. Pretraining can set it to a metric in which what
    changes from one part of an utterance to another counts less.

    Nothing here is trained by gradients: `adapt` estimates the standardisation and a gain from
    unlabelled segments, and `whiten` the matrix. Always computes in float32.

    Call arguments:
        inputs: float32 [B, T, F]. Standardised timesteps.
        padding_mask: bool [B, T]. True for real timesteps.

    Returns:
        float32 [B, 2F].

    Examples:
        >>> tuple(UtteranceSummary()(np.zeros((2, 5, 148)), np.ones((2, 5), bool)).shape)
        (2, 296)

    References:
        Hatch, Kajarekar and Stolcke, Within-class covariance normalization, Interspeech 2006.
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.pooling = MaskedStatisticsPooling(name="pooling")

    def build(self, inputs_shape, padding_mask_shape=None):
        width = 2 * inputs_shape[-1]
        # Pooled statistics differ in spread by orders of magnitude; see `adapt`.
        self.standardize = FeatureStandardization(
            [0.0] * width, [1.0] * width, epsilon=1e-4, clip=5.0, name="standardize"
        )
        self.standardize.build((None, width))
        self.gain = self.add_weight(shape=(), initializer="ones", trainable=False, name="gain")
        # The difference to the identity, so that no pretraining is no change.
        self.scale_matrix = self.add_weight(
            shape=(width, width), initializer="zeros", trainable=False, name="scale_matrix"
        )

    def call(self, inputs, padding_mask):
        return self.transform(self.statistics(inputs, padding_mask))

    def statistics(self, inputs, padding_mask):
        """The standardised statistics, float32 [B, 2F], before matrix and gain."""
        return self.standardize(self.pooling(inputs, padding_mask))

    def transform(self, statistics):
        """Multiplies float32 [B, 2F] by matrix and gain."""
        return self.gain * (statistics + ops.matmul(statistics, self.scale_matrix))

    def adapt(self, statistics: np.ndarray) -> None:
        """Sets the standardisation, and the gain that gives the summary's columns unit power.

        `statistics`, float [N, 2F], are `pooling`'s of N segments. The gain keeps a matrix that
        turns directions down from changing what a head with a weight penalty makes of the rest.
        """
        self.standardize.center.assign(statistics.mean(axis=0))
        self.standardize.scale.assign(statistics.std(axis=0))
        self.gain.assign(1.0)
        summary = ops.convert_to_numpy(self.transform(self.standardize(statistics)))
        self.gain.assign(1.0 / max(1e-6, float(np.sqrt(np.mean(np.square(summary))))))

    def whiten(self, covariance: np.ndarray, strength: float) -> None:
        """Sets the matrix to ``(I + strength * noise covariance) ** -0.5``; `adapt` afterwards."""
        variance, directions = np.linalg.eigh(np.asarray(covariance, dtype="float64"))
        scale = (1.0 + strength * np.maximum(variance, 0.0)) ** -0.5
        matrix = (directions * scale) @ directions.T
        self.scale_matrix.assign((matrix - np.eye(len(matrix))).astype("float32"))
