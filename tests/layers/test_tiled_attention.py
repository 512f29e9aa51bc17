"""Attention in tiles, or fused by the backend, gives what plain attention gives."""

import keras
import numpy as np
import pytest
from keras import ops

from mosei_ssl.layers import MaskedSelfAttention
from mosei_ssl.layers.tiled_attention import tiled_attention


def gradients(function, inputs):
    """Value and gradients of a scalar function of arrays, on this backend."""
    if keras.backend.backend() == "jax":
        import jax

        value, found = jax.value_and_grad(function, argnums=tuple(range(len(inputs))))(*inputs)
        return float(value), [np.asarray(g) for g in found]
    import tensorflow as tf

    tensors = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        for tensor in tensors:
            tape.watch(tensor)
        value = function(*tensors)
    return float(value), [g.numpy() for g in tape.gradient(value, tensors)]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_tiles_give_the_values_and_gradients_of_plain_attention():
    query, key, value, probe = (draw(6, 9, 4, seed=i) for i in range(4))
    masked = np.arange(9) >= np.array([9, 5, 1, 7, 8, 2])[:, None]
    bias = np.where(masked, -3e4, 0.0).astype("float32")[:, None, :]

    def plain(q, k, v):
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) + bias
        return ops.sum(ops.matmul(ops.softmax(scores, axis=-1), v) * probe)

    def tiled(q, k, v):
        return ops.sum(tiled_attention(q, k, v, ops.convert_to_tensor(bias)) * probe)

    expected, expected_gradients = gradients(plain, [query, key, value])
    found, found_gradients = gradients(tiled, [query, key, value])
    assert found == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # What is masked has no influence.
    assert (found_gradients[1][masked] == 0).all()


@pytest.mark.parametrize(("steps", "tiled_from"), [(12, 100), (12, 4), (300, 256)])
def test_attention_when_training_equals_attention_in_use(steps, tiled_from, monkeypatch):
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", tiled_from)
    layer = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1)
    x = draw(3, steps, 8)
    mask = np.arange(steps) < np.array([[steps], [steps // 2], [1]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x, mask, training=True)),
        ops.convert_to_numpy(layer(x, mask)),
        atol=1e-5,
    )


def test_half_precision_in_tiles_is_as_near_as_plain(monkeypatch):
    monkeypatch.setattr(MaskedSelfAttention, "TILED_FROM", 4)
    exact = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1)
    half = MaskedSelfAttention(hidden_dim=8, num_heads=2, seed=1, dtype="mixed_bfloat16")
    x, mask = draw(2, 30, 8), np.ones((2, 30), bool)
    expected = ops.convert_to_numpy(exact(x, mask))
    for training in (True, False):
        found = ops.convert_to_numpy(ops.cast(half(x, mask, training=training), "float32"))
        np.testing.assert_allclose(found, expected, atol=0.05)
