"""Bidirectional GRU backbone."""

from collections.abc import Sequence

import keras

from mosei_ssl.layers.gru_encoder import GRUEncoder
from mosei_ssl.models.backbone import Backbone


@keras.saving.register_keras_serializable(package="mosei_ssl")
class GRUBackbone(Backbone):
    """Frontend and bidirectional GRU encoder; see `Backbone` for inputs and outputs.

    Args:
        mean: [F] floats. Column means of the training split.
        std: [F] floats. Column standard deviations of the training split.
        hidden_dim: int. Width of the encoder, half of it for each direction.
        num_layers: int. Bidirectional layers.
        dropout: float in [0, 1).
        pooling_factor: int. Frames (at 100 Hz) per timestep.
        epsilon: float. Smallest standard deviation divided by.
        clip: float. Largest absolute standardised value.
        seed: int. Seed of initial weights and dropout.

    Example:
        >>> backbone = GRUBackbone(mean=[0.0] * 74, std=[1.0] * 74)
        >>> x = {"features": np.zeros((2, 95, 74)), "padding_mask": np.ones((2, 95), bool)}
        >>> backbone(x)["sequence"].shape
        (2, 10, 64)
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        hidden_dim: int = 64,
        num_layers: int = 2,
        dropout: float = 0.1,
        pooling_factor: int = 10,
        epsilon: float = 1e-3,
        clip: float = 8.0,
        seed: int = 0,
        dtype=None,
        **kwargs,
    ):
        encoder = GRUEncoder(
            hidden_dim, num_layers, dropout, seed=seed, dtype=dtype, name="encoder"
        )
        super().__init__(encoder, mean, std, pooling_factor, epsilon, clip, dtype=dtype, **kwargs)
        self.seed = seed

    def get_config(self):
        config = super().get_config()
        config.update(
            hidden_dim=self.encoder.hidden_dim,
            num_layers=self.encoder.num_layers,
            dropout=self.encoder.dropout,
            seed=self.seed,
        )
        return config
