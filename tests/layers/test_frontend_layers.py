"""Cleaning, standardisation, pooling in time and over time."""

import keras
import numpy as np
import pytest

from mosei_ssl.layers import (
    FeatureStandardization,
    MaskedStatisticsPooling,
    TemporalPooling,
)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_standardisation_by_hand():
    layer = FeatureStandardization(mean=[100.0, 2.0], std=[50.0, 0.5])
    rows = np.array([[150.0, 1.0], [25.0, 2.0]], "float32")
    np.testing.assert_allclose(to_numpy(layer(rows)), [[1.0, -2.0], [-1.5, 0.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_becomes_the_mean(bad):
    layer = FeatureStandardization(mean=[100.0, 2.0], std=[50.0, 0.5])
    result = to_numpy(layer(np.array([[bad, 1.0]], "float32")))
    np.testing.assert_allclose(result, [[0.0, -2.0]])


def test_nearly_constant_columns_and_outliers_stay_bounded():
    layer = FeatureStandardization(mean=[1.0, 0.0], std=[0.0, 1.0], epsilon=0.01, clip=5.0)
    result = to_numpy(layer(np.array([[1.02, 3.0e38]], "float32")))
    np.testing.assert_allclose(result, [[2.0, 5.0]], rtol=1e-4)


@pytest.mark.parametrize(
    ("mean", "std"), [([0.0], [1.0, 1.0]), ([np.nan], [1.0]), ([0.0], [-1.0]), ([0.0], [np.inf])]
)
def test_unusable_statistics_are_refused(mean, std):
    with pytest.raises(ValueError, match=r"means|standard deviations"):
        FeatureStandardization(mean, std)


def test_pooling_by_hand_with_a_partial_last_window():
    frames = np.array([[[1.0], [3.0], [5.0], [9.0], [7.0]]], "float32")
    pooled, mask = TemporalPooling(2)(frames, np.ones((1, 5), bool))
    np.testing.assert_allclose(to_numpy(pooled), [[[2.0, 1.0], [7.0, 2.0], [7.0, 0.0]]], atol=1e-3)
    np.testing.assert_array_equal(to_numpy(mask), [[True, True, True]])


def test_pooling_leaves_padding_out_whatever_it_holds():
    frames = np.array([[[1.0], [3.0], [5.0], [np.nan], [1e9], [np.inf]]], "float32")
    pooled, mask = TemporalPooling(2)(frames, np.array([[True, True, True, False, False, False]]))
    np.testing.assert_allclose(to_numpy(pooled), [[[2.0, 1.0], [5.0, 0.0], [0.0, 0.0]]], atol=1e-3)
    np.testing.assert_array_equal(to_numpy(mask), [[True, True, False]])


def test_pooling_by_one_is_the_identity_on_frames():
    frames = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    pooled, mask = TemporalPooling(1)(frames, np.ones((2, 7), bool))
    np.testing.assert_array_equal(to_numpy(pooled), frames)
    assert to_numpy(mask).all()


@pytest.mark.parametrize("frames", [1, 9, 10, 11, 20])
def test_pooled_length_is_the_ceiling(frames):
    layer = TemporalPooling(10)
    pooled, mask = layer(np.ones((1, frames, 2), "float32"), np.ones((1, frames), bool))
    expected = -(-frames // 10)
    assert pooled.shape == (1, expected, 4)
    assert mask.shape == (1, expected)
    unknown = [keras.Input((None, 2)), keras.Input((None,), dtype="bool")]
    assert [tuple(x.shape) for x in layer(*unknown)] == [(None, None, 4), (None, None)]
    assert to_numpy(mask).all()


def test_pooling_factor_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        TemporalPooling(0)


def test_frames_stay_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        standardize, pool = FeatureStandardization([200.0], [1.0]), TemporalPooling(1)
    finally:
        keras.config.set_dtype_policy("float32")
    frames, _ = pool(standardize(np.array([[[200.5]]], "float32")), np.ones((1, 1), bool))
    # bfloat16 would round 200.5 to 200 or 201.
    np.testing.assert_allclose(to_numpy(frames), [[[0.5]]])


def test_statistics_pooling_by_hand():
    sequence = np.array([[[1.0], [3.0], [100.0]], [[4.0], [9.0], [9.0]]], "float32")
    mask = np.array([[True, True, False], [True, False, False]])
    result = to_numpy(MaskedStatisticsPooling()(sequence, mask))
    np.testing.assert_allclose(result, [[2.0, 1.0], [4.0, 0.0]], atol=1e-3)


def test_statistics_of_an_empty_sequence_are_zero():
    result = to_numpy(
        MaskedStatisticsPooling()(np.ones((1, 4, 2), "float32"), np.zeros((1, 4), bool))
    )
    np.testing.assert_array_equal(result, np.zeros((1, 4)))
