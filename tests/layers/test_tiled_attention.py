"""Attention in tiles, or fused by the backend, gives what plain attention gives."""

import numpy as np
import pytest
from keras import ops

from mosei_ssl.layers.cpu_kernels import on_tensorflow_cpu
from mosei_ssl.layers.masked_self_attention import MaskedSelfAttention

TILES = pytest.mark.skipif(not on_tensorflow_cpu(), reason="tiles are for TensorFlow on a CPU")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def plain(inputs, kernel, bias, lengths, num_heads):
    """Attention written from its definition, in float64, head by head; padding gives zeros."""
    inputs, kernel, bias = (np.asarray(x, "float64") for x in (inputs, kernel, bias))
    outputs = np.zeros_like(inputs)
    width = inputs.shape[-1]
    for row, length in enumerate(lengths):
        projected = inputs[row, :length] @ kernel + bias
        for head in np.split(np.arange(width), num_heads):
            query, key, value = (projected[:, head + width * kind] for kind in range(3))
            weights = np.exp(query @ key.T)
            outputs[row, :length, head] = (weights / weights.sum(1, keepdims=True) @ value).T
    return outputs


@TILES
@pytest.mark.parametrize(
    ("dtype", "near"), [("float32", 1e-5), ("float16", 0.004), ("bfloat16", 0.03)]
)
def test_tiles_give_values_and_gradients_of_the_definition(dtype, near):
    import tensorflow as tf

    from mosei_ssl.layers.cpu_kernels import tiled_attention

    lengths = [9, 5, 1, 0]
    arrays = {"inputs": draw(4, 9, 8), "kernel": 0.3 * draw(8, 24, seed=1), "bias": 0.1 * draw(24)}
    probe = draw(4, 9, 8, seed=2)
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        halved = {name: tf.cast(tensor, dtype) for name, tensor in tensors.items()}
        found = tf.cast(
            tiled_attention(**halved, lengths=tf.constant(lengths), num_heads=2), tf.float32
        )
        total = tf.reduce_sum(found * probe)
    gradients = tape.gradient(total, tensors)
    np.testing.assert_allclose(found, plain(**arrays, lengths=lengths, num_heads=2), atol=near)

    # Gradients by differences, a few of each array.
    step = 1e-4
    for name, array in arrays.items():
        places = np.random.default_rng(3).choice(array.size, 12, replace=False)
        for place in places:
            sides = []
            for sign in (1, -1):
                moved = {n: a.astype("float64") for n, a in arrays.items()}
                moved[name].reshape(-1)[place] += sign * step
                sides.append((plain(**moved, lengths=lengths, num_heads=2) * probe).sum())
            expected = (sides[0] - sides[1]) / (2 * step)
            measured = gradients[name].numpy().reshape(-1)[place]
            assert measured == pytest.approx(expected, rel=10 * near, abs=10 * near)
    # What is padding has no influence.
    padding = np.arange(9) >= np.array(lengths)[:, None]
    assert (gradients["inputs"].numpy()[padding] == 0).all()


@pytest.mark.parametrize(("steps", "tiled_from"), [(12, 100), (12, 4), (300, 256)])
def test_attention_when_training_equals_attention_in_use(steps, tiled_from, monkeypatch):
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", tiled_from)
    layer = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1)
    x = draw(3, steps, 8)
    mask = np.arange(steps) < np.array([[steps], [steps // 2], [1]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x, mask, training=True))[mask],
        ops.convert_to_numpy(layer(x, mask))[mask],
        atol=1e-5,
    )


def test_holes_in_the_mask_are_respected_when_training(monkeypatch):
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", 4)
    layer = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1)
    mask = np.ones((2, 12), bool)
    mask[0, 3:5] = False
    x = draw(2, 12, 8)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x, mask, training=True)),
        ops.convert_to_numpy(layer(x, mask)),
        atol=1e-5,
    )


@TILES
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("known", [True, False])
def test_gradients_of_a_graph_are_those_of_plain_attention(known, xla, monkeypatch):
    import tensorflow as tf

    layer = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1)
    x, probe = draw(2, 20, 8), draw(2, 20, 8, seed=1)
    mask = np.arange(20) < np.array([[20], [11]])

    def gradients(x):
        with tf.GradientTape() as tape:
            outputs = layer(x, tf.constant(mask), training=True)
            total = tf.reduce_sum(tf.where(mask[:, :, None], outputs * probe, 0.0))
        return tape.gradient(total, [v.value for v in layer.trainable_variables])

    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", 100)
    expected = gradients(tf.constant(x))
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", 4)
    signature = [tf.TensorSpec([2, 20 if known else None, 8])]
    compiled = tf.function(gradients, input_signature=signature, jit_compile=xla)
    for ours, theirs in zip(compiled(tf.constant(x)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_an_empty_batch_passes(monkeypatch):
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", 4)
    layer = MaskedSelfAttention(hidden_dim=8, num_heads=2)
    assert layer(draw(0, 12, 8), np.ones((0, 12), bool), training=True).shape == (0, 12, 8)


def test_half_precision_when_training_is_as_near_as_in_use(monkeypatch):
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", 4)
    exact = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1)
    half = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1, dtype="mixed_bfloat16")
    x, mask = draw(2, 30, 8), np.ones((2, 30), bool)
    expected = ops.convert_to_numpy(exact(x, mask))
    for training in (True, False):
        found = ops.convert_to_numpy(ops.cast(half(x, mask, training=training), "float32"))
        np.testing.assert_allclose(found, expected, atol=0.05)
