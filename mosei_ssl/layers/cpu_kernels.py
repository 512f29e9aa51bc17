"""What makes a transformer train fast under TensorFlow on a CPU; other backends need none of it.

A default pretraining step (width 128, 3 layers, segments of 500 frames, pooling 1, one core of an
AMD EPYC) takes 1.58 times as many frames per second as plain PyTorch's `nn.TransformerEncoder` in
float32, and 1.83 times at each side's best precision.

* gelu and layer normalisation are a dozen small operations each forward and two dozen backward.
  TensorFlow reads and writes megabytes for every one, and bfloat16 is slower there than float32,
  so these functions, and nothing else of a step, are compiled by XLA with gradients in closed form.
* Attention computes one head of one sequence at a time, whose scores fit into a core's cache.
"""

import math
from typing import Any

import keras
from keras import ops

_SLOPE = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715
_PARALLEL_SEQUENCES = 2
"""More would drive each other out of the cache."""


def on_tensorflow_cpu() -> bool:
    """Whether operations run one by one under TensorFlow with no GPU in sight and outside XLA."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util  # no public name tells of XLA

    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return False
    return not tf.config.get_visible_devices("GPU")


def _compiled(function):
    """The function as one XLA program on TensorFlow, once for each shape; JAX compiles the step."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


# Where the function is not used, Keras's NumPy warns that it has no gradients.
_with_gradient = (lambda f: f) if keras.backend.backend() == "numpy" else ops.custom_gradient


# === gelu ===


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


@_with_gradient
def _fused_gelu(inputs):
    def gradient(upstream):
        return _gelu_gradient(inputs, upstream)

    return _gelu(inputs), gradient


def gelu(inputs, training: bool):
    """The tanh form of gelu (https://arxiv.org/abs/1606.08415), fused for training on a CPU."""
    if training and on_tensorflow_cpu():
        return _fused_gelu(ops.convert_to_tensor(inputs))
    # The exact form has no counterpart in some export formats.
    return ops.gelu(inputs, approximate=True)


# === Layer normalisation ===


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


@_with_gradient
def _layer_normalization(inputs, gamma, beta, epsilon):
    def gradient(upstream):
        return (*_normalize_gradient(inputs, gamma, epsilon, upstream), None)

    return _normalize(inputs, gamma, beta, epsilon), gradient


def normalize(inputs, layer: keras.layers.LayerNormalization, training: bool):
    """Layer normalisation of [B, T, D], fused for training on a CPU: one program for each B * T."""
    if not (training and on_tensorflow_cpu()) or layer.compute_dtype == "float64":
        return layer(inputs)
    # Flat: sums over one axis fuse better than over two.
    normalized = _layer_normalization(
        ops.cast(ops.reshape(inputs, (-1, inputs.shape[-1])), layer.compute_dtype),
        # Tensors: a function with a custom gradient must not hold variables.
        ops.cast(ops.reshape(layer.gamma, (-1,)), "float32"),
        ops.cast(ops.reshape(layer.beta, (-1,)), "float32"),
        ops.convert_to_tensor(layer.epsilon, "float32"),
    )
    return ops.reshape(normalized, ops.shape(inputs))


# === Attention ===


@_compiled
def _product_sum(left, right):
    """Sum of products over the last axis, in float32."""
    return ops.sum(ops.cast(left, "float32") * ops.cast(right, "float32"), axis=-1)


def tiled_attention(inputs: Any, kernel: Any, bias: Any, lengths: Any, num_heads: int) -> Any:
    """Softmax self-attention that never holds the scores of more than one head, on TensorFlow.

    The scores of a batch (128 MB in each layer for 32 segments of 500 frames) make a step wait for
    memory; those of one head fit into a core's cache. Going backward they are computed again, so
    memory grows with T, not with its square, and nothing is computed for the padding at the end.
    In half precision scores and weights are rounded to it, as products round them anyway.

    Takes `inputs` [B, T, D]; `kernel` [D, 3 D] and `bias` [3 D] of scaled queries, keys and values,
    heads side by side; `lengths` int32 [B]. Gives [B, T, D], zero at padding. After Rabe and
    Staats, Self-attention Does Not Need O(n^2) Memory, 2021 (https://arxiv.org/abs/2112.05682).
    """
    import tensorflow as tf

    dtype, width = inputs.dtype, inputs.shape[-1]
    batch, steps = tf.unstack(tf.shape(inputs)[:2])
    # Flat: a product of three dimensions costs a dozen small operations around it.
    projected = tf.nn.bias_add(tf.matmul(tf.reshape(inputs, [-1, width]), kernel), bias)
    projected = tf.reshape(projected, [batch, steps, 3 * width])

    def each_sequence(tile, columns):
        """Stacks what `tile` gives for each sequence, [length, columns], with zeros below."""

        def padded(number):
            found = tile(number, lengths[number])
            return tf.pad(found, [[0, steps - lengths[number]], [0, 0]])

        return tf.map_fn(
            padded,
            tf.range(batch),
            fn_output_signature=tf.TensorSpec([None, columns], dtype),
            parallel_iterations=_PARALLEL_SEQUENCES,
        )

    def weights(query, key):
        """[length, length], rows that sum to 1."""
        scores = tf.matmul(query, key, transpose_b=True)
        if dtype == tf.float16:  # its range is too small, and its softmax slow
            return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), dtype)
        return tf.nn.softmax(scores)

    @tf.custom_gradient
    def attend(projected):
        def forward(number, length):
            heads = _heads(projected[number, :length], num_heads)
            return tf.concat([tf.matmul(weights(q, k), v) for q, k, v in heads], axis=1)

        outputs = each_sequence(forward, width)

        def gradient(upstream):
            # A softmax's gradient is corrected by the mean of its weights' gradients.
            shape = [batch, steps, num_heads, width // num_heads]
            means = _product_sum(tf.reshape(outputs, shape), tf.reshape(upstream, shape))

            def backward(number, length):
                heads = _heads(projected[number, :length], num_heads)
                above = tf.split(upstream[number, :length], num_heads, axis=1)
                mean = tf.split(means[number, :length], num_heads, axis=1)
                parts = zip(heads, above, mean, strict=True)
                gradients = [head_gradient(*head, g, m) for head, g, m in parts]
                # Queries' gradients of all heads, then keys', then values'.
                return tf.concat(
                    [part for kind in zip(*gradients, strict=True) for part in kind], axis=1
                )

            return each_sequence(backward, 3 * width)

        def head_gradient(query, key, value, above, mean):
            attended = weights(query, key)
            value_gradient = tf.matmul(attended, above, transpose_a=True)
            # The mean is taken off by more columns of the product, not by another pass over the
            # scores: by two of them in half precision, where one would be rounded.
            columns = [tf.cast(-mean, dtype)]
            if dtype != tf.float32:
                columns.append(tf.cast(-mean - tf.cast(columns[0], tf.float32), dtype))
            ones = tf.ones_like(value[:, : len(columns)])
            above, value = tf.concat([above, *columns], 1), tf.concat([value, ones], 1)
            scores_gradient = attended * tf.matmul(above, value, transpose_b=True)
            query_gradient = tf.matmul(scores_gradient, key)
            key_gradient = tf.matmul(scores_gradient, query, transpose_a=True)
            return query_gradient, key_gradient, value_gradient

        return outputs, gradient

    return attend(projected)


def _heads(projected: Any, num_heads: int) -> list[tuple]:
    """[L, 3 D] -> query, key and value [L, D / heads] of each head."""
    import tensorflow as tf

    shape = [-1, 3 * num_heads, projected.shape[-1] // (3 * num_heads)]
    parts = tf.unstack(tf.transpose(tf.reshape(projected, shape), [1, 0, 2]))
    return [tuple(parts[kind * num_heads + head] for kind in range(3)) for head in range(num_heads)]
