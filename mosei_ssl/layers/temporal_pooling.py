"""Pooling of frames into coarser timesteps."""

import keras
from keras import ops

from mosei_ssl.layers.masked_statistics_pooling import masked_statistics


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TemporalPooling(keras.layers.Layer):
    """Summarises every `factor` frames by their mean and standard deviation.

    At 100 frames a second neighbours are nearly equal, and a masked one is found by
    interpolation. A factor of 10 gives timesteps of 0.1 s. Padding is left out of every window;
    the last window may hold fewer frames than the others.

    Args:
        factor: int. Frames per timestep; 1 leaves the frames as they are.

    Call arguments:
        inputs: float32 [B, T, F]. Standardised frames.
        padding_mask: bool [B, T]. True for real frames.

    Returns:
        Tuple of float32 [B, T', 2F] (the F means, then the F standard deviations; [B, T, F] when
        `factor` is 1) and bool [B, T'], True where a window holds a real frame, with
        T' = ceil(T / factor).

    Raises:
        ValueError: If `factor` is below 1.

    Examples:
        >>> frames, mask = TemporalPooling(10)(np.ones((1, 25, 74)), np.ones((1, 25), bool))
        >>> tuple(frames.shape), tuple(mask.shape)
        ((1, 3, 148), (1, 3))
    """

    def __init__(self, factor: int, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"pooling factor must be at least 1, not {factor}")
        self.factor = factor

    def output_width(self, features: int) -> int:
        """Number of output columns for so many input columns."""
        return features if self.factor == 1 else 2 * features

    def call(self, inputs, padding_mask):
        # Padding may hold anything, NaN included: select, do not multiply.
        inputs = ops.where(padding_mask[:, :, None], inputs, 0.0)
        if self.factor == 1:
            return inputs, ops.cast(padding_mask, "bool")
        batch, frames = ops.shape(inputs)[:2]
        windows = (frames + (self.factor - 1)) // self.factor
        missing = windows * self.factor - frames

        def cut(x):
            """[B, T, C] -> [B, T', factor, C], padded with zeros."""
            x = ops.pad(x, [[0, 0], [0, missing], [0, 0]])
            return ops.reshape(x, (batch, windows, self.factor, x.shape[-1]))

        valid = cut(ops.cast(padding_mask, "float32")[:, :, None])
        pooled, some = masked_statistics(cut(inputs), valid, axis=2)
        return pooled, some[:, :, 0]

    def compute_output_spec(self, inputs, padding_mask):
        batch, frames, columns = inputs.shape
        windows = None if frames is None else -(-frames // self.factor)
        return (
            keras.KerasTensor((batch, windows, self.output_width(columns)), dtype="float32"),
            keras.KerasTensor((batch, windows), dtype="bool"),
        )
