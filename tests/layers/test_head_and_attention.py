"""Distribution head, attention, positions and seeds."""

import keras
import numpy as np
import pytest

from mosei_ssl.layers import DistributionHead, derive_seed
from mosei_ssl.layers.masked_self_attention import MaskedSelfAttention
from mosei_ssl.layers.transformer_encoder import add_positions


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_ordinal_head_is_a_continuation_ratio_model():
    head = DistributionHead(num_emotions=1, num_levels=3)
    head.build((None, 1))
    head.dense.kernel.assign(np.zeros((1, 2)))
    head.dense.bias.assign(np.log([0.3 / 0.7, 0.2 / 0.8]))
    logits = to_numpy(head(np.zeros((1, 1), "float32")))
    # Present with 0.3; beyond level 1, if present, with 0.2.
    np.testing.assert_allclose(softmax(logits), [[[0.7, 0.3 * 0.8, 0.3 * 0.2]]], rtol=1e-5)


def test_prior_is_what_the_head_answers_to_nothing():
    head = DistributionHead(num_emotions=2)
    head.build((None, 5))
    prior = np.array([[0.7, 0.1, 0.15, 0.05], [0.97, 0.01, 0.01, 0.01]])
    head.set_prior(prior)
    answer = softmax(to_numpy(head(np.zeros((1, 5), "float32"))))
    np.testing.assert_allclose(answer, prior[None], rtol=1e-4)


def test_the_penalty_is_the_distance_from_where_the_head_is_pulled():
    other, head = (DistributionHead(2, 2, weight_penalty=0.5, seed=seed) for seed in (1, 2))
    for layer in (other, head):
        layer.build((None, 3))
    np.testing.assert_allclose(
        sum(head.losses), 0.5 * np.sum(to_numpy(head.dense.kernel) ** 2), rtol=1e-5
    )
    other.dense.kernel.assign(np.arange(6.0).reshape(3, 2))
    head.pull_to(other, 0.5)
    np.testing.assert_allclose(head.dense.kernel, np.arange(6.0).reshape(3, 2) / 2)
    assert float(sum(head.losses)) == 0
    head.dense.kernel.assign(head.dense.kernel + 2.0)
    np.testing.assert_allclose(sum(head.losses), 0.5 * 6 * 2**2)


def test_head_gives_finite_float32_logits_for_extreme_inputs():
    head = DistributionHead(seed=1)
    logits = to_numpy(head(np.full((2, 8), 1e6, "float32")))
    assert logits.shape == (2, 6, 4)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_attention_by_hand():
    layer = MaskedSelfAttention(hidden_dim=2, num_heads=1)
    layer.build((None, None, 2))
    for dense in (layer.query, layer.key, layer.value, layer.output_projection):
        dense.kernel.assign(np.eye(2))
    x = np.array([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]], "float32")
    result = to_numpy(layer(x, np.array([[True, True, False]])))
    high = np.exp(2**-0.5) / (np.exp(2**-0.5) + 1)
    np.testing.assert_allclose(result[0, 0], [high, 1 - high], rtol=1e-5)


def test_attention_starts_from_three_different_kernels():
    layer = MaskedSelfAttention(hidden_dim=4, num_heads=2, seed=7)
    layer.build((None, None, 4))
    query, key, value = (to_numpy(d.kernel) for d in (layer.query, layer.key, layer.value))
    assert (query != key).any()
    assert (key != value).any()
    assert (query != value).any()


def test_attention_without_anything_to_attend_to_is_finite():
    layer = MaskedSelfAttention(hidden_dim=4, num_heads=2)
    assert np.isfinite(to_numpy(layer(np.ones((1, 3, 4)), np.zeros((1, 3), bool)))).all()


def test_width_must_divide_into_heads():
    with pytest.raises(ValueError, match="multiple"):
        MaskedSelfAttention(hidden_dim=10, num_heads=4)


def test_positions_by_hand():
    zeros = np.zeros((1, 3, 4), "float32")
    result = to_numpy(add_positions(zeros, max_wavelength=100.0))
    np.testing.assert_allclose(
        result[0, 2], [np.sin(2), np.sin(0.2), np.cos(2), np.cos(0.2)], rtol=1e-5
    )


def test_derived_seeds_are_fixed_distinct_and_in_range():
    assert derive_seed(0, "encoder", 1) == derive_seed(0, "encoder", 1)
    seeds = {derive_seed(s, name, i) for s in range(5) for name in "ab" for i in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**31 for seed in seeds)
