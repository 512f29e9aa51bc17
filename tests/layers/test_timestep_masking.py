"""Which timesteps are hidden, and what replaces them."""

import keras
import numpy as np
import pytest

from mosei_ssl.layers import TimestepMasking


def padding_mask(lengths, steps):
    return np.arange(steps) < np.asarray(lengths)[:, None]


def draw(layer, mask, training=True):
    return keras.ops.convert_to_numpy(layer.draw(keras.ops.convert_to_tensor(mask), training))


def test_hidden_timesteps_become_the_token_and_others_stay():
    layer = TimestepMasking(ratio=0.4, span=3, seed=1)
    inputs = np.random.default_rng(0).normal(size=(4, 30, 5)).astype("float32")
    seen, hidden = layer(inputs, padding_mask([30, 30, 12, 2], 30), training=True)
    seen, hidden = map(keras.ops.convert_to_numpy, (seen, hidden))
    np.testing.assert_array_equal(seen[~hidden], inputs[~hidden])
    token = keras.ops.convert_to_numpy(layer.token)
    np.testing.assert_allclose(seen[hidden], np.broadcast_to(token, seen[hidden].shape))
    assert layer.token.trainable


@pytest.mark.parametrize("span", [1, 4, 50])
@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.95])
def test_padding_never_hidden_and_each_sequence_part_hidden(ratio, span):
    lengths = [1, 2, 3, 20, 7]
    mask = padding_mask(lengths, 20)
    layer = TimestepMasking(ratio, span, seed=3)
    for _ in range(5):
        hidden = draw(layer, mask)
        assert not (hidden & ~mask).any()
        assert hidden.any(axis=1).all()
        # A sequence of two or more keeps something to reconstruct from.
        assert (mask & ~hidden).any(axis=1)[1:].all()


def test_ratio_is_met_on_average():
    mask = np.ones((200, 200), bool)
    for span in (1, 5):
        share = draw(TimestepMasking(0.3, span, seed=0), mask).mean()
        assert abs(share - 0.3) < 0.02


def test_hidden_timesteps_form_spans():
    hidden = draw(TimestepMasking(0.3, 5, seed=0), np.ones((100, 100), bool))
    edges = np.diff(np.pad(hidden.astype(int), [(0, 0), (1, 1)]), axis=1)
    starts, ends = np.nonzero(edges == 1), np.nonzero(edges == -1)
    lengths = (ends[1] - starts[1])[ends[1] < 100]
    assert lengths.min() == 5


def test_masks_change_in_training_and_repeat_in_evaluation():
    mask = np.ones((4, 50), bool)
    layer = TimestepMasking(0.3, 3, seed=5)
    assert (draw(layer, mask) != draw(layer, mask)).any()
    np.testing.assert_array_equal(draw(layer, mask, False), draw(layer, mask, False))


def test_one_seed_one_series_of_masks():
    mask = np.ones((4, 50), bool)
    first, second, other = (TimestepMasking(0.3, 3, seed=seed) for seed in (5, 5, 6))
    for _ in range(3):
        np.testing.assert_array_equal(draw(first, mask), draw(second, mask))
    assert (draw(first, mask) != draw(other, mask)).any()


@pytest.mark.parametrize(("ratio", "span"), [(0.0, 3), (1.0, 3), (0.3, 0)])
def test_options_out_of_range_are_refused(ratio, span):
    with pytest.raises(ValueError, match="masking"):
        TimestepMasking(ratio, span)
