"""Transformer backbone."""

from collections.abc import Sequence

import keras

from mosei_ssl.layers.transformer_encoder import TransformerEncoder
from mosei_ssl.models.backbone import Backbone


@keras.saving.register_keras_serializable(package="mosei_ssl")
class TransformerBackbone(Backbone):
    """Frontend and transformer encoder; see `Backbone` for inputs and outputs.

    Args:
        mean: [F] floats. Column means of the training split.
        std: [F] floats. Column standard deviations of the training split.
        hidden_dim: int. Width of the encoder.
        num_layers: int. Transformer blocks.
        num_heads: int. Attention heads per block.
        feedforward_dim: int. Width inside the feed-forward networks.
        dropout: float in [0, 1).
        pooling_factor: int. Frames (at 100 Hz) per timestep.
        seed: int. Seed of initial weights and dropout.

    Examples:
        >>> backbone = TransformerBackbone(mean=[0.0] * 74, std=[1.0] * 74)
        >>> x = {"features": np.zeros((2, 95, 74)), "padding_mask": np.ones((2, 95), bool)}
        >>> tuple(backbone(x)["sequence"].shape)
        (2, 10, 64)
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        hidden_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        feedforward_dim: int = 128,
        dropout: float = 0.1,
        pooling_factor: int = 10,
        seed: int = 0,
        dtype=None,
        **kwargs,
    ):
        encoder = TransformerEncoder(
            hidden_dim,
            num_layers,
            num_heads,
            feedforward_dim,
            dropout,
            seed=seed,
            dtype=keras.dtype_policies.get(dtype).name,
            name="encoder",
        )
        super().__init__(encoder, mean, std, pooling_factor, dtype=dtype, **kwargs)
