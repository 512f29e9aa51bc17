"""Glottal shape parameter Rd by the mean squared phase difference."""

import functools

import numpy as np
from scipy import fft

from mosei_ssl.covarep.brent import minimise
from mosei_ssl.covarep.harmonics import Harmonics
from mosei_ssl.covarep.lf_model import RD_MAX, RD_MIN, pulse_spectrum
from mosei_ssl.covarep.signal import SAMPLE_RATE, ragged_batches, wrap

# Where the search begins, and ends if there is nothing to fit.
RD_START = RD_MIN + 0.5 * (3 - 5**0.5) * (RD_MAX - RD_MIN)
_USED = 8
_TOLERANCE = 0.01
_EVALUATIONS = 32


@functools.lru_cache(maxsize=512)
def _minimum_phase_weights(count: int) -> np.ndarray:
    """Weights [8, H - 2] from ln magnitudes of harmonics to the minimum phase of the first eight.

    The phase of the folded cepstrum is linear in the ln magnitudes, so the transforms become one
    matrix. DC counts as harmonic 1 and the last one as its neighbour; ``count`` is H, with DC.
    """
    n = np.arange(count)
    sines = np.sin(np.pi * np.outer(np.arange(1, _USED + 1), n) / (count - 1))
    sines[:, [0, -1]] = 0
    weights = -fft.dct(sines, type=1, axis=1) / (count - 1)
    weights[:, [0, -1]] /= 2
    weights[:, 1] += weights[:, 0]
    weights[:, -2] += weights[:, -1]
    return weights[:, 1:-1]


def _cost(rd: np.ndarray, base: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared difference of neighbouring phases once a pulse of shape Rd is taken out."""
    spectrum = pulse_spectrum(rd, weights.shape[2])
    size = np.log(spectrum.real**2 + spectrum.imag**2) / 2
    phase = base + np.angle(spectrum[:, :_USED]) + (weights @ size[:, :, None])[:, :, 0]
    difference = wrap(phase[:, 1:] - phase[:, :-1] - phase[:, :1])
    return (difference**2).mean(axis=1)


def glottal_shape(harmonics: Harmonics) -> tuple[np.ndarray, np.ndarray]:
    """Rd within [0.3, 2.5] and its confidence in [0, 1] (Degottex et al. 2011).

    Where nothing can be fitted they are :data:`RD_START` and NaN.
    """
    number = np.arange(1, harmonics.amplitude.shape[1])
    inside = (number * harmonics.spacing[:, None] <= SAMPLE_RATE / 2) & (
        number <= harmonics.count[:, None]
    )
    count = 1 + inside.sum(axis=1)
    shape, confidence = np.full(len(count), RD_START), np.full(len(count), np.nan)
    usable = np.flatnonzero(count > _USED + 1)
    for batch in ragged_batches(count[usable], budget=60_000):
        rows = usable[batch]
        width = int(count[rows].max()) - 2
        weights = np.zeros((len(rows), _USED, width))
        for row, total in enumerate(count[rows]):
            weights[row, :, : total - 2] = _minimum_phase_weights(int(total))
        with np.errstate(divide="ignore"):
            size = np.log(harmonics.amplitude[rows, 1 : width + 1])
        with np.errstate(invalid="ignore"):
            fixed = (weights @ size[:, :, None])[:, :, 0]
            base = harmonics.phase[rows, 1 : _USED + 1] - fixed
            found, cost = minimise(
                functools.partial(_cost, base=base, weights=weights),
                len(rows),
                RD_MIN,
                RD_MAX,
                _TOLERANCE,
                _EVALUATIONS,
            )
        shape[rows] = found
        confidence[rows] = 1 - np.sqrt(cost) / np.pi
    return shape, confidence
