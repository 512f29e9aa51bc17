"""The numerical conventions, against numbers worked out by hand or by another route."""

import numpy as np
import pytest

from mosei_ssl.covarep import signal as s


def test_halves_round_away_from_zero():
    np.testing.assert_array_equal(
        s.round_half_away([0.5, 1.5, 2.5, -0.5, -2.5, 0.49999999999999994, 7.2]),
        [1, 2, 3, -1, -3, 0, 7],
    )


def test_wrap_keeps_angles_within_pi():
    np.testing.assert_allclose(s.wrap(np.array([3 * np.pi / 2, -7.0])), [-np.pi / 2, 2 * np.pi - 7])


def test_windows():
    np.testing.assert_allclose(s.open_hann(3), [0.5, 1, 0.5])
    np.testing.assert_allclose(s.closed_hann(5), [0, 0.5, 1, 0.5, 0], atol=1e-15)
    np.testing.assert_allclose(s.blackman(5), [0, 0.34, 1, 0.34, 0], atol=1e-15)


def test_interpolation_is_nan_outside_only():
    got = s.interpolate(np.array([1.0, 3.0]), np.array([10.0, 20.0]), np.array([0.9, 1, 2, 3, 3.1]))
    np.testing.assert_array_equal(got, [np.nan, 10, 15, 20, np.nan])


def test_interpolation_of_columns_agrees_with_that_of_vectors():
    rng = np.random.default_rng(0)
    knots, values = np.cumsum(rng.integers(1, 9, 30)), rng.standard_normal((30, 3))
    query = np.linspace(-5, knots[-1] + 5, 200)
    together = s.interpolate(knots, values, query)
    for column in range(3):
        alone = s.interpolate(knots, values[:, column], query)
        np.testing.assert_allclose(together[:, column], alone, rtol=0, atol=1e-12)


def test_interpolation_into_minus_infinity_but_not_out_of_it():
    got = s.interpolate(
        np.arange(4.0), np.array([1, -np.inf, -np.inf, 2]), np.array([0.5, 1.5, 2.5])
    )
    np.testing.assert_array_equal(got, [-np.inf, np.nan, np.nan])


def test_interpolation_without_knots_is_nan():
    assert np.isnan(s.interpolate(np.empty(0), np.empty(0), np.arange(3))).all()


def test_strict_frames_leave_the_last_sample_out():
    assert len(s.frames_of(np.arange(10.0), 4, 3)) == 3
    assert len(s.frames_of(np.arange(10.0), 4, 3, strict=True)) == 2
    assert s.frames_of(np.arange(3.0), 4, 3).shape == (0, 4)


@pytest.mark.parametrize("length", [21, 401, 500, 1598, 2401])
def test_magnitudes_at_every_hertz_are_those_of_a_long_transform(length):
    frames = np.random.default_rng(length).standard_normal((3, length))
    expected = np.abs(np.fft.rfft(frames, 16_000)).T
    for top in (2499, 8000):
        got = s.hertz_magnitudes(frames, top)
        np.testing.assert_allclose(got, expected[: top + 1], rtol=0, atol=1e-13 * expected.max())


def test_ragged_batches_name_every_item_once():
    lengths = np.random.default_rng(1).integers(1, 5000, 300)
    batches = list(s.ragged_batches(lengths, budget=20_000))
    assert sorted(np.concatenate(batches)) == list(range(300))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= 20_000


def test_median_filter_pads_with_zeros():
    got = s.median_filter(np.array([5.0, 5, 5, -1, 9]), 3)
    np.testing.assert_array_equal(got, [5, 5, 5, 5, 0])


def test_median_of_nine_equals_the_filter():
    x = np.random.default_rng(4).standard_normal((30, 3))
    expected = np.stack([s.median_filter(column, 9) for column in x.T], axis=1)
    np.testing.assert_array_equal(s.median_of_nine(x), expected)


@pytest.mark.parametrize("span", [3, 4])
def test_moving_average_shrinks_at_the_ends(span):
    np.testing.assert_allclose(
        s.moving_average(np.array([1.0, 2, 6, 3, 1]), span)[[0, 1, 4]], [1, 3, 1]
    )


def test_moving_average_with_a_hole_is_nan_around_it_only():
    x = np.arange(9.0)
    x[4] = np.nan
    assert np.flatnonzero(np.isnan(s.moving_average(x, 3))).tolist() == [3, 4, 5]


def test_local_maxima_on_plateaus():
    x = np.array([5.0, 1, 3, 3, 3, 3, 2, 4, 1, 9])
    assert s.local_maxima(x, "first").tolist() == [2, 7]
    assert s.local_maxima(x).tolist() == [3, 7]
    assert s.local_maxima(np.ones(6)).tolist() == []


def test_maxima_of_rows_equal_those_of_each_row():
    x = np.round(np.random.default_rng(2).standard_normal((20, 60)), 1)
    rows, columns = s.row_maxima(x)
    for row in range(20):
        assert columns[rows == row].tolist() == s.local_maxima(x[row]).tolist()


def test_parabola_finds_the_vertex():
    x = np.array([-1.0, 0.0, 1.0])
    offset, height = s.parabola(*(3 - 2 * (x - 0.3) ** 2))
    assert (offset, height) == pytest.approx((0.3, 3.0))


def test_zero_phase_fir_equals_filtfilt():
    from scipy.signal import filtfilt

    x = np.random.default_rng(3).standard_normal((90, 4))
    taps = s.closed_hann(9) / s.closed_hann(9).sum()
    expected = filtfilt(taps, [1.0], x, axis=0, padlen=24)
    np.testing.assert_allclose(s.zero_phase_fir(taps, x), expected, atol=1e-13)


def test_mean_of_nine_ones_exceeds_one():
    # The deviation of a constant phase depends on it.
    assert (s.zero_phase_fir(np.full(9, 1 / 9), np.ones((40, 1))) > 1).all()
