"""Cleaning and standardisation of raw feature rows."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="mosei_ssl")
class FeatureStandardization(keras.layers.Layer):
    """Cleans raw feature rows and standardises them with statistics of the training split.

    Non-finite values (COVAREP's peakSlope is often ``-inf``) become the column's mean, hence zero.
    Columns are centred, divided by their standard deviation, or by `epsilon` where that is
    smaller (HMPDM_0 to HMPDM_6 are nearly constant), and clipped: a single outlier of a column
    with a heavy tail would otherwise outweigh everything else in a segment.

    Always computes in float32: F0 in Hz does not survive half precision.

    Args:
        mean: [F] floats. Mean of each column over the training split's finite values.
        std: [F] floats. Standard deviation, likewise.
        epsilon: float. Smallest standard deviation divided by.
        clip: float. Largest absolute standardised value.

    Call arguments:
        inputs: float32 [..., F]. Raw rows; may hold NaN and infinities.

    Returns:
        float32 [..., F]. Finite, within [-clip, clip].

    Raises:
        ValueError: If `mean` and `std` differ in length, or hold non-finite or negative values.

    Examples:
        >>> layer = FeatureStandardization(mean=[100.0, 0.0], std=[50.0, 1.0])
        >>> keras.ops.convert_to_numpy(layer(np.array([[150.0, -np.inf]]))).tolist()
        [[1.0, 0.0]]
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        epsilon: float = 1e-3,
        clip: float = 8.0,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.mean = [float(value) for value in np.asarray(mean).reshape(-1)]
        self.std = [float(value) for value in np.asarray(std).reshape(-1)]
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means but {len(self.std)} standard deviations")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise ValueError("means and standard deviations must be finite")
        if min(self.std, default=0.0) < 0:
            raise ValueError("standard deviations must not be negative")
        self.epsilon = epsilon
        self.clip = clip

    def build(self, inputs_shape):
        shape = (len(self.mean),)
        # Weights, not constants: a checkpoint carries the statistics it was trained with.
        self.center = self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(np.asarray(self.mean, "float32")),
            trainable=False,
            name="center",
        )
        self.scale = self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(np.asarray(self.std, "float32")),
            trainable=False,
            name="scale",
        )

    def call(self, inputs):
        inputs = ops.cast(inputs, "float32")
        standardized = (inputs - self.center) / ops.maximum(self.scale, self.epsilon)
        standardized = ops.clip(standardized, -self.clip, self.clip)
        # Zeros of the same shape: TensorFlow selects from arrays that need stretching slowly.
        zeros = ops.zeros_like(standardized)
        return ops.where(ops.isfinite(inputs), standardized, zeros)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        config = super().get_config()
        config.update(mean=self.mean, std=self.std, epsilon=self.epsilon, clip=self.clip)
        return config
