"""Bounded scalar minimisation of many functions at once, in lockstep."""

from collections.abc import Callable

import numpy as np

_GOLDEN = 0.5 * (3 - np.sqrt(5.0))
_EPSILON = np.sqrt(np.finfo(np.float64).eps)


def minimise(
    function: Callable[[np.ndarray], np.ndarray],
    count: int,
    low: float,
    high: float,
    tolerance: float,
    max_evaluations: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the minima of ``count`` functions inside an interval.

    Each takes the steps of ``scipy.optimize.minimize_scalar`` (bounded), which minimises one
    function at a time, and keeps its result when done (Brent 1973; Forsythe et al. 1977).
    """
    a, b = np.full(count, float(low)), np.full(count, float(high))
    best = a + _GOLDEN * (b - a)
    second, third = best.copy(), best.copy()
    f_best = function(best)
    f_second, f_third = f_best.copy(), f_best.copy()
    step, before = np.zeros(count), np.zeros(count)
    for _ in range(max_evaluations - 1):
        middle = 0.5 * (a + b)
        tol1 = _EPSILON * np.abs(best) + tolerance / 3
        tol2 = 2 * tol1
        active = np.abs(best - middle) > tol2 - 0.5 * (b - a)
        if not active.any():
            break

        # The parabola through the three best points so far ...
        r = (best - second) * (f_best - f_third)
        q = (best - third) * (f_best - f_second)
        p = (best - third) * q - (best - second) * r
        q = 2 * (q - r)
        p = np.where(q > 0, -p, p)
        q = np.abs(q)
        fits = (
            (np.abs(before) > tol1)
            & (np.abs(p) < np.abs(0.5 * q * before))
            & (p > q * (a - best))
            & (p < q * (b - best))
        )
        leap = np.divide(p, q, out=np.zeros(count), where=q > 0)
        edge = (best + leap - a < tol2) | (b - best - leap < tol2)
        leap = np.where(edge, tol1 * np.where(middle >= best, 1.0, -1.0), leap)
        # ... or, where it leads astray, the golden section of the larger part.
        larger = np.where(best >= middle, a - best, b - best)
        before = np.where(fits, step, larger)
        step = np.where(fits, leap, _GOLDEN * larger)
        trial = best + np.where(step >= 0, 1.0, -1.0) * np.maximum(np.abs(step), tol1)
        trial = np.where(active, trial, best)
        value = function(trial)

        better = active & (value <= f_best)
        worse = active & ~better
        a = np.where(better & (trial >= best), best, np.where(worse & (trial < best), trial, a))
        b = np.where(better & (trial < best), best, np.where(worse & (trial >= best), trial, b))
        to_second = worse & ((value <= f_second) | (second == best))
        to_third = worse & ~to_second
        to_third &= (value <= f_third) | (third == best) | (third == second)
        shift = better | to_second
        third = np.where(shift, second, np.where(to_third, trial, third))
        f_third = np.where(shift, f_second, np.where(to_third, value, f_third))
        second = np.where(better, best, np.where(to_second, trial, second))
        f_second = np.where(better, f_best, np.where(to_second, value, f_second))
        best = np.where(better, trial, best)
        f_best = np.where(better, value, f_best)
    return best, f_best
