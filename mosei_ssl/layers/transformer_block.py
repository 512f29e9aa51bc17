"""One block of a transformer encoder."""

import keras
from keras import ops

from mosei_ssl.layers.cpu_kernels import gelu, normalize
from mosei_ssl.layers.masked_self_attention import MaskedSelfAttention
from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TransformerBlock(keras.layers.Layer):
    """Pre-norm transformer encoder block: self-attention, then a feed-forward network.

    Args:
        hidden_dim: int. Width of inputs and outputs.
        num_heads: int. Attention heads.
        feedforward_dim: int. Width inside the feed-forward network.
        dropout: float in [0, 1). Dropout of both residual branches.
        seed: int. Seed of initial weights and dropout.

    Call arguments:
        inputs: float [B, T, hidden_dim].
        padding_mask: bool [B, T]. True for real timesteps.
        training: bool.

    Returns:
        float [B, T, hidden_dim].

    Example:
        >>> block = TransformerBlock(hidden_dim=8, num_heads=2, feedforward_dim=16)
        >>> tuple(block(np.zeros((1, 5, 8)), np.ones((1, 5), bool)).shape)
        (1, 5, 8)

    References:
        Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020
        (https://arxiv.org/abs/2002.04745).
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy

        # === Layers ===
        self.attention_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=policy, name="attention_norm"
        )
        self.attention = MaskedSelfAttention(
            hidden_dim, num_heads, derive_seed(seed, "attention"), dtype=policy, name="attention"
        )
        self.attention_dropout = keras.layers.Dropout(
            dropout, seed=derive_seed(seed, "attention dropout"), dtype=policy
        )
        self.feedforward_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=policy, name="feedforward_norm"
        )
        self.expand = keras.layers.Dense(
            feedforward_dim,
            kernel_initializer=keras.initializers.GlorotUniform(derive_seed(seed, "expand")),
            dtype=policy,
            name="expand",
        )
        self.contract = keras.layers.Dense(
            hidden_dim,
            kernel_initializer=keras.initializers.GlorotUniform(derive_seed(seed, "contract")),
            dtype=policy,
            name="contract",
        )
        self.feedforward_dropout = keras.layers.Dropout(
            dropout, seed=derive_seed(seed, "feedforward dropout"), dtype=policy
        )

        # === Config ===
        self.hidden_dim = hidden_dim
        self.feedforward_dim = feedforward_dim

    def build(self, inputs_shape, padding_mask_shape=None):
        shape = (None, None, self.hidden_dim)
        for layer in (self.attention_norm, self.attention, self.feedforward_norm, self.expand):
            layer.build(shape)
        self.contract.build((None, None, self.feedforward_dim))

    def call(self, inputs, padding_mask, training=False):
        normalized = normalize(inputs, self.attention_norm, training)
        attended = self.attention(normalized, padding_mask, training=training)
        x = inputs + self.attention_dropout(attended, training=training)
        normalized = normalize(x, self.feedforward_norm, training)
        inner = gelu(self.expand(ops.reshape(normalized, (-1, self.hidden_dim))), training)
        outputs = ops.reshape(self.contract(inner), ops.shape(x))
        return x + self.feedforward_dropout(outputs, training=training)
