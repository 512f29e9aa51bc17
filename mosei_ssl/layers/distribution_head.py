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

    Two parameterisations give the same kind of output:

    * ``"categorical"``: free logits for every level.
    * ``"ordinal"``: continuation ratios. One unit says whether the emotion is present at all, the
      next whether it exceeds level 1 given that it is present, and so on. What is rare (strong
      emotion) is learnt from the examples where it is in question only.

    Args:
        num_emotions: int.
        num_levels: int. Levels 0 .. num_levels - 1.
        kind: ``"categorical"`` or ``"ordinal"``.
        weight_penalty: float. Squared weights times this are added to the loss.
        seed: int. Seed of the initial weights.

    Call arguments:
        inputs: float [B, E].

    Returns:
        float32 [B, num_emotions, num_levels]. Softmax over the last axis gives probabilities.

    Raises:
        ValueError: If `kind` is unknown.

    Example:
        >>> DistributionHead()(np.zeros((2, 16))).shape
        (2, 6, 4)

    References:
        Tutz, Sequential models in categorical regression, Computational Statistics & Data
        Analysis 11, 1991.
    """

    def __init__(
        self,
        num_emotions: int = 6,
        num_levels: int = 4,
        kind: str = "ordinal",
        weight_penalty: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if kind not in ("categorical", "ordinal"):
            raise ValueError(f"kind must be 'categorical' or 'ordinal', not {kind!r}")
        self.num_emotions = num_emotions
        self.num_levels = num_levels
        self.kind = kind
        self.weight_penalty = weight_penalty
        self.seed = seed
        self.units = num_levels if kind == "categorical" else num_levels - 1
        self.dense = keras.layers.Dense(
            num_emotions * self.units,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=0.01, seed=derive_seed(seed, "dense")
            ),
            kernel_regularizer=keras.regularizers.L2(weight_penalty) if weight_penalty else None,
            dtype="float32",
            name="dense",
        )

    def build(self, inputs_shape):
        self.dense.build(inputs_shape)

    def call(self, inputs):
        units = ops.reshape(self.dense(inputs), (-1, self.num_emotions, self.units))
        if self.kind == "categorical":
            return units
        # log P(k) = sum of log P(go on) below k, plus log P(stop at k); nothing stops the last.
        go_on = ops.cumsum(ops.log_sigmoid(units), axis=-1)
        reach = ops.concatenate([ops.zeros_like(units[..., :1]), go_on], axis=-1)
        stop = ops.concatenate([ops.log_sigmoid(-units), ops.zeros_like(units[..., :1])], axis=-1)
        return reach + stop

    def set_prior(self, distribution: np.ndarray) -> None:
        """Starts from the levels' shares instead of from an even split.

        Rare emotions need strongly negative biases, which a short training with small steps would
        not reach.

        Args:
            distribution: float [num_emotions, num_levels]. Shares above zero.
        """
        shares = np.asarray(distribution, dtype="float64")
        if self.kind == "categorical":
            bias = np.log(shares)
            bias -= bias.mean(axis=-1, keepdims=True)
        else:
            beyond = shares[:, ::-1].cumsum(axis=-1)[:, ::-1][:, 1:]
            bias = np.log(beyond) - np.log(shares[:, :-1])
        self.dense.bias.assign(bias.reshape(-1).astype("float32"))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(
            (inputs.shape[0], self.num_emotions, self.num_levels), dtype="float32"
        )

    def get_config(self):
        config = super().get_config()
        config.update(
            num_emotions=self.num_emotions,
            num_levels=self.num_levels,
            kind=self.kind,
            weight_penalty=self.weight_penalty,
            seed=self.seed,
        )
        return config
