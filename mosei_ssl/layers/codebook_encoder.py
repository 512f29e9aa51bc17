"""Encoder that describes each timestep by its likeness to the entries of a codebook."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


@keras.saving.register_keras_serializable(package="mosei_ssl")
class CodebookEncoder(keras.layers.Layer):
    """Projects each timestep with its neighbours and compares it with a codebook.

    A state is, for every entry of the codebook, by how much the timestep is nearer to that entry
    than to the entries on average, or 0 if it is farther ("triangle" activation). Pooled over an
    utterance the states say which sounds it is made of: a soft bag of audio words.

    One convolution and one matrix product, always in float32: distances are inaccurate in less.

    Args:
        hidden_dim: int. Entries of the codebook, the width of the states.
        code_dim: int. Width of the space in which timesteps and entries are compared.
        context: int, odd. Timesteps that are looked at together.
        seed: int. Seed of the initial weights.

    Call arguments:
        frames: float [B, T, F].
        padding_mask: bool [B, T]. True for real timesteps. Neighbours beyond count as zeros.
        training: ignored; every encoder takes it.

    Returns:
        float32 [B, T, hidden_dim], zero at padding.

    Raises:
        ValueError: If `context` is not odd or `code_dim` not positive.

    Examples:
        >>> encoder = CodebookEncoder(hidden_dim=16, code_dim=4)
        >>> tuple(encoder(np.zeros((1, 5, 148)), np.ones((1, 5), bool)).shape)
        (1, 5, 16)

    References:
        Coates, Lee and Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
        AISTATS 2011; Schmitt, Ringeval and Schuller, At the Border of Acoustics and Linguistics:
        Bag-of-Audio-Words for the Recognition of Emotions in Speech, Interspeech 2016.
    """

    def __init__(
        self, hidden_dim: int = 256, code_dim: int = 60, context: int = 5, seed: int = 0, **kwargs
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if context < 1 or context % 2 == 0:
            raise ValueError(f"context must be an odd number of timesteps, not {context}")
        if code_dim < 1:
            raise ValueError(f"code_dim must be at least 1, not {code_dim}")

        # === Layers ===
        # A convolution is the projection of each timestep with its neighbours.
        self.projection = keras.layers.Conv1D(
            code_dim,
            context,
            padding="same",
            kernel_initializer=keras.initializers.LecunNormal(derive_seed(seed, "projection")),
            dtype="float32",
            name="projection",
        )
        # Its kernel holds one entry per column.
        self.codebook = keras.layers.Dense(
            hidden_dim,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=1.0, seed=derive_seed(seed, "codebook")
            ),
            dtype="float32",
            name="codebook",
        )

        # === Config ===
        self.hidden_dim = hidden_dim
        self.code_dim = code_dim
        self.context = context

    def build(self, frames_shape, padding_mask_shape=None):
        self.projection.build((None, None, frames_shape[-1]))
        self.codebook.build((None, None, self.code_dim))

    def call(self, frames, padding_mask, training=False):
        distance = ops.sqrt(self.squared_distances(self.project(frames, padding_mask)) + 1e-6)
        states = ops.relu(ops.mean(distance, axis=-1, keepdims=True) - distance)
        return ops.where(padding_mask[:, :, None], states, 0.0)

    def project(self, frames, padding_mask):
        """Timesteps in the space of the codebook, float32 [B, T, code_dim]."""
        frames = ops.where(padding_mask[:, :, None], ops.cast(frames, "float32"), 0.0)
        if keras.backend.backend() != "numpy":
            return self.projection(frames)
        # Keras has JAX convolve there, which need not be installed.
        steps, side = frames.shape[1], self.context // 2
        frames = ops.pad(frames, [[0, 0], [side, side], [0, 0]])
        kernels = enumerate(self.projection.kernel)
        parts = (ops.matmul(frames[:, at : at + steps], kernel) for at, kernel in kernels)
        return sum(parts) + self.projection.bias

    def squared_distances(self, projected):
        """Squared distances of float32 [..., code_dim] to all entries, [..., hidden_dim]."""
        square = ops.sum(ops.square(projected), axis=-1, keepdims=True)
        entries = ops.sum(ops.square(self.codebook.kernel), axis=0)
        product = self.codebook(projected)
        return ops.maximum(square - 2.0 * product + entries, 0.0)

    @property
    def stages(self) -> list[list[keras.layers.Layer]]:
        """Layers with weights, from the input to the output, one list per depth."""
        return [[self.projection], [self.codebook]]
