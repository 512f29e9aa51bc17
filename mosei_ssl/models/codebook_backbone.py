"""Codebook backbone."""

from collections.abc import Sequence

import keras

from mosei_ssl.layers.codebook_encoder import CodebookEncoder
from mosei_ssl.models.backbone import Backbone


@keras.saving.register_keras_serializable(package="mosei_ssl")
class CodebookBackbone(Backbone):
    """Frontend and codebook encoder; see `Backbone` for inputs and outputs.

    Args:
        mean: [F] floats. Column means of the training split.
        std: [F] floats. Column standard deviations of the training split.
        hidden_dim: int. Entries of the codebook.
        code_dim: int. Width of the space in which timesteps and entries are compared.
        context: int, odd. Timesteps that are looked at together.
        pooling_factor: int. Frames (at 100 Hz) per timestep.
        seed: int. Seed of initial weights.

    Examples:
        >>> backbone = CodebookBackbone(mean=[0.0] * 74, std=[1.0] * 74)
        >>> x = {"features": np.zeros((2, 95, 74)), "padding_mask": np.ones((2, 95), bool)}
        >>> tuple(backbone(x)["sequence"].shape)
        (2, 10, 256)
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        hidden_dim: int = 256,
        code_dim: int = 60,
        context: int = 5,
        pooling_factor: int = 10,
        seed: int = 0,
        **kwargs,
    ):
        encoder = CodebookEncoder(hidden_dim, code_dim, context, seed=seed, name="encoder")
        super().__init__(encoder, mean, std, pooling_factor, **kwargs)

    @property
    def learned_variables(self) -> list[keras.Variable]:
        """What pretraining hands on: projection, codebook and summary matrix.

        The projection too, which pretraining sets without gradients.
        """
        return [*self.encoder.weights, self.summary_statistics.scale_matrix]
