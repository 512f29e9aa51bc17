"""A distribution over intensity levels for every emotion."""

import keras
import numpy as np
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class DistributionHead(keras.layers.Layer):
    """Maps an embedding to logits over intensity levels, emotion by emotion.

    A predictive distribution serves every metric at once: its median is the best answer in mean
    absolute error, its mode the best in accuracy, and neither has to be traded for the other.

    The parameters are continuation ratios. One unit says whether the emotion is present at all,
    the next whether it exceeds level 1 given that it is present, and so on. What is rare (strong
    emotion) is learnt only from the examples where it is in question.

    Args:
        num_emotions: int.
        num_levels: int. Levels 0 .. num_levels - 1.
        weight_penalty: float. Squared weights times this are added to the loss; after `pull_to`,
            squared differences from its weights.
        zero_share: float. Share of the probability that is moved to level 0: with 0.5 every median
            is 0, and what is likelier than what stays as it is.
        seed: int. Seed of the initial weights.

    Call arguments:
        inputs: float [B, E].

    Returns:
        float32 [B, num_emotions, num_levels]. Softmax over the last axis gives probabilities.

    Examples:
        >>> tuple(DistributionHead()(np.zeros((2, 16))).shape)
        (2, 6, 4)

    References:
        Tutz, Sequential models in categorical regression, Computational Statistics & Data
        Analysis 11, 1991.
    """

    def __init__(
        self,
        num_emotions: int = 6,
        num_levels: int = 4,
        weight_penalty: float = 0.0,
        zero_share: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.num_emotions = num_emotions
        self.num_levels = num_levels
        self.weight_penalty = weight_penalty
        self.zero_share = zero_share
        self.anchor: np.ndarray | float = 0.0
        self.dense = keras.layers.Dense(
            num_emotions * (num_levels - 1),
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=0.01, seed=derive_seed(seed, "dense")
            ),
            kernel_regularizer=self._penalty if weight_penalty else None,
            dtype="float32",
            name="dense",
        )

    def build(self, inputs_shape):
        self.dense.build(inputs_shape)

    def _penalty(self, kernel):
        return self.weight_penalty * ops.sum(ops.square(kernel - self.anchor))

    def call(self, inputs):
        units = ops.reshape(self.dense(inputs), (-1, self.num_emotions, self.num_levels - 1))
        # log P(k) = sum of log P(exceed) below k, plus log P(stop at k); nothing exceeds the last.
        exceed = ops.cumsum(ops.log_sigmoid(units), axis=-1)
        reach = ops.concatenate([ops.zeros_like(units[..., :1]), exceed], axis=-1)
        stop = ops.concatenate([ops.log_sigmoid(-units), ops.zeros_like(units[..., :1])], axis=-1)
        logits = reach + stop
        if self.zero_share:
            none = self.zero_share * ops.one_hot(0, self.num_levels)
            # What is too unlikely for float32 must not become -inf.
            logits = ops.log((1.0 - self.zero_share) * ops.exp(logits) + none + 1e-30)
        return logits

    def set_prior(self, distribution: np.ndarray) -> None:
        """Starts from shares above zero, [num_emotions, num_levels], as rare emotions need."""
        shares = np.asarray(distribution, dtype="float64")
        beyond = shares[:, ::-1].cumsum(axis=-1)[:, ::-1][:, 1:]
        bias = np.log(beyond) - np.log(shares[:, :-1])
        self.dense.bias.assign(bias.reshape(-1).astype("float32"))

    def pull_to(self, other: "DistributionHead", share: float = 1.0) -> None:
        """Starts from a share of another head's weights, and penalises the distance from it."""
        kernel, bias = other.dense.get_weights()
        self.anchor = share * kernel
        self.dense.set_weights([self.anchor, bias])
