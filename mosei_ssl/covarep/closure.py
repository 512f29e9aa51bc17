"""Glottal closure instants (SEDREAMS)."""

import numpy as np
from scipy import signal as sps

from mosei_ssl.covarep.pitch import FIRST_CENTRE
from mosei_ssl.covarep.signal import (
    HOP,
    SAMPLE_RATE,
    blackman,
    interpolate,
    local_maxima,
    ragged_batches,
    round_half_away,
    zero_phase,
)


def mean_based_signal(x: np.ndarray, f0_median: float) -> np.ndarray:
    """Smooths speech over about two periods: one swing per cycle, largest magnitude 1."""
    period = round_half_away(SAMPLE_RATE / f0_median)
    half = int(round_half_away(1.7 * period / 2))
    window = blackman(2 * half + 1) / (2 * half + 1)
    smooth = sps.oaconvolve(x, window, mode="full")[half : half + len(x)]
    smooth[:half] = 0
    smooth[len(x) - half :] = 0
    nyquist = SAMPLE_RATE / 2
    order, edge = sps.ellipord(50 / nyquist, 30 / nyquist, 3, 60)
    b, a = sps.ellip(order, 3, 60, edge, btype="highpass")
    smooth = zero_phase(b, a, smooth)
    peak = np.abs(smooth).max()
    return smooth / peak if peak > 0 else smooth


def swings(swing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minima of the mean-based signal and the maxima that follow them, paired by index."""
    maxima = local_maxima(swing, "first")
    minima = local_maxima(-swing, "first")
    if len(minima):
        maxima = maxima[maxima > minima[0]]
    if len(maxima):
        minima = minima[minima < maxima[-1]]
    count = min(len(minima), len(maxima))
    return minima[:count], maxima[:count]


def peak_places(
    residual: np.ndarray, peak: float, minima: np.ndarray, maxima: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residual samples above 0.4 of its peak; their places from minimum (0) to maximum (1)."""
    peaks = np.flatnonzero(np.nan_to_num(residual) > 0.4 * peak)
    after = np.clip(np.searchsorted(minima, peaks), 1, max(len(minima) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(minima) - 1)
    nearest = np.where(
        np.abs(peaks - minima[before]) <= np.abs(peaks - minima[after]), before, after
    )
    return peaks, (peaks - minima[nearest]) / (maxima - minima)[nearest]


def closure_instants(
    residual: np.ndarray,
    minima: np.ndarray,
    maxima: np.ndarray,
    place: float,
    voiced: np.ndarray,
) -> np.ndarray:
    """Samples G at which the vocal folds close, in voiced speech (Drugman & Dutoit 2009).

    The residual peak lies at *array index* G, while the reference reads G as a position counted
    from one, that is one sample early; later stages choose between the two as it does. ``place`` is
    the median of :func:`peak_places` over the whole recording.
    """
    residual = np.nan_to_num(residual)
    end = len(residual) - 1
    interval = maxima - minima
    first = np.maximum(minima + round_half_away((place - 0.35) * interval).astype(int), 0)
    last = np.minimum(minima + round_half_away((place + 0.35) * interval).astype(int), end)
    beyond = np.flatnonzero(first > end)
    stop = beyond[0] if len(beyond) else len(first)
    first, last = first[:stop], last[:stop]
    first, last = first[last > 0], last[last > 0]
    found = np.empty(len(first), dtype=np.int64)
    for batch in ragged_batches(last - first + 1):
        width = int((last - first)[batch].max()) + 1
        index = first[batch, None] + np.arange(width)
        values = residual[np.minimum(index, end)]
        values = np.where(index <= last[batch, None], values, -np.inf)
        found[batch] = first[batch] + values.argmax(axis=1)
    found = found[found >= 1]
    knots = FIRST_CENTRE + HOP * np.arange(len(voiced))
    gate = np.nan_to_num(interpolate(knots, voiced, found - 1))
    return np.unique(found[gate >= 0.5])
