"""Glottal flow by iterative adaptive inverse filtering (IAIF), one frame per closure instant."""

import functools

import numpy as np
from scipy import fft
from scipy import signal as sps

from mosei_ssl.covarep.glottal import cycle_periods
from mosei_ssl.covarep.lpc import inverse_filter, lpc
from mosei_ssl.covarep.signal import SAMPLE_RATE, ragged_batches

_TRACT_ORDER = 20
_GLOTTIS_ORDER = 8
_RAMP = 21
_LEAK = 0.99
_TAPS = 301


@functools.cache
def _highpass() -> np.ndarray:
    """Linear-phase FIR that removes rumble below 40 Hz and passes speech from 70 Hz."""
    return sps.firls(_TAPS, [0, 40, 70, SAMPLE_RATE / 2], [0, 0, 1, 1], fs=SAMPLE_RATE)


def _inverse_filter_batch(frames: np.ndarray, lengths: np.ndarray) -> tuple:
    """Flow and derivative of frames [B, L] that are zero beyond their lengths."""
    width = frames.shape[1]
    j = np.arange(1, width + 1)
    window = 0.5 * (1 - np.cos(2 * np.pi * j / (lengths[:, None] + 1)))
    window[j > lengths[:, None]] = 0
    size = fft.next_fast_len(width + _TAPS - 1, real=True)
    delay = _TAPS // 2
    spectrum = fft.rfft(frames * window, size, axis=1) * fft.rfft(_highpass(), size)
    clean = fft.irfft(spectrum, size, axis=1)[:, delay : delay + width]
    clean[j > lengths[:, None]] = 0
    # The ramp lets the filters settle before the frame begins.
    ramp = clean[:, :1] * np.linspace(-1, 1, _RAMP)
    extended = np.concatenate([ramp, clean], axis=1)
    integrated = sps.lfilter([1.0], [1.0, -_LEAK], extended, axis=1)

    tilt = lpc(clean * window, 1)
    rest = inverse_filter(tilt, extended)[:, _RAMP:]
    tract = lpc(rest * window, _TRACT_ORDER)
    rest = inverse_filter(tract, integrated)[:, _RAMP:]
    glottis = lpc(rest * window, _GLOTTIS_ORDER)
    rest = inverse_filter(glottis, integrated)[:, _RAMP:]
    tract = lpc(rest * window, _TRACT_ORDER)
    derivative = inverse_filter(tract, extended)[:, _RAMP:]
    flow = inverse_filter(tract, integrated)[:, _RAMP:]
    return flow, derivative


def glottal_flow(x: np.ndarray, instants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates the air flow through the glottis and its derivative, [N] each (Alku 1992).

    A frame reaches one period to either side of its closure instant. The period is the distance to
    the instant before, so after a pause the frame is very long and overlaps earlier speech. That is
    part of the reference behaviour; limiting it changes H1H2 noticeably.
    """
    flow, derivative = np.zeros((2, len(x)))
    if len(instants) < 2:
        return flow, derivative
    periods = cycle_periods(instants)
    first = np.maximum(instants - 1 - periods, 0)
    last = np.minimum(instants - 1 + periods, len(x) - 1)
    lengths = last - first + 1
    usable = np.flatnonzero(lengths > 20)
    for batch in ragged_batches(lengths[usable], budget=100_000):
        items = usable[batch]
        width = int(lengths[items].max())
        frames = np.zeros((len(items), width))
        for row, item in enumerate(items):
            frames[row, : lengths[item]] = x[first[item] : last[item] + 1]
        results = _inverse_filter_batch(frames, lengths[items])
        for total, rows in zip((flow, derivative), results, strict=True):
            for row, item in enumerate(items):
                total[first[item] : last[item] + 1] += rows[row, : lengths[item]]
    return flow, derivative
