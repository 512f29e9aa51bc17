"""The 36 acoustic measures from which creaky voice is estimated, every 10 ms."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage
from scipy import signal as sps

from mosei_ssl.covarep.signal import (
    HOP,
    SAMPLE_RATE,
    blocks,
    frames_of,
    local_maxima,
    median_filter,
    moving_average,
    open_hann,
    round_half_away,
    zero_phase,
)

_LONG = 800
_SHORT = 512
_BLOCK = 128


def _resonate(residual: np.ndarray, centre: float, radius: float) -> np.ndarray:
    a = [1.0, -2 * radius * np.cos(2 * np.pi * centre / SAMPLE_RATE), radius**2]
    return sps.lfilter([1.0], a, residual)


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    size = fft.next_fast_len(2 * frames.shape[1], real=True)
    spectrum = fft.rfft(frames, size, axis=1)
    return fft.irfft(spectrum.real**2 + spectrum.imag**2, size, axis=1)[:, : frames.shape[1]]


def _fourier_sum(rows: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Sums of rows times exp(1j n angle), n = 0.., with few exponentials: 32 entries at a time."""
    parts = np.pad(rows, [(0, 0), (0, -rows.shape[1] % 32)]).reshape(len(rows), -1, 32)
    fine = angle[:, None] * np.arange(32)
    coarse = angle[:, None] * np.arange(0, 32 * parts.shape[1], 32)
    sums = parts @ np.stack([np.cos(fine), np.sin(fine)], axis=2) @ [1, 1j]
    return (sums * np.exp(1j * coarse)).sum(axis=1)


def _harmonic_balance(wide: np.ndarray, narrow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H2-H1 of the resonated residual in dB, and the frequency (Hz) it was read at."""
    window = open_hann(_LONG)
    lag = np.arange(1, _LONG)
    wide_frames = frames_of(wide, _LONG, HOP, strict=True)
    narrow_frames = frames_of(narrow, _LONG, HOP, strict=True)
    balance, frequency = np.zeros((2, len(wide_frames)))
    for block in blocks(len(wide_frames), _BLOCK):
        correlation = _autocorrelation(wide_frames[block] * window)[:, 1:]
        correlation *= (_LONG - 1) / (_LONG - lag)
        leading = np.logical_and.accumulate(correlation > 0, axis=1)
        correlation[leading] = 0
        best = np.maximum(correlation.argmax(axis=1) + 1, 5)
        frequency[block] = round_half_away(SAMPLE_RATE / best)
        correlation = _autocorrelation(narrow_frames[block] * window**2)[:, 1:]
        level = []
        for bins in (frequency[block] - 1, 2 * frequency[block] - 1):
            level.append(np.abs(_fourier_sum(correlation, 2 * np.pi / SAMPLE_RATE * bins)))
        with np.errstate(divide="ignore", invalid="ignore"):
            balance[block] = 20 * np.log10(level[1] / level[0])
    return balance, frequency


def _log_energy(x: np.ndarray) -> np.ndarray:
    frames = frames_of(x, _SHORT, 80, strict=True)
    weight = open_hann(_SHORT) ** 2
    energy = np.concatenate(
        [(frames[b] ** 2) @ weight / _SHORT for b in blocks(len(frames), 1024)] or [[]]
    )
    # Digital silence counts as quiet as 16 bits can tell.
    return np.log(np.maximum(energy, 2.0**-32))


def _peak_prominence(
    wide: np.ndarray, energy: np.ndarray, typical_f0: float, offset: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """How far each residual peak stands out of its surroundings; values and positions."""
    n = len(wide)
    # Exactly 100 Hz, or nothing voiced, has a limit apart.
    limits = ((typical_f0 > 100, 90), (85 <= typical_f0 < 100, 65), (typical_f0 < 85, 55))
    lowest = next((limit for holds, limit in limits if holds), 80)
    width = 2 * int(round_half_away(SAMPLE_RATE / lowest))
    half = width // 2
    frames = frames_of(wide, width, 320)
    values = np.zeros(max(len(frames), int(round_half_away(n / width))))
    start = 320 * np.arange(len(frames))
    if len(frames):
        centre = start + np.abs(frames).argmax(axis=1) + 1
        inside = np.flatnonzero((centre - half >= 0) & (centre + half <= n - 1))
        segment = wide[centre[inside, None] + np.arange(-half, half + 1)]
        extreme = np.take_along_axis(segment, np.abs(segment).argmax(axis=1)[:, None], axis=1)
        segment = segment * np.where(extreme < 0, -1.0, 1.0)
        top = segment.argmax(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            segment /= segment.max(axis=1, keepdims=True)
        reach = round_half_away(np.array([half - 0.2 * width, half + 0.2 * width])).astype(int)
        segment[:, reach[0] - 1 : reach[1]] = 0
        rest = np.maximum(segment, 0).max(axis=1)
        # Quiet places have no pulses worth the name.
        frames_in_all = max((length - _SHORT - 1) // 80, 1)
        place = (offset + start[inside] + top) * (frames_in_all / max(length - 1, 1))
        slot = round_half_away(place).astype(int) - offset // 80
        slot = np.clip(slot, 0, max(len(energy) - 1, 0))
        loudest = ndimage.maximum_filter1d(energy, 161, mode="constant", cval=-np.inf)
        with np.errstate(invalid="ignore"):
            loud = energy[slot] >= loudest[slot] - 4
        values[inside] = np.where(loud & np.isfinite(rest), 1 - rest, 0.0)
    return median_filter(values, 5)[: len(start)], start + half


def _zero_crossings(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    crossing = np.concatenate([[0], np.cumsum((x[1:] >= 0) != (x[:-1] >= 0))])
    start = np.arange(0, max(len(x) - _SHORT + 1, 0), 80)
    changes = crossing[start + _SHORT - 1] - crossing[start]
    return changes / _SHORT * 16, start + _SHORT // 2 + 80


@functools.cache
def _band() -> tuple[np.ndarray, np.ndarray]:
    order, edges = sps.buttord([100, 1500], [50, 3000], 3, 40, fs=SAMPLE_RATE)
    return sps.butter(order, edges, btype="bandpass", fs=SAMPLE_RATE)


def _periodicity(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How well each 32 ms frame repeats at all multiples of its period."""
    frames = frames_of(y, _SHORT, HOP)
    values = np.zeros(len(frames))
    lags = 241
    for block in blocks(len(frames), _BLOCK):
        correlation = _autocorrelation(frames[block])
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = correlation[:, :lags] / correlation[:, :1]
        correlation[:, :16] = 0
        entry = np.arange(1, lags + 1)
        correlation *= _SHORT / (_SHORT - entry)
        correlation = np.nan_to_num(correlation)
        widest = ndimage.maximum_filter1d(correlation, 33, axis=1, mode="constant", cval=-np.inf)
        period = correlation.argmax(axis=1) + 1
        lowest = np.full(len(period), np.inf)
        for multiple in range(1, lags // 17 + 1):
            place = multiple * period
            at = np.take_along_axis(widest, np.minimum(place, lags)[:, None] - 1, axis=1)[:, 0]
            lowest = np.where(place < lags, np.minimum(lowest, at), lowest)
        values[block] = np.where(np.isfinite(lowest), lowest, 0.0)
    if len(values) > 3:
        weak = values < 0.5
        stop = len(values) - 3
        values[:stop][weak[1 : stop + 1] | weak[2 : stop + 2]] = 0
    return np.clip(values, 0, 1), HOP * np.arange(len(values)) + _SHORT // 2


def _power(x: np.ndarray) -> np.ndarray:
    """Mean square of 4 ms frames every 2 ms, as 20 log10."""
    squares = x[: len(x) // 32 * 32] ** 2
    halves = squares.reshape(-1, 32).sum(axis=1)
    with np.errstate(divide="ignore"):
        return 20 * np.log10((halves[1:] + halves[:-1]) / 64)


def _similarity(y: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Largest normalised cross-correlation of each pulse with the one before."""
    result = np.zeros(len(place))
    near = np.zeros(len(place), dtype=bool)
    near[1:] = np.diff(place) <= 1600
    inside = (place >= 120) & (place + 120 < len(y))
    near[1:] &= inside[1:] & inside[:-1]
    for block in blocks(int(near.sum()), _BLOCK):
        items = np.flatnonzero(near)[block]
        reach = np.arange(-120, 121)
        one, other = y[place[items, None] + reach], y[place[items - 1, None] + reach]
        cross = fft.irfft(fft.rfft(one, 512) * np.conj(fft.rfft(other, 512)), 512)
        with np.errstate(divide="ignore", invalid="ignore"):
            norm = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
            result[items] = np.nan_to_num(cross.max(axis=1) / norm)
    return result


def _pulses(y: np.ndarray, query: np.ndarray, highest: float) -> np.ndarray:
    """Similarity, power fall and power rise of the power peak that follows each query."""
    level = _power(y)
    result = np.zeros((3, len(query)))
    peaks = local_maxima(level)
    peaks = peaks[(peaks >= 3) & (peaks < len(level) - 3)]
    with np.errstate(invalid="ignore"):
        stands_out = np.minimum(level[peaks] - level[peaks - 3], level[peaks] - level[peaks + 3])
        peaks = peaks[(stands_out >= 2) & (level[peaks] >= highest - 30)]
    if len(peaks) < 3:
        return result
    padded = np.pad(level, 5, constant_values=np.inf)
    before = np.min([padded[peaks + k] for k in range(5)], axis=0)
    after = np.min([padded[peaks + k] for k in range(6, 11)], axis=0)
    place = 32 * peaks + 32
    values = np.stack([_similarity(y, place), level[peaks] - after, level[peaks] - before])
    following = np.searchsorted(place, query)
    known = following < len(place)
    index = np.minimum(following, len(place) - 1)
    known &= place[index] - query < 560
    return np.where(known, values[:, index], 0.0)


def _power_deviation(x: np.ndarray) -> np.ndarray:
    level = _power(x)
    finite = level[np.isfinite(level)]
    if len(finite) == 0:
        return np.zeros(len(level))
    level = np.where(np.isfinite(level), level, finite.min())
    result = np.zeros(len(level))
    if len(level) > 32:
        windows = np.lib.stride_tricks.sliding_window_view(level - level.mean(), 33)
        for block in blocks(len(windows), 4096):
            result[16 + block.start : 16 + block.stop] = windows[block].std(axis=1, ddof=1)
    return median_filter(result, 13)


def loudest(x: np.ndarray) -> tuple[float, float]:
    """Highest ln energy, and highest power of the band-passed signal in dB."""
    power = _power(zero_phase(*_band(), x))
    return float(_log_energy(x).max(initial=-np.inf)), float(power.max(initial=-np.inf))


@dataclass(frozen=True)
class Facts:
    """What the measures need to know of the whole recording."""

    length: int
    f0: np.ndarray  # of all pitch frames, limits 20 and 500 Hz, [F]
    typical: float  # median F0 of the voiced ones, Hz; NaN if nothing is voiced
    references: tuple[float, float]  # largest values of :func:`loudest`


def _spread(values, step: int, size: int, query, offset: int, length: int) -> np.ndarray:
    """Reads values of frames, every ``step``, that are spread evenly over the whole recording."""
    if len(values) == 0:
        return np.full(len(query), np.nan)
    frames = max((length - size) // step, 1)
    knots = (offset // step + np.arange(len(values))) * ((length - 1) / frames) - offset
    return np.interp(query, knots, values)


def _placed(values: np.ndarray, positions: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Reads values that stand at given positions, 0 outside them."""
    if len(values) == 0:
        return np.zeros(len(query))
    return np.interp(query, positions, values, left=0.0, right=0.0)


def creak_inputs(x: np.ndarray, residual: np.ndarray, facts: Facts, offset: int = 0) -> np.ndarray:
    """Measures the acoustic correlates of creaky voice in a stretch of a recording.

    Row j of [J, 36] is for array index ``160 (j + 1) - 1``: H2-H1, residual peak prominence,
    zero-crossing rate, intra-frame periodicity, inter-pulse similarity, power fall, power rise, F0,
    its median, energy, power deviation, resonance; then their first and second differences. Missing
    ones are NaN. ``offset`` is a multiple of 320.
    After Ishi et al. 2008; Kane, Drugman & Gobl 2013; Drugman et al. 2014.
    """
    rows = len(x) // HOP
    query = HOP * np.arange(1, rows + 1) - 1
    all_rows = facts.length // HOP
    number = offset // HOP + np.arange(rows)
    # Some measures are read at points spread evenly over the recording.
    ratio = number / max(all_rows - 1, 1)
    even = round_half_away(1 + ratio * (facts.length - 1)).astype(int) - 1 - offset
    f0 = np.full(rows, np.nan)
    if len(facts.f0):
        f0 = np.interp(ratio * (len(facts.f0) - 1), np.arange(len(facts.f0)), facts.f0)

    residual = np.nan_to_num(residual)
    centre = facts.typical if np.isfinite(facts.typical) else 100.0
    wide, narrow = _resonate(residual, centre, 0.8), _resonate(residual, centre, 0.97)
    balance, resonance = _harmonic_balance(wide, narrow)
    energy = _log_energy(x)
    y = zero_phase(*_band(), x)
    resonance = moving_average(median_filter(resonance, 7), 10)
    where = (query, offset, facts.length)
    measures = [
        _spread(moving_average(balance, 10), HOP, _LONG + 1, *where),
        _placed(*_peak_prominence(wide, energy, facts.typical, offset, facts.length), query),
        _placed(*_zero_crossings(x), query),
        _placed(*_periodicity(y), even),
        *_pulses(y, even, facts.references[1]),
        f0,
        np.full(rows, facts.typical),
        _spread(energy - facts.references[0], 80, _SHORT + 1, *where),
        _spread(_power_deviation(x), 32, 64, *where),
        _spread(resonance, HOP, _LONG + 1, *where),
    ]
    with np.errstate(invalid="ignore"):
        static = np.stack(measures, axis=1)
        first = np.diff(static, axis=0, prepend=static[:1])
        second = np.diff(first, axis=0, prepend=first[:1])
    result = np.concatenate([static, first, second], axis=1)
    result[~np.isfinite(result)] = np.nan
    return result
