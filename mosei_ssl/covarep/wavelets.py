"""Maxima dispersion quotient (MDQ) and peak slope, both from a bank of cosine wavelets."""

import functools

import numpy as np
from scipy import fft

from mosei_ssl.covarep.glottal import cycle_periods
from mosei_ssl.covarep.signal import HOP, blocks, ragged_batches, round_half_away

SLOPE_FRAME = 640
_REACH = 1000
_FFT = 8192
_DEVIATIONS = 9  # beyond so many standard deviations a wavelet is below 1e-17
_VANISHING = 38.7  # beyond so many it is zero in double precision
_HALF = _DEVIATIONS * 64  # half length of the widest truncated wavelet
_BLOCK = 16


def _kernel(octave: int, reach: int) -> np.ndarray:
    n, scale = np.arange(-reach, reach + 1), 2.0**octave
    return -np.cos(np.pi * n / scale) * np.exp(-(n**2) / (2 * scale**2))


@functools.cache
def _kernels(octaves: tuple[int, ...]) -> np.ndarray:
    """Spectra of the wavelets at scales 2**i; beyond nine deviations they are below 1e-17."""
    rows = np.zeros((len(octaves), 2 * _HALF + 1))
    for row, octave in zip(rows, octaves, strict=True):
        reach = _DEVIATIONS * 2**octave
        row[_HALF - reach : _HALF + reach + 1] = _kernel(octave, reach)
    return fft.rfft(rows, _FFT, axis=1)


def _correct_silence(response: np.ndarray, x: np.ndarray, octave: int, away: np.ndarray) -> None:
    """Replaces, in place, the FFT's rounding noise where a wavelet sees next to nothing.

    In runs of exact zeros, ``away`` from sound, the true response fades to nothing: it is summed.
    """
    scale = 2**octave
    far = np.flatnonzero(away > _DEVIATIONS * scale)
    if len(far) == 0:
        return
    reach = min(int(_VANISHING * scale), _REACH)
    response[far] = 0
    kernel = _kernel(octave, reach)
    near = far[away[far] <= reach]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, reach), 2 * reach + 1)
    for block in blocks(len(near), 256):
        response[near[block]] = windows[near[block]] @ kernel[::-1]


def decompose(x: np.ndarray, octaves: tuple[int, ...]) -> np.ndarray:
    """Convolves a signal with wavelets of scales 2**i; NaN spreads to 1000 samples either side."""
    kernels = _kernels(octaves)
    useful = _FFT - 2 * _HALF
    count = -(-len(x) // useful)
    padded = np.zeros(count * useful + 2 * _HALF)
    padded[_HALF : _HALF + len(x)] = np.nan_to_num(x)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::useful]
    result = np.empty((len(octaves), count, useful))
    for block in blocks(count, _BLOCK):
        spectrum = fft.rfft(frames[block], axis=1)
        for row, kernel in zip(result, kernels, strict=True):
            row[block] = fft.irfft(spectrum * kernel, _FFT, axis=1)[:, 2 * _HALF :]
    result = result.reshape(len(octaves), -1)[:, : len(x)]
    index = np.arange(len(x))
    if not x.all():
        before = np.maximum.accumulate(np.where(x != 0, index, -10 * len(x)))
        after = np.minimum.accumulate(np.where(x != 0, index, 10 * len(x))[::-1])[::-1]
        clean, away = np.nan_to_num(x), np.minimum(index - before, after - index)
        for row, octave in zip(result, octaves, strict=True):
            _correct_silence(row, clean, octave, away)
    missing = np.isnan(x)
    if missing.any():
        edges = np.concatenate([[0], np.cumsum(missing)])
        low = np.maximum(index - _REACH, 0)
        high = np.minimum(index + _REACH + 1, len(x))
        result[:, edges[high] > edges[low]] = np.nan
    return result


def dispersion_quotient(residual: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """MDQ: how far wavelet maxima scatter around each closure instant G (Kane & Gobl 2013).

    To be placed at array index ``G - 1``.
    """
    result = np.zeros(len(instants))
    if len(instants) < 2:
        return result
    period = cycle_periods(instants)
    valid = np.flatnonzero((instants + 1 - period > 0) & (instants + 1 + period <= len(residual)))
    responses = decompose(residual, (2, 3, 4, 5, 6))
    reach = round_half_away(0.2 * period).astype(int)
    for batch in ragged_batches(2 * reach[valid] + 1):
        items = valid[batch]
        r = reach[items][:, None]
        column = np.arange(2 * int(r.max()) + 1)
        index = np.minimum(instants[items][:, None] - r + column, len(residual) - 1)
        inside = column <= 2 * r
        total = np.zeros(len(items))
        for response in responses:
            values = response[index]
            values = np.where(inside & ~np.isnan(values), values, -np.inf)
            total += np.abs(reach[items] - (values.argmax(axis=1) + 1))
        result[items] = total / len(responses) / period[items]
    return result


def peak_slope(x: np.ndarray) -> np.ndarray:
    """Slope of the wavelet maxima over the octaves, log10 per octave (Kane & Gobl 2011).

    Per 40 ms frame, to be placed at array index ``319 + 160 i``; -inf can occur near silence.
    """
    parts = SLOPE_FRAME // HOP
    count = len(x) // HOP - parts + 1
    if count < 1:
        return np.zeros(0)
    octaves = (6, 5, 4, 3, 2, 1, 0)
    responses = np.abs(decompose(x, octaves))[:, : len(x) // HOP * HOP]
    tops = responses.reshape(len(octaves), -1, HOP).max(axis=2)
    top = tops[:, :count].copy()
    for part in range(1, parts):
        np.maximum(top, tops[:, part : part + count], out=top)
    steps = np.arange(1, len(octaves) + 1) - (len(octaves) + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = steps @ np.log10(top) / (steps @ steps)
    return np.where(np.isnan(slope), 0.0, slope)
