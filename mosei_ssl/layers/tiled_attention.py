"""Attention that never holds the scores of more than one head."""

from keras import ops


def tiled_attention(query, key, value, bias):
    """Softmax attention, one head of one sequence after the other, for training on a CPU.

    The scores of a batch, float32 [B, heads, T, T], are the largest thing a transformer makes: at
    32 segments of 500 frames 128 MB in each layer, several times over, and what a step then waits
    for is memory. Those of one head fit into a core's cache. Going backward they are computed
    again instead of being kept, so memory grows with T, not with its square.

    Args:
        query: float [N, T, d], scaled. N counts heads of all sequences.
        key: float [N, T, d].
        value: float [N, T, d].
        bias: float32 [N, 1, T], added to the scores: 0, or very low where a key is masked.

    Returns:
        float [N, T, d]; the same numbers as without tiles, but for rounding.

    Example:
        >>> x = np.ones((2, 5, 4), "float32")
        >>> tiled_attention(x, x, x, np.zeros((2, 1, 5), "float32")).shape
        (2, 5, 4)

    References:
        Rabe and Staats, Self-attention Does Not Need O(n^2) Memory, 2021
        (https://arxiv.org/abs/2112.05682).
    """
    return _attend(query, key, value, bias)


def _weights(query, key, bias):
    """float32 [T, T], rows that sum to 1."""
    scores = ops.cast(ops.matmul(query, ops.swapaxes(key, -1, -2)), "float32")
    return ops.softmax(scores + bias, axis=-1)


def _forward(tile):
    query, key, value, bias = tile
    return ops.matmul(ops.cast(_weights(query, key, bias), value.dtype), value)


def _backward(tile):
    query, key, value, bias, output, gradient = tile
    weights = _weights(query, key, bias)
    value_gradient = ops.matmul(ops.swapaxes(ops.cast(weights, value.dtype), -1, -2), gradient)
    weights_gradient = ops.cast(ops.matmul(gradient, ops.swapaxes(value, -1, -2)), "float32")
    # The mean of the weights' gradients, by which a softmax's is corrected, without summing them.
    mean = ops.sum(ops.cast(output, "float32") * ops.cast(gradient, "float32"), -1, keepdims=True)
    scores_gradient = ops.cast(weights * (weights_gradient - mean), query.dtype)
    query_gradient = ops.matmul(scores_gradient, key)
    key_gradient = ops.matmul(ops.swapaxes(scores_gradient, -1, -2), query)
    return query_gradient, key_gradient, value_gradient


@ops.custom_gradient
def _attend(query, key, value, bias):
    output = ops.map(_forward, (query, key, value, bias))

    def gradients(*arguments, upstream=None):
        if upstream is None:
            (upstream,) = arguments
        upstream = ops.cast(upstream, output.dtype)
        tiles = (query, key, value, bias, output, upstream)
        return (*ops.map(_backward, tiles), ops.zeros_like(bias))

    return output, gradients
