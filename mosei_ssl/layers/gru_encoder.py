"""Bidirectional GRU encoder over pooled timesteps."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class GRUEncoder(keras.layers.Layer):
    """Projects timesteps and applies bidirectional GRU layers.

    Padding stands at the end of a sequence, as everywhere in this package. The backward direction
    reads each sequence reversed within its own length, so that both directions meet padding last
    and no state of theirs has seen any; no mask is needed, and every backend may use its fastest
    kernel.

    Args:
        hidden_dim: int. Width of the encoder, even: half for each direction.
        num_layers: int. Bidirectional layers.
        dropout: float in [0, 1). Dropout in front of every layer.
        seed: int. Seed of initial weights and dropout.

    Call arguments:
        frames: float [B, T, F].
        padding_mask: bool [B, T]. True for real timesteps, which come first.
        positions: ignored; there for the sake of one interface. A GRU knows the order.
        training: bool.

    Returns:
        float32 [B, T, hidden_dim], zero at padding.

    Raises:
        ValueError: If `hidden_dim` is odd.

    Example:
        >>> encoder = GRUEncoder(hidden_dim=16, num_layers=1)
        >>> encoder(np.zeros((1, 5, 148)), np.ones((1, 5), bool)).shape
        (1, 5, 16)

    References:
        Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP 2014
        (https://arxiv.org/abs/1406.1078).
    """

    def __init__(
        self,
        hidden_dim: int = 64,
        num_layers: int = 2,
        dropout: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if hidden_dim % 2:
            raise ValueError(f"a bidirectional GRU needs an even width, not {hidden_dim}")
        policy = self.dtype_policy

        # === Layers ===
        def gru(index, direction):
            def initializer(kind, name):
                return kind(seed=derive_seed(seed, direction, index, name))

            return keras.layers.GRU(
                hidden_dim // 2,
                return_sequences=True,
                kernel_initializer=initializer(keras.initializers.GlorotUniform, "kernel"),
                recurrent_initializer=initializer(keras.initializers.Orthogonal, "recurrent"),
                dtype=policy,
                name=f"{direction}_{index}",
            )

        self.projection = keras.layers.Dense(
            hidden_dim,
            kernel_initializer=keras.initializers.GlorotUniform(derive_seed(seed, "projection")),
            dtype=policy,
            name="projection",
        )
        self.dropouts = [
            keras.layers.Dropout(dropout, seed=derive_seed(seed, "dropout", index), dtype=policy)
            for index in range(num_layers)
        ]
        self.forward_layers = [gru(index, "forward") for index in range(num_layers)]
        self.backward_layers = [gru(index, "backward") for index in range(num_layers)]
        self.output_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype="float32", name="output_norm"
        )

        # === Config ===
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.dropout = dropout
        self.seed = seed

    def build(self, frames_shape, padding_mask_shape=None, positions_shape=None):
        hidden_shape = (None, None, self.hidden_dim)
        self.projection.build((None, None, frames_shape[-1]))
        for layer in (*self.forward_layers, *self.backward_layers, self.output_norm):
            layer.build(hidden_shape)

    def call(self, frames, padding_mask, positions=None, training=False):
        steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
        lengths = ops.sum(ops.cast(padding_mask, "int32"), axis=1, keepdims=True)
        reverse = ops.where(steps < lengths, lengths - 1 - steps, steps)[:, :, None]
        x = self.projection(frames)
        for dropout, forward, backward in zip(
            self.dropouts, self.forward_layers, self.backward_layers, strict=True
        ):
            x = dropout(x, training=training)
            ahead = forward(x, training=training)
            behind = backward(ops.take_along_axis(x, reverse, axis=1), training=training)
            behind = ops.take_along_axis(behind, reverse, axis=1)
            x = ops.concatenate([ahead, behind], axis=-1)
        return ops.where(padding_mask[:, :, None], self.output_norm(x), 0.0)

    @property
    def stages(self) -> list[list[keras.layers.Layer]]:
        """Layers with weights, from the input to the output, one list per depth."""
        pairs = zip(self.forward_layers, self.backward_layers, strict=True)
        stages = [[self.projection], *([forward, backward] for forward, backward in pairs)]
        stages[-1].append(self.output_norm)
        return stages

    def compute_output_spec(self, frames, padding_mask, positions=None, training=False):
        return keras.KerasTensor((*frames.shape[:-1], self.hidden_dim), dtype="float32")

    def get_config(self):
        config = super().get_config()
        config.update(
            hidden_dim=self.hidden_dim,
            num_layers=self.num_layers,
            dropout=self.dropout,
            seed=self.seed,
        )
        return config
