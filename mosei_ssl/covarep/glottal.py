"""Voice quality from the glottal flow: NAQ, QOQ, H1H2 and PSP, one value per cycle."""

import numpy as np
from scipy import fft

from mosei_ssl.covarep.signal import (
    SAMPLE_RATE,
    blocks,
    hertz_magnitudes,
    ragged_batches,
    round_half_away,
    row_maxima,
)

_SPECTRUM_BLOCK = 24
_HIGHEST = 16  # harmonics; no peak beyond decides which are left at the first and the second
_PARABOLIC_SIZE = 2048
_PARABOLIC_ERROR = 0.01


def cycle_periods(instants: np.ndarray) -> np.ndarray:
    """Distance in samples to the instant before (the first cycle takes the second's)."""
    if len(instants) < 2:
        return np.zeros(len(instants), dtype=np.int64)
    return np.diff(instants, prepend=2 * instants[0] - instants[1])


def _quotients(flow, derivative, first, last, period) -> tuple[np.ndarray, np.ndarray]:
    """NAQ and QOQ of the cycles first..last (inclusive array indices)."""
    naq, qoq = np.zeros(len(first)), np.zeros(len(first))
    lengths = last - first + 1
    for batch in ragged_batches(lengths):
        start, n = first[batch], lengths[batch][:, None]
        width = int(n.max())
        column = np.arange(width)
        index = np.minimum(start[:, None] + column, len(flow) - 1)
        pulse = flow[index]
        left, right = flow[start][:, None], flow[last[batch]][:, None]
        pulse -= left + (right - left) * column / np.maximum(n - 1, 1)
        # The line meets the ends exactly; rounding must not make one of them the highest point.
        pulse[:, 0] = 0
        pulse[np.arange(len(batch)), n[:, 0] - 1] = 0
        pulse[column >= n] = -np.inf
        top = pulse.argmax(axis=1)[:, None]
        height = np.take_along_axis(pulse, top, axis=1)

        # The closing peak may come a few samples late: look eight further where there are.
        ahead = np.where(last[batch] + 8 < len(derivative), 8, 0)
        reach = np.arange(width + 8)
        inside = reach < n + ahead[:, None]
        slope = np.abs(derivative[np.minimum(start[:, None] + reach, len(flow) - 1)])
        steepest = np.where(inside, slope, -np.inf).max(axis=1)

        low = pulse <= height / 2
        before = np.where(low & (column <= top), column, -1).max(axis=1)[:, None]
        after = np.where(low & (column >= top), column, width).min(axis=1)[:, None]
        opened = np.where(top <= 2, top, np.maximum(before, 2))
        closed = np.where(top >= n - 3, top, np.minimum(after, n - 3))
        with np.errstate(divide="ignore", invalid="ignore"):
            naq[batch] = height[:, 0] / (steepest * period[batch])
        qoq[batch] = (closed - opened)[:, 0] / period[batch]
    return naq, qoq


def _thin(rows, bins, heights, spacing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drops the lower of two neighbouring peaks that are too close, until none are."""
    while True:
        close = (rows[1:] == rows[:-1]) & (np.diff(bins) <= spacing[rows[1:]])
        if not close.any():
            return rows, bins, heights
        pair = np.flatnonzero(close)
        keep = np.ones(len(rows), dtype=bool)
        keep[np.where(heights[pair] < heights[pair + 1], pair, pair + 1)] = False
        rows, bins, heights = rows[keep], bins[keep], heights[keep]


def _nearest_height(rows, bins, heights, count, target) -> np.ndarray:
    """Height (power) of each row's peak nearest to its target; rows without a peak NaN."""
    distance = np.abs(bins + 1 - target[rows])
    order = np.lexsort((bins, distance, rows))
    found, place = np.unique(rows[order], return_index=True)
    result = np.full(count, np.nan)
    result[found] = heights[order][place]
    return result


def _harmonic_difference(derivative, centre, period) -> np.ndarray:
    """H1H2 in dB around each centre."""
    result = np.zeros(len(centre))
    half = round_half_away(3 * period / 2).astype(int)
    first = np.maximum(centre - half, 0)
    lengths = np.minimum(centre + half, len(derivative) - 1) - first + 1
    order = np.argsort(lengths, kind="stable")
    for block in blocks(len(order), _SPECTRUM_BLOCK):
        items = order[block]
        n, f0 = lengths[items][:, None], SAMPLE_RATE / period[items]
        column = np.arange(int(n.max()))
        frame = derivative[np.minimum(first[items][:, None] + column, len(derivative) - 1)]
        frame *= 0.54 - 0.46 * np.cos(2 * np.pi * column / (n - 1))
        frame[column >= n] = 0
        top = min(int(_HIGHEST * f0.max()), SAMPLE_RATE // 2)
        power = hertz_magnitudes(frame * 2**15, top).T ** 2
        rows, bins = row_maxima(power)
        rows, bins, heights = _thin(rows, bins, power[rows, bins], f0 / 2)
        enough = np.bincount(rows, minlength=len(items)) >= 5
        first_peak = _nearest_height(rows, bins, heights, len(items), f0)
        second_peak = _nearest_height(rows, bins, heights, len(items), 2 * f0)
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = 10 * np.log10(first_peak / second_peak)
        result[items] = np.where(enough, difference, 0.0)
    return result


def _parabola_coefficients(pulses: np.ndarray) -> np.ndarray:
    """Curvature of the parabola fitted to each pulse's low-frequency log spectrum."""
    spectra = np.abs(fft.rfft(pulses, _PARABOLIC_SIZE, axis=1)[:, : _PARABOLIC_SIZE // 2])
    result = np.empty(len(pulses))
    rest = np.arange(len(pulses))
    # Nearly all fits end within the first bins.
    for width in (_PARABOLIC_SIZE // 8, _PARABOLIC_SIZE // 2):
        a, error = _parabolas(spectra[rest, :width])
        # At least three points make a fit; where the error never grows the last fit is used.
        crossed = error[:, 2:] >= _PARABOLIC_ERROR
        stop = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 2, width - 1)
        result[rest] = np.take_along_axis(a, stop[:, None], axis=1)[:, 0]
        rest = rest[~crossed.any(axis=1)]
    return result


def _parabolas(magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Curvature and relative error of parabolas through the first 1, 2, ... levels of each row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        level = 20 * np.log10(magnitude)
        k2 = np.arange(level.shape[1], dtype=np.float64) ** 2
        n = np.arange(1, level.shape[1] + 1)
        s2, s4 = np.cumsum(k2), np.cumsum(k2 * k2)
        sx, sxk = np.cumsum(level, axis=1), np.cumsum(level * k2, axis=1)
        sxx = np.cumsum(level * level, axis=1)
        a = (n * sxk - s2 * sx) / (n * s4 - s2 * s2)
        b = (sx - a * s2) / n
        return a, (sxx - a * sxk - b * sx) / sxx


def _parabolic_parameter(flow, first, period) -> np.ndarray:
    """PSP of the cycles that start at ``first`` and last ``period + 1`` samples."""
    result = np.zeros(len(first))
    distinct, which = np.unique(period, return_inverse=True)
    reference = np.zeros(len(distinct))
    for block in blocks(len(distinct), 128):
        t = distinct[block][:, None]
        pulses = np.where(np.arange(int(t.max())) < t, 1.0 / t, 0.0)
        reference[block] = _parabola_coefficients(pulses)
    for block in blocks(len(first), 128):
        n = period[block][:, None] + 1
        column = np.arange(int(n.max()))
        pulse = flow[np.minimum(first[block][:, None] + column, len(flow) - 1)]
        inside = column < n
        pulse -= np.where(inside, pulse, np.inf).min(axis=1, keepdims=True)
        pulse[~inside] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            pulse /= pulse.max(axis=1, keepdims=True)
        result[block] = _parabola_coefficients(pulse)
    with np.errstate(divide="ignore", invalid="ignore"):
        return result / reference[which]


def glottal_parameters(
    flow: np.ndarray, derivative: np.ndarray, instants: np.ndarray
) -> dict[str, np.ndarray]:
    """NAQ, QOQ, H1H2 (dB) and PSP of the glottal cycles that end at the instants G, [C] each.

    They are to be placed at array index G; a cycle whose F0 is not between 20 and 500 Hz has zeros.
    After Alku et al. 2002 (NAQ), Hacki 1989 (QOQ), Hanson 1997 (H1H2) and Alku et al. 1997 (PSP).
    """
    result = {name: np.zeros(len(instants)) for name in ("NAQ", "QOQ", "H1H2", "PSP")}
    period = cycle_periods(instants)
    first = np.concatenate([[0], instants[:-1]])
    with np.errstate(divide="ignore"):
        f0 = SAMPLE_RATE / period
    valid = np.flatnonzero((f0 > 20) & (f0 < 500))
    if len(valid) == 0:
        return result
    naq, qoq = _quotients(flow, derivative, first[valid], instants[valid], period[valid])
    result["NAQ"][valid], result["QOQ"][valid] = naq, qoq
    result["H1H2"][valid] = _harmonic_difference(derivative, instants[valid], period[valid])
    later = valid[valid > 0]
    result["PSP"][later] = _parabolic_parameter(flow, first[later], period[later])
    return result
