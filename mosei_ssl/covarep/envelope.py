"""True envelope and mel-warped cepstrum (MCEP)."""

import functools

import numpy as np
from scipy import fft

from mosei_ssl.covarep.harmonics import DFT
from mosei_ssl.covarep.signal import SAMPLE_RATE, blocks, round_half_away

MCEP_SIZE = 25
_HALF = DFT // 4
_MAX_ORDER = DFT // 2 - 1
_MAX_ITERATIONS = 200
_STOP = np.log(10) / 10
_BLOCK, _POOL = 256, 32
_MANY = 256  # cepstral coefficients beyond which FFTs are quicker than matrix products


def _fold(level: np.ndarray) -> np.ndarray:
    """Spectra [M, 2049] as [M, 2, 1025], both halves from their outer end to the middle."""
    return np.stack([level[:, : _HALF + 1], level[:, : _HALF - 1 : -1]], axis=1)


def _unfold(folded: np.ndarray) -> np.ndarray:
    return np.concatenate([folded[:, 0], folded[:, 1, -2::-1]], axis=1)


@functools.cache
def _cosines() -> tuple[np.ndarray, np.ndarray]:
    """Cosines for the last coefficient and the even ones of the first 256, and for the odd ones."""
    angle = np.pi * np.arange(_HALF + 1)[:, None] / (DFT // 2)
    number = np.arange(_MANY)
    return np.cos(angle * [DFT // 2, *number[::2]]), np.cos(angle * number[1::2])


class _CosineTransform:
    """Real cepstrum of folded log spectra and back, for the first few coefficients only.

    The spectra are even, so the transforms are cosine sums, folded at a quarter of the period: two
    small products, which beat FFTs.
    """

    def __init__(self, size: int):
        even, odd = _cosines()
        self.size = size
        self._even, self._odd = even[:, : 1 + -(-size // 2)], odd[:, : size // 2]

    def cepstrum(self, folded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cepstra b (b_0 = kappa_0, b_j = 2 kappa_j) [M, size], and the very last kappa [M]."""
        total, difference = folded[:, 0] + folded[:, 1], folded[:, 0] - folded[:, 1]
        total[:, ::_HALF] *= 0.5
        difference[:, 0] *= 0.5
        result, even = np.empty((len(folded), self.size)), total @ self._even
        result[:, ::2], result[:, 1::2] = even[:, 1:], difference @ self._odd
        result *= 4 / DFT
        result[:, 0] *= 0.5
        return result, even[:, 0] * (2 / DFT)

    def spectrum(self, cepstra: np.ndarray) -> np.ndarray:
        """Folded log spectra of one-sided cepstra, [M, size] to [M, 2, 1025]."""
        even = cepstra[:, ::2] @ self._even[:, 1:].T
        odd = cepstra[:, 1::2] @ self._odd.T
        result = np.empty((len(cepstra), 2, _HALF + 1))
        np.add(even, odd, out=result[:, 0])
        np.subtract(even, odd, out=result[:, 1])
        return result


class _FourierTransform:
    """The same by FFT, for the thousands of coefficients of frames without a pitch."""

    def __init__(self, size: int):
        self.size = size

    def cepstrum(self, folded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = fft.irfft(_unfold(folded), DFT, axis=1)
        result[:, 1 : DFT // 2] *= 2
        return result[:, : self.size], result[:, DFT // 2]

    def spectrum(self, cepstra: np.ndarray) -> np.ndarray:
        return _fold(fft.rfft(cepstra, DFT, axis=1).real)


def _order(number: np.ndarray) -> np.ndarray:
    return np.minimum(round_half_away(number), _MAX_ORDER).astype(int)


def _iterate(level: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Raises smooth spectra until they lie over all peaks (2 dB), frame by frame; all folded."""
    j = np.arange(int(order.max()) + 1)
    tapers = np.where(
        j <= order[:, None], 0.54 + 0.46 * np.cos(np.pi * j / np.maximum(order, 1)[:, None]), 0.0
    )
    result = np.empty_like(level)
    # A pool that stays in the cache and full: a frame that is done makes room for the next.
    running = np.arange(min(len(level), _POOL))
    waiting = len(running)
    target, current, taper = level[running], level[running], tapers[running]
    state, age = np.zeros(taper.shape), np.zeros(len(running), dtype=int)
    gap = np.empty_like(target)
    while len(running):
        size = int(order[running].max()) + 1
        transform = _CosineTransform(size) if size <= _MANY else _FourierTransform(size)
        cepstra, last = transform.cepstrum(current)
        inside = np.where(taper[:, :size] > 0, cepstra, 0.0)
        power = np.einsum("ij,ij->i", inside, inside)
        # The energy of the coefficients beyond, by Parseval and without computing them. The
        # folded spectra hold the middle bin twice.
        total = np.einsum("ijk,ijk->i", current, current) - current[:, 0, -1] ** 2
        total -= (current[:, :, 0] ** 2).sum(axis=1) / 2
        beyond = 2 * (total * 2 / DFT - last**2) - power - cepstra[:, 0] ** 2
        beyond = np.where(order[running] < _MAX_ORDER, beyond, 0.0)
        within = np.sqrt(power)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (within + np.sqrt(np.maximum(beyond, 0))) / within
        state[:, :size] += gain[:, None] * taper[:, :size] * (cepstra - state[:, :size])
        smooth = transform.spectrum(state[:, :size])
        np.subtract(target, smooth, out=gap[: len(target)])
        age += 1
        done = ~(gap[: len(target)].max(axis=(1, 2)) > _STOP) | (age == _MAX_ITERATIONS)
        np.maximum(current, smooth, out=current)
        if done.any():
            result[running[done]] = smooth[done]
            free = np.flatnonzero(done)
            new = np.arange(waiting, min(waiting + len(free), len(level)))
            waiting += len(new)
            free, unused = free[: len(new)], free[len(new) :]
            running[free], state[free], age[free], taper[free] = new, 0, 0, tapers[new]
            target[free] = current[free] = level[new]
            if len(unused):
                keep = np.delete(np.arange(len(running)), unused)
                running, age, taper = running[keep], age[keep], taper[keep]
                target, current, state = target[keep], current[keep], state[keep]
    return result


def true_envelope(level: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Smooth ln spectra [M, 2049] through the peaks of the harmonics (Röbel & Rodet 2005)."""
    # It resolves the formants but not the harmonics.
    order = _order(1.2 * _order(SAMPLE_RATE / 2 / f0))
    result = np.empty_like(level)
    by_order = np.argsort(order, kind="stable")
    for block in blocks(len(by_order), _BLOCK):
        rows = by_order[block]
        part = _fold(level[rows])
        rough = _iterate(part, _order(1.2 * round_half_away(order[rows] / 2)))
        # Below the first harmonic (and at the mirror end) peaks say nothing: start from the
        # rougher envelope there.
        reach = round_half_away(1024 / order[rows])[:, None, None] - [[0], [1]]
        part = np.where(np.arange(_HALF + 1) < reach, rough, part)
        result[rows] = _unfold(_iterate(part, order[rows]))
    return result


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
    warped = amplitude[:, left]
    warped += weight * (amplitude[:, left + 1] - warped)
    with np.errstate(divide="ignore"):
        return np.log(warped) @ _cepstrum_matrix(amplitude.shape[1], count)


def mcep(level: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Mel-cepstra [M, 25] of the true envelope of ln magnitudes [M, 2049] (Imai 1983)."""
    result = np.empty((len(level), MCEP_SIZE))
    for block in blocks(len(level), 512):
        envelope = true_envelope(level[block], f0[block])
        result[block] = mel_cepstrum(np.exp(envelope), MCEP_SIZE)
    return result
