"""Curves of scores over labels, on numbers worked out by hand."""

import numpy as np
import pytest

from mosei_ssl.study.curves import equal_labels, fit_curves


def test_a_power_law_is_found_again():
    n = np.array([25.0, 50, 100, 200, 400, 800])
    curves = fit_curves(n, np.stack([0.3 + 2 * n**-0.5, 0.1 + n**-1.0]), lower_is_better=True)
    assert curves.limit == pytest.approx([0.3, 0.1], abs=1e-3)
    assert curves.exponent == pytest.approx([0.5, 1.0])
    rising = fit_curves(n, (0.8 - n**-0.5)[None], lower_is_better=False)
    assert rising.limit[0] == pytest.approx(0.8, abs=1e-3)


def test_a_curve_that_gets_worse_is_flat():
    n = np.array([25.0, 100.0, 400.0])
    curves = fit_curves(n, np.array([[0.1, 0.2, 0.3]]), lower_is_better=True)
    assert curves.gain[0] == 0
    assert curves.limit[0] == pytest.approx(0.2)
    assert curves.labels_for(np.array([0.25]))[0] == 0
    assert np.isinf(curves.labels_for(np.array([0.15]))[0])


def test_labels_saved_by_hand():
    n = np.array([25.0, 100.0, 400.0, 1600.0])
    base = fit_curves(n, (1 + n**-0.5)[None], lower_is_better=True)
    found = equal_labels((-0.5 * n**-0.5)[None], base, n)
    # Half the error at the same number needs four times the labels.
    assert found[0] == pytest.approx([100, 400, 1600, 6400], rel=1e-3)
    arm = fit_curves(n, (1 + 0.5 * n**-0.5)[None], lower_is_better=True)
    worse = equal_labels((0.5 * n**-0.5)[None], arm, n)
    assert worse[0] == pytest.approx([6.25, 25, 100, 400], rel=1e-3)


def test_no_difference_saves_no_labels_however_badly_the_curve_fits():
    n = np.array([25.0, 100.0, 400.0])
    base = fit_curves(n, np.array([[0.333, 0.348, 0.306]]), lower_is_better=True)
    found = equal_labels(np.zeros((1, 3)), base, n)
    assert found[0] == pytest.approx(n)


def test_curves_do_not_promise_the_impossible():
    n = np.array([25.0, 50.0, 100.0, 400.0])
    straight = np.log(n) / np.log(400) * 0.4
    rising = fit_curves(n, straight[None], lower_is_better=False)
    falling = fit_curves(n, (0.4 - straight + 0.02)[None], lower_is_better=True)
    assert rising.limit[0] <= 1
    assert falling.limit[0] >= 0
    assert rising.gain[0] < 0 < falling.gain[0]
