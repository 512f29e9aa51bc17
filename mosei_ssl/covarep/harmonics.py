"""Harmonic analysis of speech: frequency, amplitude and phase of every partial per frame."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from mosei_ssl.covarep.pitch import FIRST_CENTRE
from mosei_ssl.covarep.signal import (
    HOP,
    SAMPLE_RATE,
    blackman,
    parabola,
    round_half_away,
    row_maxima,
    wrap,
)

DFT = 4096
_PERIODS = 3


@dataclass
class Harmonics:
    """Harmonics of M frames; entries of a row beyond ``count`` mean nothing."""

    f0: np.ndarray  # F0 the analysis used, Hz, [M]
    spacing: np.ndarray  # median distance of neighbouring partials, Hz, [M]
    count: np.ndarray  # harmonics above zero per frame, K, int [M]
    amplitude: np.ndarray  # [M, 1 + K_max], column h is harmonic h (0 is DC)
    phase: np.ndarray  # radians, [M, 1 + K_max]

    def take(self, rows: np.ndarray) -> "Harmonics":
        """The harmonics of some of the frames."""
        return Harmonics(*(values[rows] for values in vars(self).values()))


def window_lengths(f0: np.ndarray) -> np.ndarray:
    """Samples of the analysis window, three periods and odd."""
    return 2 * round_half_away(_PERIODS * SAMPLE_RATE / f0 / 2).astype(int) + 1


def kept_frames(n_samples: int, f0: np.ndarray) -> np.ndarray:
    """Numbers of the pitch frames whose analysis window lies inside the signal."""
    centre = FIRST_CENTRE + 1 + HOP * np.arange(len(f0))
    half = window_lengths(f0) // 2
    return np.flatnonzero((centre - half >= 0) & (centre + half <= n_samples - 1))


def _spectra(x: np.ndarray, centre: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Half spectra [M, 2049] with the window's centre as the origin of phase."""
    length = window_lengths(f0)
    buffer = np.zeros((len(f0), DFT))
    for value in np.unique(length):
        rows = np.flatnonzero(length == value)
        half = value // 2
        window = blackman(value)
        window /= window.sum()
        start = centre[rows] - half
        if value <= DFT:
            frames = np.lib.stride_tricks.sliding_window_view(x, value)[start] * window
            buffer[rows, : half + 1] = frames[:, half:]
            buffer[rows, DFT - half :] = frames[:, :half]
        else:
            # Longer than the transform (F0 near 1 Hz): cut off, delayed by the full half window.
            frames = np.stack([x[s : s + DFT] * window[:DFT] for s in start])
            buffer[rows] = np.roll(frames, -half, axis=1)
    return fft.rfft(buffer, axis=1)


def _nearest_peak(rows, position, targets_row, targets) -> np.ndarray:
    """Index of the peak nearest to each target within its row; -1 where a row has none."""
    if len(rows) == 0:
        return np.full(len(targets), -1)
    stride = 2.0 * DFT
    key = rows * stride + position
    after = np.searchsorted(key, targets_row * stride + targets)
    before = np.clip(after - 1, 0, len(key) - 1)
    after = np.clip(after, 0, len(key) - 1)

    def distance(index: np.ndarray) -> np.ndarray:
        away = np.abs(position[index] - targets)
        return np.where(rows[index] == targets_row, away, np.inf)

    best = np.where(distance(before) <= distance(after), before, after)
    return np.where(np.isfinite(distance(best)), best, -1)


def analyse(x: np.ndarray, frames: np.ndarray, f0: np.ndarray) -> tuple[Harmonics, np.ndarray]:
    """Harmonics of frames that :func:`kept_frames` allows, and their ln magnitudes [M, 2049].

    After Degottex & Stylianou 2013.
    """
    spectra = _spectra(x, FIRST_CENTRE + 1 + HOP * frames, f0)
    with np.errstate(divide="ignore"):
        level = np.log(np.abs(spectra))
    peak_rows, peak_bins = row_maxima(level)
    offset, height = parabola(*(level[peak_rows, peak_bins + k] for k in (-1, 0, 1)))
    peak_place = peak_bins + offset

    step = DFT * f0 / SAMPLE_RATE
    count = round_half_away((SAMPLE_RATE / 2 - f0 / 2) / f0).astype(int)
    rows = np.repeat(np.arange(len(f0)), count)
    starts = np.cumsum(count) - count
    number = np.arange(len(rows)) - starts[rows] + 1
    place = number * step[rows]
    logs = level[rows, round_half_away(place).astype(int)]
    # In hertz from the start: a spacing of exactly F0 must come out exact, it decides whether
    # the top harmonic still lies below 8 kHz.
    hertz = number * f0[rows]
    nearest = _nearest_peak(peak_rows, peak_place, rows, place)
    if len(peak_rows):
        close = (nearest >= 0) & (np.abs(peak_place[nearest] - place) < step[rows] / 2)
        place = np.where(close, peak_place[nearest], place)
        hertz = np.where(close, peak_place[nearest] * (SAMPLE_RATE / DFT), hertz)
        logs = np.where(close, height[nearest], logs)

    low = np.minimum(np.floor(place).astype(int), DFT // 2 - 1)
    angle_low, angle_high = np.angle(spectra[rows, low]), np.angle(spectra[rows, low + 1])
    phases = wrap(angle_low + (place - low) * wrap(angle_high - angle_low))

    width = int(count.max(initial=0)) + 1
    amplitude = np.ones((len(f0), width))
    phase = np.zeros((len(f0), width))
    gaps = np.full((len(f0), width - 1), np.nan)
    amplitude[:, 0], phase[:, 0] = np.abs(spectra[:, 0]), np.angle(spectra[:, 0])
    amplitude[rows, number], phase[rows, number] = np.exp(logs), phases
    gaps[rows, number - 1] = hertz - np.where(number > 1, np.roll(hertz, 1), 0.0)
    spacing = np.nanmedian(gaps, axis=1) if len(f0) else np.zeros(0)
    return Harmonics(f0, spacing, count, amplitude, phase), level
