"""True envelope and mel-warped cepstrum (MCEP)."""

import functools

import numpy as np
from scipy import fft

from mosei_ssl.covarep.harmonics import DFT
from mosei_ssl.covarep.signal import SAMPLE_RATE, round_half_away

MCEP_SIZE = 25
_BINS = DFT // 2 + 1
_MAX_ORDER = DFT // 2 - 1
_MAX_ITERATIONS = 200
_STOP = np.log(10) / 10
_MANY = 256  # cepstral coefficients from which FFTs are quicker than matrix products


class _CosineTransform:
    """Real cepstrum of log spectra and back, for the first few coefficients only.

    The spectra are even, so the transforms are cosine sums, folded at a quarter of the period: two
    small products, which beat FFTs.
    """

    def __init__(self, size: int):
        half = DFT // 4
        angle = np.pi * np.arange(half + 1)[:, None] / (DFT // 2)
        self.size = size
        self._half = half
        self._even = np.cos(angle * np.arange(0, size, 2)).astype(np.float32)
        self._odd = np.cos(angle * np.arange(1, size, 2)).astype(np.float32)

    def cepstrum(self, level: np.ndarray) -> np.ndarray:
        """Cepstra b (b_0 = kappa_0, b_j = 2 kappa_j), [M, 2049] to [M, size]."""
        half = self._half
        mirrored = level[:, :half:-1]
        total, difference = np.empty((2, len(level), half + 1), np.float32)
        np.add(level[:, :half], mirrored, out=total[:, :half])
        np.subtract(level[:, :half], mirrored, out=difference[:, :half])
        total[:, half] = level[:, half]
        difference[:, half] = 0
        total[:, 0] *= 0.5
        difference[:, 0] *= 0.5
        result = np.empty((len(level), self.size), np.float32)
        result[:, ::2] = total @ self._even
        result[:, 1::2] = difference @ self._odd
        result *= 4 / DFT
        result[:, 0] *= 0.5
        return result

    def spectrum(self, cepstra: np.ndarray) -> np.ndarray:
        """Log spectra of one-sided cepstra, [M, size] to [M, 2049]."""
        even = cepstra[:, ::2] @ self._even.T
        odd = cepstra[:, 1::2] @ self._odd.T
        result = np.empty((len(cepstra), _BINS), np.float32)
        np.add(even, odd, out=result[:, : self._half + 1])
        np.subtract(even[:, :-1], odd[:, :-1], out=result[:, : self._half : -1])
        return result


class _FourierTransform:
    """The same by FFT, for the thousands of coefficients of frames without a pitch."""

    def __init__(self, size: int):
        self.size = size

    def cepstrum(self, level: np.ndarray) -> np.ndarray:
        result = fft.irfft(level, DFT, axis=1)[:, : self.size]
        result[:, 1:] *= 2
        return result

    def spectrum(self, cepstra: np.ndarray) -> np.ndarray:
        return fft.rfft(cepstra, DFT, axis=1).real


_cosine_transform = functools.lru_cache(maxsize=16)(_CosineTransform)


def _transform_for(size: int) -> _CosineTransform | _FourierTransform:
    """The quickest transform with at least ``size`` coefficients."""
    if size > _MANY:
        return _FourierTransform(size)
    return _cosine_transform(-(-size // 16) * 16)


def _order(number: np.ndarray) -> np.ndarray:
    return np.minimum(round_half_away(number), _MAX_ORDER).astype(int)


def _iterate(level: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Raises smooth spectra until they lie over all peaks (2 dB), frame by frame."""
    transform = _transform_for(int(order.max()) + 1)
    j = np.arange(transform.size)
    taper = np.where(
        j <= order[:, None], 0.54 + 0.46 * np.cos(np.pi * j / np.maximum(order, 1)[:, None]), 0.0
    ).astype(np.float32)
    result = np.empty_like(level)
    running = np.arange(len(level))
    target, current = level, level.copy()
    state = np.zeros((len(level), transform.size), np.float32)
    gap = np.empty_like(level)
    ends = np.where(np.arange(_BINS) % 2 == 0, 1.0, -1.0).astype(np.float32)
    ends[[0, -1]] /= 2
    for iteration in range(_MAX_ITERATIONS):
        cepstra = transform.cepstrum(current)
        inside = np.where(taper > 0, cepstra, 0.0)
        power = np.einsum("ij,ij->i", inside, inside)
        # The energy of the coefficients beyond, by Parseval and without computing them.
        total = np.einsum("ij,ij->i", current, current)
        total -= (current[:, 0] ** 2 + current[:, -1] ** 2) / 2
        last = current @ ends / (DFT // 2)
        beyond = 2 * (total * 2 / DFT - last**2) - power - cepstra[:, 0] ** 2
        beyond = np.where(order[running] < _MAX_ORDER, beyond, 0.0)
        within = np.sqrt(power)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (within + np.sqrt(np.maximum(beyond, 0))) / within
        state += gain[:, None] * taper * (cepstra - state)
        smooth = transform.spectrum(state)
        np.subtract(target, smooth, out=gap[: len(target)])
        done = ~(gap[: len(target)].max(axis=1) > _STOP)
        if iteration == _MAX_ITERATIONS - 1:
            done[:] = True
        if done.any():
            result[running[done]] = smooth[done]
            going = ~done
            if not going.any():
                break
            running, target, current = running[going], target[going], current[going]
            state, taper, smooth = state[going], taper[going], smooth[going]
        np.maximum(current, smooth, out=current)
    return result


def true_envelope(level: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Smooth ln spectra [M, 2049] through the peaks of the harmonics (Röbel & Rodet 2005)."""
    # It resolves the formants but not the harmonics.
    order = _order(1.2 * _order(SAMPLE_RATE / 2 / f0))
    rough = _iterate(level, _order(1.2 * round_half_away(order / 2)))
    # Below the first harmonic (and at the mirror end) peaks say nothing: start from the rougher
    # envelope there.
    reach = round_half_away(1024 / order).astype(int)[:, None]
    column = np.arange(_BINS)
    return _iterate(np.where((column < reach) | (column >= 2050 - reach), rough, level), order)


@functools.cache
def mel_warp(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where to read a spectrum of ``size`` bins so that its axis becomes mel: index, weight."""
    frequency = np.linspace(0, SAMPLE_RATE / 2, size)
    warped = SAMPLE_RATE / 2 * np.log1p(frequency / 700) / np.log1p(SAMPLE_RATE / 1400)
    left = np.clip(np.searchsorted(warped, frequency, side="right") - 1, 0, size - 2)
    weight = (frequency - warped[left]) / (warped[left + 1] - warped[left])
    left[-1], weight[-1] = size - 2, 1.0
    return left, weight


@functools.cache
def _cepstrum_matrix(size: int, count: int) -> np.ndarray:
    """Matrix from log spectra of ``size`` bins to ``count`` one-sided cepstral coefficients."""
    matrix = np.cos(np.pi * np.outer(np.arange(size), np.arange(count)) / (size - 1))
    matrix *= 2 / (size - 1)
    matrix[[0, -1]] /= 2
    matrix[:, 0] /= 2
    return matrix


def mel_cepstrum(amplitude: np.ndarray, count: int) -> np.ndarray:
    """One-sided cepstra [M, count] of amplitudes from 0 to 8 kHz [M, bins] on a mel axis."""
    left, weight = mel_warp(amplitude.shape[1])
    matrix = _cepstrum_matrix(amplitude.shape[1], count)
    warped = amplitude[:, left]
    warped += weight.astype(warped.dtype) * (amplitude[:, left + 1] - warped)
    with np.errstate(divide="ignore"):
        return np.log(warped) @ matrix.astype(warped.dtype)


def mcep(level: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Mel-cepstra [M, 25] of the true envelope of ln magnitudes [M, 2049] (Imai 1983)."""
    return mel_cepstrum(np.exp(true_envelope(level.astype(np.float32), f0)), MCEP_SIZE)
