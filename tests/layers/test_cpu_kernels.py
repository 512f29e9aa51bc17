"""Fused gelu and layer normalisation give the values and gradients of their definitions."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from mosei_ssl.layers import cpu_kernels

ON_CPU = pytest.mark.skipif(
    not cpu_kernels.on_tensorflow_cpu(), reason="kernels are for TensorFlow on a CPU"
)


def value_and_gradients(function, *arrays):
    """Sum of a function's outputs times a probe, and its gradients, on this backend."""
    probe = np.random.default_rng(9).normal(size=arrays[0].shape).astype("float32")

    def total(*inputs):
        return ops.sum(ops.cast(function(*inputs), "float32") * probe)

    if keras.backend.backend() == "jax":
        import jax

        value, found = jax.value_and_grad(total, argnums=tuple(range(len(arrays))))(*arrays)
        return probe, float(value), [np.asarray(g, "float32") for g in found]
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = total(*tensors)
    gradients = tape.gradient(value, tensors)
    return probe, float(value), [tf.cast(g, tf.float32).numpy() for g in gradients]


def check(function, definition, arrays, near=1e-4):
    """Compares with the definition in float64, and with its gradients by differences."""
    probe, value, gradients = value_and_gradients(function, *arrays)
    exact = [array.astype("float64") for array in arrays]
    assert value == pytest.approx((definition(*exact) * probe).sum(), rel=near, abs=near)
    step = 1e-5
    for index, array in enumerate(exact):
        for place in range(0, array.size, max(1, array.size // 20)):
            sides = []
            for sign in (1, -1):
                moved = [a.copy() for a in exact]
                moved[index].reshape(-1)[place] += sign * step
                sides.append((definition(*moved) * probe).sum())
            expected = (sides[0] - sides[1]) / (2 * step)
            assert gradients[index].reshape(-1)[place] == pytest.approx(
                expected, rel=near, abs=near
            )


def draw(*shape, seed=0, scale=2.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def test_gelu():
    def definition(x):
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))

    check(lambda x: cpu_kernels.gelu(x, training=True), definition, [draw(7, 11)])


def test_layer_normalization():
    layer = keras.layers.LayerNormalization(epsilon=1e-3)
    layer.build((None, None, 6))

    def definition(x, gamma, beta):
        centered = x - x.mean(-1, keepdims=True)
        return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-3) * gamma + beta

    def function(x, gamma, beta):
        flat = ops.reshape(ops.convert_to_tensor(x), (-1, 6))
        epsilon = ops.convert_to_tensor(1e-3, "float32")
        return ops.reshape(cpu_kernels._layer_normalization(flat, gamma, beta, epsilon), (4, 5, 6))

    check(function, definition, [draw(4, 5, 6), draw(6, seed=1), draw(6, seed=2)])
    # Through the layer's own weights.
    layer.gamma.assign(draw(6, seed=1))
    layer.beta.assign(draw(6, seed=2))
    x = draw(4, 5, 6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(cpu_kernels.normalize(ops.convert_to_tensor(x), layer, training=True)),
        definition(x, draw(6, seed=1), draw(6, seed=2)),
        atol=1e-4,
    )


@ON_CPU
def test_half_precision_is_rounded_once():
    x = draw(50, 8)
    half = ops.cast(ops.convert_to_tensor(x), "bfloat16")
    exact = ops.convert_to_numpy(cpu_kernels.gelu(ops.cast(half, "float32"), training=True))
    found = cpu_kernels.gelu(half, training=True)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, exact, rtol=2**-8, atol=1e-6)


@ON_CPU
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float16", "float64"])
def test_gradients_through_layers_are_those_of_the_layers_themselves(policy):
    import tensorflow as tf

    layer = keras.layers.LayerNormalization(dtype=policy)
    layer.build((None, None, 6))
    layer.gamma.assign(draw(6, seed=1))
    x, probe = tf.constant(draw(4, 5, 6)), draw(4, 5, 6, seed=3)

    def gradients(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            inputs = tf.cast(x, layer.compute_dtype)
            found = cpu_kernels.gelu(cpu_kernels.normalize(inputs, layer, training), training)
            assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype
            total = tf.reduce_sum(tf.cast(found, tf.float32) * probe)
        sources = [x, layer.gamma.value, layer.beta.value]
        return [tf.cast(g, tf.float32).numpy() for g in tape.gradient(total, sources)]

    near = {"float16": 0.02, "float64": 1e-5, "float32": 1e-5}.get(policy, 0.15)
    for ours, theirs in zip(gradients(True), gradients(False), strict=True):
        assert abs(theirs).max() > 0.5
        np.testing.assert_allclose(ours, theirs, atol=near)


def test_products_are_summed_in_float32():
    left, right = draw(3, 4, 5), draw(3, 4, 5, seed=1)
    found = cpu_kernels._product_sum(ops.convert_to_tensor(left), ops.convert_to_tensor(right))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), (left.astype("float64") * right).sum(-1), rtol=1e-5, atol=1e-5
    )
