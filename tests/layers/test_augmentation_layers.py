"""Crops and feature dropout."""

import keras
import numpy as np
import pytest

from mosei_ssl.layers import FeatureDropout, RandomCrop


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def counted(lengths, steps):
    """Sequences that count 1, 2, 3, ... so that a crop tells where it comes from."""
    mask = np.arange(steps) < np.asarray(lengths)[:, None]
    return np.where(mask, np.arange(1, steps + 1), 0)[:, :, None].astype("float32"), mask


def test_crops_are_runs_of_valid_timesteps_of_the_asked_length():
    inputs, mask = counted([40, 20, 1, 3], 40)
    crop = RandomCrop(0.5, 0.75, seed=1)
    starts = set()
    for _ in range(20):
        part, kept = map(to_numpy, crop(inputs, mask, training=True))
        counts = kept.sum(axis=1)
        assert 20 <= counts[0] <= 30
        assert 10 <= counts[1] <= 15
        assert counts[2] == 1
        for row, count, length in zip(part[:, :, 0], counts, [40, 20, 1, 3], strict=True):
            np.testing.assert_array_equal(np.diff(row[:count]), 1)
            assert row[0] >= 1
            assert row[count - 1] <= length
        assert (np.diff(kept.astype(int), axis=1) <= 0).all()
        starts.add(part[0, 0, 0])
    assert len(starts) > 5


def test_nothing_is_cropped_or_dropped_outside_training():
    inputs, mask = counted([10, 4], 10)
    part, kept = RandomCrop(0.5)(inputs, mask)
    np.testing.assert_array_equal(to_numpy(part), inputs)
    np.testing.assert_array_equal(to_numpy(kept), mask)
    np.testing.assert_array_equal(to_numpy(FeatureDropout(0.5)(inputs)), inputs)


def test_feature_dropout_takes_whole_columns_at_its_rate():
    kept = to_numpy(FeatureDropout(0.3, group_size=4, seed=2)(np.ones((500, 3, 74)), training=True))
    assert set(np.unique(kept)) == {0.0, 1.0}
    np.testing.assert_array_equal(kept, np.broadcast_to(kept[:, :1], kept.shape))
    assert abs(kept.mean() - 0.7) < 0.02
    # Neighbours within a group fall together more often than across groups.
    fallen = kept[:, 0] == 0
    assert (fallen[:, 0] & fallen[:, 1]).mean() > 1.5 * (fallen[:, 0] & fallen[:, 5]).mean()


@pytest.mark.parametrize("shares", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1)])
def test_crop_shares_out_of_range_are_refused(shares):
    with pytest.raises(ValueError, match="crop"):
        RandomCrop(*shares)


def test_feature_dropout_out_of_range_is_refused():
    with pytest.raises(ValueError, match="dropout"):
        FeatureDropout(1.0)
    with pytest.raises(ValueError, match="group"):
        FeatureDropout(0.1, group_size=0)
