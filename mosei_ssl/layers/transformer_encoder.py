"""Transformer encoder over pooled timesteps."""

import math

import keras
from keras import ops

from mosei_ssl.layers.cpu_kernels import gelu, normalize
from mosei_ssl.layers.masked_self_attention import MaskedSelfAttention
from mosei_ssl.layers.seeding import derive_seed, seeded_dense


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TransformerEncoder(keras.layers.Layer):
    """Projects timesteps, adds positions and applies pre-norm transformer blocks.

    Args:
        hidden_dim: int. Width of the encoder, even and a multiple of `num_heads`.
        num_layers: int. Blocks.
        num_heads: int. Attention heads per block.
        feedforward_dim: int. Width inside the feed-forward networks.
        dropout: float in [0, 1).
        seed: int. Seed of initial weights and dropout.

    Call arguments:
        frames: float [B, T, F].
        padding_mask: bool [B, T]. True for real timesteps.
        training: bool.

    Returns:
        float32 [B, T, hidden_dim], zero at padding.

    Raises:
        ValueError: If `hidden_dim` is odd or not a multiple of `num_heads`.

    Examples:
        >>> encoder = TransformerEncoder(hidden_dim=16, num_layers=2, num_heads=2)
        >>> tuple(encoder(np.zeros((1, 5, 148)), np.ones((1, 5), bool)).shape)
        (1, 5, 16)
    """

    def __init__(
        self,
        hidden_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        feedforward_dim: int = 128,
        dropout: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if hidden_dim % 2:
            raise ValueError(f"positions need an even hidden_dim, not {hidden_dim}")
        policy = self.dtype_policy

        # === Layers ===
        self.projection = seeded_dense(hidden_dim, seed, "projection", policy)
        self.input_dropout = keras.layers.Dropout(
            dropout, seed=derive_seed(seed, "input dropout"), dtype=policy
        )
        self.blocks = [
            TransformerBlock(
                hidden_dim,
                num_heads,
                feedforward_dim,
                dropout,
                seed=derive_seed(seed, "block", index),
                dtype=policy,
                name=f"block_{index}",
            )
            for index in range(num_layers)
        ]
        self.output_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype="float32", name="output_norm"
        )

        # === Config ===
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.feedforward_dim = feedforward_dim
        self.dropout = dropout

    def build(self, frames_shape, padding_mask_shape=None):
        hidden_shape = (None, None, self.hidden_dim)
        self.projection.build((None, None, frames_shape[-1]))
        for layer in (*self.blocks, self.output_norm):
            layer.build(hidden_shape)

    def call(self, frames, padding_mask, training=False):
        batch, steps, width = ops.shape(frames)
        # Flat: see `MaskedSelfAttention`.
        x = self.projection(ops.reshape(frames, (-1, width)))
        x = add_positions(ops.reshape(x, (batch, steps, self.hidden_dim)))
        x = self.input_dropout(x, training=training)
        for block in self.blocks:
            x = block(x, padding_mask, training=training)
        x = normalize(ops.cast(x, "float32"), self.output_norm, training)
        return ops.where(padding_mask[:, :, None], x, 0.0)

    @property
    def stages(self) -> list[list[keras.layers.Layer]]:
        """Layers with weights, from the input to the output, one list per depth."""
        stages = [[self.projection], *([block] for block in self.blocks)]
        stages[-1].append(self.output_norm)
        return stages


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TransformerBlock(keras.layers.Layer):
    """Pre-norm block: self-attention, then a feed-forward network (Xiong et al., ICML 2020)."""

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
        self.expand = seeded_dense(feedforward_dim, seed, "expand", policy)
        self.contract = seeded_dense(hidden_dim, seed, "contract", policy)
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


def add_positions(inputs, max_wavelength: float = 1000.0):
    """Adds waves of the position to [B, T, D], D even, for any T (Vaswani et al., NeurIPS 2017)."""
    positions = ops.arange(ops.shape(inputs)[1], dtype="int32")[None, :]
    half = inputs.shape[-1] // 2
    exponent = ops.arange(half, dtype="float32") * (-math.log(max_wavelength) / half)
    # float32: half precision cannot tell position 2048 from 2049.
    angles = ops.cast(positions, "float32")[:, :, None] * ops.exp(exponent)
    waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    return inputs + ops.cast(waves, inputs.dtype)
