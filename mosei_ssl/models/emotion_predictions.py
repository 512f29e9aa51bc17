"""From level distributions to the answers each metric asks for."""

from keras import ops


def emotion_predictions(logits) -> dict:
    """Reads predictions off the distributions over intensity levels.

    Args:
        logits: float [B, E, L]. Logits over levels 0 .. L - 1.

    Returns:
        Dict of [B, E] tensors: `intensity` float32, the median, best in mean absolute error;
        `class` int32, the mode, best in accuracy; `present` float32, the probability of any
        intensity above level 0; `expected` float32, the mean.

    Example:
        >>> emotion_predictions(np.log([[[0.3, 0.1, 0.4, 0.2]]]))["intensity"]
        array([[2.]], dtype=float32)
    """
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    levels = ops.arange(probabilities.shape[-1], dtype="float32")
    # Of an even split the lower level: rounding must not decide between the two.
    below_half = ops.cast(ops.cumsum(probabilities, axis=-1) < 0.5 - 1e-6, "float32")
    return {
        "intensity": ops.sum(below_half, axis=-1),
        "class": ops.cast(ops.argmax(probabilities, axis=-1), "int32"),
        "present": 1.0 - probabilities[..., 0],
        "expected": ops.sum(probabilities * levels, axis=-1),
    }
