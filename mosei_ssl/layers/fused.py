"""Element-wise parts of a transformer in one pass over memory, with gradients in closed form.

gelu and layer normalisation are a dozen small operations each, forward, and two dozen backward.
JAX makes one loop of them; TensorFlow on a CPU reads and writes megabytes for every one, and
bfloat16 is slower there than float32. So these functions, and nothing else of a training step, are
compiled by XLA (the products are faster without: benchmarks/results/training.md).
"""

import math

import keras
from keras import ops

_SLOPE = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


def on_tensorflow_cpu() -> bool:
    """Whether models run op by op under TensorFlow with no GPU in sight, where these functions pay.

    Not where XLA compiles the whole step: it needs none of them, and cannot compile attention at
    each sequence's own length.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util  # no public name tells of XLA

    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return False
    return not tf.config.get_visible_devices("GPU")


def _compiled(function):
    """The function as one program, on TensorFlow; as it is under JAX, which compiles the step."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


@_compiled
def _gelu(inputs):
    x = ops.cast(inputs, "float32")
    tanh = ops.tanh(x * (_SLOPE + _SLOPE * _CUBIC * ops.square(x)))
    return ops.cast(0.5 * x * (1.0 + tanh), inputs.dtype)


@_compiled
def _gelu_gradient(inputs, upstream):
    x = ops.cast(inputs, "float32")
    square = ops.square(x)
    tanh = ops.tanh(x * (_SLOPE + _SLOPE * _CUBIC * square))
    slope = _SLOPE + 3.0 * _SLOPE * _CUBIC * square
    derivative = 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - ops.square(tanh)) * slope
    return ops.cast(derivative * ops.cast(upstream, "float32"), inputs.dtype)


@ops.custom_gradient
def _fused_gelu(inputs):
    def gradient(upstream):
        return _gelu_gradient(inputs, upstream)

    return _gelu(inputs), gradient


def gelu(inputs, training: bool):
    """The tanh form of gelu, by the backend or, for training on a CPU, fused and in float32.

    Fused, it is compiled once for every shape, see `normalize`.

    Args:
        inputs: float [...].
        training: bool.

    Returns:
        float [...], of the same type.

    Example:
        >>> gelu(np.zeros((2, 5), "float32"), training=True).shape
        (2, 5)

    References:
        Hendrycks and Gimpel, Gaussian Error Linear Units, 2016
        (https://arxiv.org/abs/1606.08415).
    """
    if training and on_tensorflow_cpu():
        return _fused_gelu(ops.convert_to_tensor(inputs))
    # The exact form has no counterpart in some export formats.
    return ops.gelu(inputs, approximate=True)


def _row_means(x):
    """[N, D] -> [N, 1]; as products, sums take half the time."""
    return ops.matmul(x, ops.full((x.shape[-1], 1), 1.0 / x.shape[-1], dtype="float32"))


def _column_sums(x):
    """[N, D] -> [D], likewise."""
    return ops.matmul(ops.ones((1, ops.shape(x)[0]), dtype="float32"), x)[0]


def _rows(inputs, epsilon):
    """Normalised rows, and what they were multiplied with, float32."""
    x = ops.cast(inputs, "float32")
    centered = x - _row_means(x)
    scale = ops.rsqrt(_row_means(ops.square(centered)) + epsilon)
    return centered * scale, scale


@_compiled
def _normalize(inputs, gamma, beta, epsilon):
    rows, _ = _rows(inputs, epsilon)
    return ops.cast(rows * gamma + beta, inputs.dtype)


@_compiled
def _normalize_gradient(inputs, gamma, epsilon, upstream):
    rows, scale = _rows(inputs, epsilon)
    upstream = ops.cast(upstream, "float32")
    scaled = upstream * gamma
    gradient = (scaled - _row_means(scaled) - rows * _row_means(scaled * rows)) * scale
    sums = _column_sums(upstream * rows), _column_sums(upstream)
    return ops.cast(gradient, inputs.dtype), *sums


@ops.custom_gradient
def _layer_normalization(inputs, gamma, beta, epsilon):
    def gradient(upstream):
        return (*_normalize_gradient(inputs, gamma, epsilon, upstream), None)

    return _normalize(inputs, gamma, beta, epsilon), gradient


def normalize(inputs, layer: keras.layers.LayerNormalization, training: bool):
    """What a layer normalisation gives, by the layer itself or, for training on a CPU, fused.

    Fused, it is compiled once for every number of timesteps B * T, which stays for the life of the
    process: bucketed batches have few.

    Args:
        inputs: float [B, T, D], no float64.
        layer: the built layer, over the last axis.
        training: bool.

    Returns:
        float [B, T, D], of the layer's compute type.

    Example:
        >>> layer = keras.layers.LayerNormalization()
        >>> layer.build((None, None, 4))
        >>> normalize(np.zeros((2, 5, 4), "float32"), layer, training=True).shape
        (2, 5, 4)

    References:
        Ba et al., Layer Normalization, 2016 (https://arxiv.org/abs/1607.06450).
    """
    if not (training and on_tensorflow_cpu()) or layer.compute_dtype == "float64":
        return layer(inputs)
    # Flat: sums over one axis fuse better than over two.
    normalized = _layer_normalization(
        ops.cast(ops.reshape(inputs, (-1, inputs.shape[-1])), layer.compute_dtype),
        # Tensors of their own: a function with a gradient of its own must not hold variables.
        ops.cast(ops.reshape(layer.gamma, (-1,)), "float32"),
        ops.cast(ops.reshape(layer.beta, (-1,)), "float32"),
        ops.convert_to_tensor(layer.epsilon, "float32"),
    )
    return ops.reshape(normalized, ops.shape(inputs))


@_compiled
def fused_product_sum(left, right):
    """Sum of products over the last axis, in float32.

    Args:
        left: float [..., D].
        right: float [..., D].

    Returns:
        float32 [...].

    Example:
        >>> fused_product_sum(np.ones((2, 3), "float32"), np.ones((2, 3), "float32"))
        array([3., 3.], dtype=float32)
    """
    return ops.sum(ops.cast(left, "float32") * ops.cast(right, "float32"), axis=-1)
