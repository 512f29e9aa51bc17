"""Numerical conventions that all stages of the feature extraction share.

Positions are 0-based array indices; where a published definition counts samples from one, the
docstring says so. Signals are float64 [N] at 16 kHz.
"""

import functools
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage
from scipy import signal as sps

SAMPLE_RATE = 16_000
"""The only rate (Hz) the stages are defined for; anything else is resampled first."""

HOP = 160  # samples between two rows of the feature matrix (10 ms)
ROWS_PER_SECOND = SAMPLE_RATE // HOP
_TAPS = 16
_DFT_SIZES = (1000, 1600, 2000, 3200, 4000, 8000)  # even divisors of 16000


def round_half_away(x: np.ndarray | float) -> np.ndarray:
    """Rounds to the nearest integer, halves away from zero (NumPy rounds them to even)."""
    x = np.asarray(x, dtype=np.float64)
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0.0)


def wrap(phase: np.ndarray) -> np.ndarray:
    """Brings angles in radians into [-pi, pi]."""
    return phase - 2 * np.pi * round_half_away(phase / (2 * np.pi))


def open_hann(n: int) -> np.ndarray:
    """Symmetric Hann window of ``n`` points whose end points are not zero."""
    return 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, n + 1) / (n + 1)))


def closed_hann(n: int) -> np.ndarray:
    """Symmetric Hann window of ``n`` points with zero end points."""
    return 0.5 * (1 - np.cos(2 * np.pi * np.arange(n) / (n - 1)))


def blackman(n: int) -> np.ndarray:
    """Symmetric Blackman window (0.42, 0.5, 0.08) of ``n`` points."""
    angle = 2 * np.pi * np.arange(n) / (n - 1)
    return 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)


def interpolate(knots: np.ndarray, values: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Linear interpolation of values [K] or [K, D] at increasing knots, NaN outside them.

    Unlike ``np.interp``, it gives NaN between -inf and what follows and -inf before -inf.
    """
    values = np.asarray(values, dtype=np.float64)
    query = np.asarray(query, dtype=np.float64)
    if len(knots) == 0:
        return np.full(query.shape + values.shape[1:], np.nan)
    if values.ndim == 1:
        return interpolate(knots, values[:, None], query)[:, 0]
    right = np.clip(np.searchsorted(knots, query, side="right"), 1, max(len(knots) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(knots) - 1)
    span = np.maximum(knots[right] - knots[left], np.finfo(float).tiny)
    weight = ((query - knots[left]) / span)[:, None]
    with np.errstate(invalid="ignore"):
        result = values[left] + weight * (values[right] - values[left])
    result[(query < knots[0]) | (query > knots[-1])] = np.nan
    return result


def frames_of(x: np.ndarray, size: int, hop: int, strict: bool = False) -> np.ndarray:
    """Read-only view [F, size] of overlapping frames; strict ones leave out the last sample."""
    usable = x[: len(x) - 1] if strict else x
    if len(usable) < size:
        return np.empty((0, size))
    return sliding_window_view(usable, size)[::hop]


@functools.cache
def _between_bins(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Kaiser-Bessel kernel that reads a DFT at every Hz, and weights its samples need for that."""
    beta = 0.75 * np.pi * _TAPS
    steps = SAMPLE_RATE // size
    place = np.arange(steps)[:, None] / steps - np.arange(1 - _TAPS // 2, _TAPS // 2 + 1)
    kernel = np.i0(beta * np.sqrt(np.maximum(1 - (2 * place / _TAPS) ** 2, 0)))
    kernel[:, 1::2] *= -1  # the samples lie around the middle of the DFT, not around its start
    root = np.sqrt(beta**2 - (np.pi * _TAPS * np.arange(-size // 4, size // 4 + 1) / size) ** 2)
    return kernel, root / (_TAPS * np.sinh(root))


def hertz_magnitudes(frames: np.ndarray, top: int) -> np.ndarray:
    """Magnitudes of the spectra of frames [M, L <= 4000] at every Hz, [top + 1, M].

    The spectrum of a short frame is smooth: a DFT of twice its length and 16 neighbouring bins
    give all that lies between (Fessler & Sutton 2003), to 1e-14 of the largest and at a third or
    less of the cost of a DFT of one second that is mostly zeros.
    """
    count, length = frames.shape
    size = next(size for size in _DFT_SIZES if size >= 2 * length)
    kernel, weight = _between_bins(size)
    padded = np.zeros((size, count))
    inside = padded[size // 2 - length // 2 :][:length]
    np.multiply(frames.T, weight[size // 4 - length // 2 :][:length, None], out=inside)
    half, last = _TAPS // 2, top * size // SAMPLE_RATE
    bins = np.arange(1 - half, last + half + 1)
    spectrum = fft.rfft(padded, axis=0)[size // 2 - np.abs(size // 2 - np.abs(bins))]
    mirrored = (bins < 0) | (bins > size // 2)
    spectrum[mirrored] = spectrum[mirrored].conj()
    windows = sliding_window_view(spectrum.view(np.float64), _TAPS, axis=0).transpose(0, 2, 1)
    fine = (kernel @ windows).reshape(-1, 2 * count)[: top + 1]
    return np.abs(fine.view(np.complex128))


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices that cut ``range(count)`` into runs of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def ragged_batches(lengths: np.ndarray, budget: int = 200_000) -> Iterator[np.ndarray]:
    """Indices of items of similar length; at most ``budget`` padded elements or one item each."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        shortest = max(int(lengths[order[start]]), 1)
        stop = start + 1
        while stop < len(order):
            longest = int(lengths[order[stop]])
            if longest > 1.25 * shortest + 16 or longest * (stop + 1 - start) > budget:
                break
            stop += 1
        yield order[start:stop]
        start = stop


def zero_phase(b: np.ndarray, a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Filters forwards and backwards with odd reflection over three filter orders at both ends.

    The polynomial form is deliberate: second-order sections are more accurate but give other
    closure instants than the reference.
    """
    return sps.filtfilt(b, a, x, padtype="odd", padlen=3 * (max(len(a), len(b)) - 1))


def zero_phase_fir(taps: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Forward-backward FIR filter over the first axis of [N, D], summed tap after tap.

    The order of summation matters: the mean of nine ones must come out as nine times the rounded
    ninth (slightly above one), which a running sum or an FFT would not give.
    """
    reach = len(taps) - 1
    head = 2 * x[0] - x[reach:0:-1]
    tail = 2 * x[-1] - x[-2 : -reach - 2 : -1]
    extended = np.concatenate([head, x, tail])

    def once(signal: np.ndarray) -> np.ndarray:
        count = len(signal) - reach
        if (taps == taps[0]).all():
            # A mean needs each product but once.
            signal = taps[0] * signal
            total = signal[:count].copy()
            for start in range(1, reach + 1):
                total += signal[start : start + count]
            return total
        total, product = taps[-1] * signal[:count], np.empty_like(signal[:count])
        for k in range(reach - 1, -1, -1):
            total += np.multiply(taps[k], signal[reach - k :][:count], out=product)
        return total

    # Only samples up to `reach` away enter an inner output: the filter's state at the outer
    # end of the reflection never shows.
    return once(once(extended)[::-1])[::-1]


def median_filter(x: np.ndarray, size: int) -> np.ndarray:
    """Running median of odd length of a vector, zeros outside it."""
    return ndimage.median_filter(x, size, mode="constant")


def median_of_nine(x: np.ndarray) -> np.ndarray:
    """The same for size 9 and a matrix, where comparing whole columns is ten times cheaper.

    Neighbouring medians share sorted threes (Smith 1996).
    """

    def ordered(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple:
        low, high = np.minimum(a, b), np.maximum(a, b)
        middle = np.maximum(low, np.minimum(high, c))
        return np.minimum(low, c), middle, np.maximum(high, c)

    padded = np.pad(x, [(4, 4), (0, 0)])
    threes = ordered(padded[:-2], padded[1:-1], padded[2:])
    low, middle, high = ([part[k : k + len(x)] for k in (0, 3, 6)] for part in threes)
    return ordered(ordered(*low)[2], ordered(*middle)[1], ordered(*high)[0])[1]


def moving_average(x: np.ndarray, span: int) -> np.ndarray:
    """Running mean of a vector; an even span becomes odd, near the ends it shrinks evenly."""
    if len(x) == 0:
        return x.copy()
    half = (span - 1 + span % 2) // 2
    index = np.arange(len(x))
    reach = np.minimum(np.minimum(index, index[::-1]), half)
    total = np.concatenate([[0.0], np.cumsum(x)])
    if np.isfinite(total[-1]):
        return (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)
    return np.array([x[i - r : i + r + 1].mean() for i, r in zip(index, reach, strict=True)])


def local_maxima(x: np.ndarray, plateau: str = "centre") -> np.ndarray:
    """Indices of local maxima, none at an end; of a flat top the ``"first"`` or ``"centre"``."""
    centres, edges = sps.find_peaks(x, plateau_size=1)
    return edges["left_edges"] if plateau == "first" else centres


def row_maxima(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the :func:`local_maxima` of a matrix, by row, then column."""
    middle = x[:, 1:-1]
    higher = (middle > x[:, :-2]) & (middle > x[:, 2:])
    rows, columns = np.nonzero(np.ascontiguousarray(higher))
    columns = columns + 1
    flat = np.flatnonzero((x[:, 1:] == x[:, :-1]).any(axis=1))
    if len(flat) == 0:
        return rows, columns
    keep = ~np.isin(rows, flat)
    found = [local_maxima(x[row]) for row in flat]
    rows = np.concatenate([rows[keep], np.repeat(flat, [len(f) for f in found])])
    columns = np.concatenate([columns[keep], *found])
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def parabola(left: np.ndarray, top: np.ndarray, right: np.ndarray) -> tuple:
    """Offset (in samples) and height of the vertex of the parabola through a peak's samples."""
    b = (right - left) / 2
    a = top - (right + left) / 2
    return b / (2 * a), top + b * b / (4 * a)
