"""Linear prediction on batches of frames, and the LP residual of a whole signal."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mosei_ssl.covarep.signal import blocks, frames_of, open_hann

FRAME = 401
STEP = 80
_BLOCK = 256
_PART = 16


def autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """Autocorrelation of each row at lags 0..order, [F, L] to [F, order + 1]."""
    length = frames.shape[1]
    result = np.zeros((len(frames), order + 1))
    for lag in range(min(order, length - 1) + 1):
        result[:, lag] = np.einsum("ij,ij->i", frames[:, : length - lag], frames[:, lag:])
    return result


def levinson(r: np.ndarray) -> np.ndarray:
    """Error filters [F, p + 1] of autocorrelations (Durbin 1960); NaN for rows without energy."""
    # A column per row: sums over the few coefficients then run along memory.
    r = np.ascontiguousarray(r.T)
    a = np.zeros_like(r)
    a[0] = 1.0
    error = r[0].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(1, len(r)):
            k = -np.einsum("ij,ij->j", a[:i], r[i:0:-1]) / error
            a[1 : i + 1] += k * a[i - 1 :: -1]
            error *= 1 - k * k
    return a.T


def lpc(frames: np.ndarray, order: int) -> np.ndarray:
    """Error filters [F, order + 1] of windowed frames [F, L], autocorrelation method."""
    return levinson(autocorrelation(frames, order))


def inverse_filter(a: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Runs every row [F, L] through its own FIR filter [F, p + 1] from zero state."""
    # As small products, 16 samples at a time with a Toeplitz matrix per row: six times quicker
    # than tap after tap.
    (count, length), reach = frames.shape, a.shape[1] - 1 + _PART
    padded = np.zeros((count, reach + (-(-length // _PART) - 1) * _PART))
    padded[:, reach - _PART :][:, :length] = frames
    parts = np.ascontiguousarray(sliding_window_view(padded, reach, axis=1)[:, ::_PART])
    shifted = np.pad(a, [(0, 0), (_PART - 1, _PART - 1)])
    toeplitz = sliding_window_view(shifted, _PART, axis=1)[:, ::-1].copy()
    return (parts @ toeplitz).reshape(count, -1)[:, :length]


def lp_residual(
    x: np.ndarray, order: int, coefficients_from: np.ndarray | None = None
) -> np.ndarray:
    """Excitation of a signal: what linear prediction over 25 ms frames leaves (Makhoul 1975).

    It has the scale of the signal; frames of digital silence are NaN over all their 401 samples, as
    later stages expect.
    """
    window = open_hann(FRAME)
    source = frames_of(x, FRAME, STEP, strict=True)
    guide = source
    if coefficients_from is not None:
        guide = frames_of(coefficients_from, FRAME, STEP, strict=True)
    spread = -(-FRAME // STEP)
    rows = np.zeros((-(-len(x) // STEP) + spread, STEP))
    padded = np.zeros((_BLOCK, spread * STEP))
    for block in blocks(len(source), _BLOCK):
        frames = source[block] * window
        a = lpc(frames if guide is source else guide[block] * window, order)
        error = inverse_filter(a, frames)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.sqrt((frames**2).sum(axis=1) / (error**2).sum(axis=1))
            error *= gain[:, None]
        count = len(frames)
        padded[:count, :FRAME] = error
        for part in range(spread):
            span = slice(block.start + part, block.start + part + count)
            rows[span] += padded[:count, part * STEP : (part + 1) * STEP]
    return rows.ravel()[: len(x)]
