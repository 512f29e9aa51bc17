"""The codebook encoder, by hand."""

import keras
import numpy as np
import pytest

from mosei_ssl.layers import CodebookEncoder


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_states_by_hand():
    encoder = CodebookEncoder(hidden_dim=3, code_dim=2, context=1)
    encoder.build((None, None, 2))
    encoder.projection.kernel.assign(np.array([[[2.0, 0.0], [0.0, 1.0]]]))
    encoder.projection.bias.assign([1.0, 0.0])
    encoder.codebook.kernel.assign([[3.0, 3.0, 0.0], [0.0, 4.0, 4.0]])
    # (1, 0) is projected to (3, 0), at distances 0, 4 and 5 of the entries: 3 on average.
    states = to_numpy(encoder(np.array([[[1.0, 0.0]]]), np.array([[True]])))
    np.testing.assert_allclose(states, [[[3.0, 0.0, 0.0]]], atol=2e-3)


def test_neighbours_count_as_far_as_the_context_reaches_and_padding_as_zero():
    encoder = CodebookEncoder(hidden_dim=8, code_dim=4, context=3, seed=1)
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(1, 6, 5)).astype("float32")
    mask = np.array([[True, True, True, True, False, False]])
    before = to_numpy(encoder(frames, mask))
    changed = frames.copy()
    changed[0, 3] += 1.0
    moved = np.abs(to_numpy(encoder(changed, mask)) - before).max(axis=-1)[0] > 1e-4
    np.testing.assert_array_equal(moved, [False, False, True, True, False, False])
    junk = frames.copy()
    junk[0, 4:] = 1e6
    np.testing.assert_array_equal(to_numpy(encoder(junk, mask)), before)
    alone = to_numpy(encoder(frames[:, :4], mask[:, :4]))
    np.testing.assert_allclose(alone, before[:, :4], atol=1e-6)
    np.testing.assert_array_equal(before[0, 4:], 0.0)


@pytest.mark.parametrize("options", [{"context": 4}, {"context": 0}, {"code_dim": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CodebookEncoder(**options)
