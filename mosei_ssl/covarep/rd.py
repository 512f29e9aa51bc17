"""Glottal shape parameter Rd by the mean squared phase difference."""

import functools

import numpy as np
from scipy import fft

from mosei_ssl.covarep.brent import minimise
from mosei_ssl.covarep.harmonics import Harmonics
from mosei_ssl.covarep.lf_model import RD_MAX, RD_MIN, pulse_spectrum
from mosei_ssl.covarep.signal import SAMPLE_RATE, wrap

# Where the search begins, and ends if there is nothing to fit.
RD_START = RD_MIN + 0.5 * (3 - 5**0.5) * (RD_MAX - RD_MIN)
HARMONICS = 8  # whose phases are compared
_TOLERANCE = 0.01
_EVALUATIONS = 32
# Shapes at which pulses are computed once; cubics in between are within 2e-5 rad.
_GRID = np.linspace(RD_MIN, RD_MAX, 512)
_COMMON = 160  # harmonics of the lowest voice, 50 Hz


@functools.lru_cache(maxsize=512)
def _minimum_phase_weights(count: int) -> np.ndarray:
    """Weights [8, H - 2] from ln magnitudes of harmonics to the minimum phase of the first eight.

    The phase of the folded cepstrum is linear in the ln magnitudes, so the transforms become one
    matrix. DC counts as harmonic 1 and the last one as its neighbour; ``count`` is H, with DC.
    """
    n = np.arange(count)
    sines = np.sin(np.pi * np.outer(np.arange(1, HARMONICS + 1), n) / (count - 1))
    sines[:, [0, -1]] = 0
    weights = -fft.dct(sines, type=1, axis=1) / (count - 1)
    weights[:, [0, -1]] /= 2
    weights[:, 1] += weights[:, 0]
    weights[:, -2] += weights[:, -1]
    return weights[:, 1:-1]


@functools.lru_cache(maxsize=1)
def _pulses(harmonics: int) -> tuple[np.ndarray, np.ndarray]:
    """Ln magnitudes [G, harmonics] and phases [G, 8] of the pulses on the grid of shapes."""
    sizes, angles = [], []
    for rd in np.array_split(_GRID, 32):
        spectra = pulse_spectrum(rd, harmonics)
        sizes.append(np.log(np.abs(spectra)))
        angles.append(np.angle(spectra[:, :HARMONICS]))
    return np.concatenate(sizes), np.unwrap(np.concatenate(angles), axis=0)


@functools.lru_cache(maxsize=512)
def _pulse_phases(count: int) -> np.ndarray:
    """What a pulse adds to the phases of the first eight of ``count`` harmonics, [G, 8]."""
    size, phases = _pulses(max(count, _COMMON))
    return phases + size[:, : count - 2] @ _minimum_phase_weights(count).T


def _cost(rd: np.ndarray, base: np.ndarray, pulses: np.ndarray, pulse: np.ndarray) -> np.ndarray:
    """Mean squared difference of neighbouring phases once a pulse of shape Rd is taken out."""
    place = (rd - RD_MIN) / (_GRID[1] - RD_MIN)
    start = np.clip(place.astype(int) - 1, 0, len(_GRID) - 4)
    t = (place - start)[:, None]
    cubics = (
        (t - 1) * (t - 2) * (3 - t) / 6,
        t * (t - 2) * (t - 3) / 2,
        t * (t - 1) * (3 - t) / 2,
        t * (t - 1) * (t - 2) / 6,
    )
    phase = base + sum(cubic * pulses[pulse, start + k] for k, cubic in enumerate(cubics))
    difference = wrap(phase[:, 1:] - phase[:, :-1] - phase[:, :1])
    return (difference**2).mean(axis=1)


def source_phases(harmonics: Harmonics) -> tuple[np.ndarray, np.ndarray]:
    """Phases of the first eight harmonics without the minimum phase of all, [M, 8] radians.

    With them how many harmonics there are below 8 kHz, DC among them, int [M].
    """
    number = np.arange(1, harmonics.amplitude.shape[1])
    inside = (number * harmonics.spacing[:, None] <= SAMPLE_RATE / 2) & (
        number <= harmonics.count[:, None]
    )
    count = 1 + inside.sum(axis=1)
    phases = np.full((len(count), HARMONICS), np.nan)
    for total in np.unique(count[count > HARMONICS + 1]):
        rows = count == total
        size = np.log(harmonics.amplitude[rows, 1 : total - 1])
        minimum = size @ _minimum_phase_weights(int(total)).T
        phases[rows] = harmonics.phase[rows, 1 : HARMONICS + 1] - minimum
    return phases, count


def glottal_shape(phases: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rd within [0.3, 2.5] and its confidence in [0, 1] of :func:`source_phases`, [M] each.

    Where nothing can be fitted they are :data:`RD_START` and NaN (Degottex et al. 2011).
    """
    shape, confidence = np.full(len(count), RD_START), np.full(len(count), np.nan)
    usable = np.flatnonzero(np.isfinite(phases).all(axis=1))
    counts, pulse = np.unique(count[usable], return_inverse=True)
    if len(counts):
        pulses = np.stack([_pulse_phases(int(c)) for c in counts])
        cost = functools.partial(_cost, base=phases[usable], pulses=pulses, pulse=pulse)
        shape[usable], least = minimise(cost, len(usable), RD_MIN, RD_MAX, _TOLERANCE, _EVALUATIONS)
        confidence[usable] = 1 - np.sqrt(least) / np.pi
    return shape, confidence
