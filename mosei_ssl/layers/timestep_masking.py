"""Hides spans of timesteps from an encoder."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TimestepMasking(keras.layers.Layer):
    """Replaces spans of timesteps by a learned token.

    Every valid timestep starts a span of `span` timesteps with a probability such that `ratio` of
    them are hidden on average; spans may overlap. Padding is never hidden. Every sequence has at
    least one hidden timestep and, if it has two or more valid ones, at least one that is seen.

    Masks are drawn anew at every call when training. Otherwise they depend on the seed and the
    shape alone, so that validation losses of two epochs compare.

    Args:
        ratio: float in (0, 1). Mean share of hidden timesteps.
        span: int. Length of a span in timesteps.
        seed: int. Seed of the masks and of the token's initial value.

    Call arguments:
        inputs: float [B, T, F].
        padding_mask: bool [B, T]. True for real timesteps.
        training: bool.

    Returns:
        Tuple of float [B, T, F], the sequence with hidden timesteps replaced, and bool [B, T],
        True where a timestep is hidden.

    Raises:
        ValueError: If `ratio` is not inside (0, 1) or `span` is below 1.

    Examples:
        >>> masking = TimestepMasking(ratio=0.3, span=5)
        >>> seen, hidden = masking(np.zeros((2, 50, 8)), np.ones((2, 50), bool), training=True)
        >>> tuple(seen.shape), tuple(hidden.shape)
        ((2, 50, 8), (2, 50))

    References:
        Liu et al., Mockingjay, ICASSP 2020 (https://arxiv.org/abs/1910.12638); Baevski et al.,
        wav2vec 2.0, NeurIPS 2020 (https://arxiv.org/abs/2006.11477), spans and mask token.
    """

    def __init__(self, ratio: float = 0.3, span: int = 5, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 < ratio < 1.0:
            raise ValueError(f"masking ratio must lie inside (0, 1), not {ratio}")
        if span < 1:
            raise ValueError(f"masking span must be at least 1, not {span}")
        self.ratio = ratio
        self.span = span
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(derive_seed(seed, "masks"))
        self._evaluation_seed = derive_seed(seed, "evaluation masks")

    def build(self, inputs_shape, padding_mask_shape=None):
        self.token = self.add_weight(
            shape=(inputs_shape[-1],),
            initializer=keras.initializers.RandomNormal(
                stddev=0.02, seed=derive_seed(self.seed, "token")
            ),
            name="token",
        )

    def call(self, inputs, padding_mask, training=False):
        hidden = self.draw(padding_mask, training)
        token = ops.cast(self.token, inputs.dtype)
        return ops.where(hidden[:, :, None], token, inputs), hidden

    def draw(self, padding_mask, training: bool = False):
        """Draws which timesteps to hide, bool [B, T]; the same ones every time in evaluation."""
        seed = self.seed_generator if training else self._evaluation_seed
        shape = ops.shape(padding_mask)
        valid = ops.cast(padding_mask, "bool")
        # One draw gives both the starts and, by its extremes, the two timesteps of each sequence
        # whose state is settled below. Below `start` a span begins.
        noise = keras.random.uniform(shape, seed=seed, dtype="float32")
        start = 1.0 - (1.0 - self.ratio) ** (1.0 / self.span)
        # Counted in float32: TensorFlow adds integers on the host, away from the GPU.
        begun = ops.cumsum(ops.cast(ops.logical_and(noise < start, valid), "float32"), axis=1)
        before = ops.pad(begun, [[0, 0], [self.span, 0]])[:, : -self.span]
        hidden = ops.logical_and(begun > before, valid)

        steps = ops.cumsum(ops.ones_like(begun), axis=1) - 1
        lowest = ops.argmin(ops.where(valid, noise, 2.0), axis=1)
        highest = ops.argmax(ops.where(valid, noise, -1.0), axis=1)
        none_hidden = ops.logical_not(ops.any(hidden, axis=1))
        hide = ops.logical_and(
            none_hidden[:, None], steps == ops.cast(lowest, steps.dtype)[:, None]
        )
        all_hidden = ops.all(ops.equal(hidden, valid), axis=1)
        several = ops.sum(ops.cast(valid, "float32"), axis=1) > 1
        show = ops.logical_and(
            ops.logical_and(all_hidden, several)[:, None],
            steps == ops.cast(highest, steps.dtype)[:, None],
        )
        hidden = ops.logical_and(ops.logical_or(hidden, hide), ops.logical_not(show))
        return ops.logical_and(hidden, valid)
