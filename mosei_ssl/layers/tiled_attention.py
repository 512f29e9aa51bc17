"""Attention that never holds the scores of more than one head, for training on a CPU."""

from typing import Any

from mosei_ssl.layers.fused import fused_product_sum

_PARALLEL = 2
"""Sequences at a time; more would drive each other out of the cache."""


def tiled_attention(inputs: Any, kernel: Any, bias: Any, lengths: Any, num_heads: int) -> Any:
    """Softmax self-attention, one head of one sequence after the other, on TensorFlow.

    The scores of a batch, float32 [B, heads, T, T], are the largest thing a transformer makes: at
    32 segments of 500 frames 128 MB in each layer, several times over, and what a step then waits
    for is memory. Those of one head fit into a core's cache. Going backward they are computed
    again instead of being kept, so memory grows with T, not with its square. Each sequence is
    taken at its own length: nothing is computed for the padding at its end.

    In half precision scores and weights are rounded to it, as products round them anyway; the
    softmax itself is computed in float32 (in bfloat16 this is oneDNN's doing, without which
    TensorFlow rounds within it too).

    Args:
        inputs: float [B, T, D].
        kernel: float [D, 3 D], gives queries, already scaled, keys and values from inputs, each
            with the heads side by side.
        bias: float [3 D], likewise.
        lengths: int32 [B], real timesteps at the beginning of each sequence.
        num_heads: number of heads.

    Returns:
        float [B, T, D], zero after the end of a sequence.

    Example:
        >>> kernel, bias = tf.ones((8, 24)), tf.zeros(24)
        >>> tiled_attention(tf.ones((2, 5, 8)), kernel, bias, tf.constant([5, 3]), 2).shape
        TensorShape([2, 5, 8])

    References:
        Rabe and Staats, Self-attention Does Not Need O(n^2) Memory, 2021
        (https://arxiv.org/abs/2112.05682).
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
            parallel_iterations=_PARALLEL,
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
            means = fused_product_sum(tf.reshape(outputs, shape), tf.reshape(upstream, shape))

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
