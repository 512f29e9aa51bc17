"""Phase distortion of the harmonics: its mean (HMPDM) and deviation (HMPDD)."""

import numpy as np
from scipy import fft

from mosei_ssl.covarep.envelope import mel_cepstrum
from mosei_ssl.covarep.harmonics import Harmonics
from mosei_ssl.covarep.pitch import FIRST_CENTRE
from mosei_ssl.covarep.signal import (
    HOP,
    SAMPLE_RATE,
    blocks,
    closed_hann,
    interpolate,
    median_of_nine,
    ragged_batches,
    wrap,
    zero_phase_fir,
)

HMPDM_SIZE, HMPDD_SIZE = 25, 13
MIN_FRAMES = 73  # fewer cannot be smoothed (the reference fails on such short files)
FRAME_HALO = 32  # frames on either side that the smoothing of one may look at (it uses 24)
_SMOOTHING_BLOCK, _SMOOTHING_BINS = 512, 57  # what stays in the cache
_DFT = 1024
BINS = _DFT // 2 + 1  # frequencies from 0 to 8 kHz the phase distortion is read at
_BIN_HZ = SAMPLE_RATE / _DFT
# First bin of each HMPDM coefficient: single bins, then groups widening along a Bezier curve.
_WIDENING = (8, 10, 13, 17, 22, 28, 36, 46, 58, 72, 89, 110, 135, 166, 207, 264, 358)
_GROUPS = (*range(8), *_WIDENING)


def _read_rows(rows: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Linear interpolation in every row at its own fractional columns (all inside)."""
    left = np.minimum(position.astype(int), rows.shape[1] - 2)
    low = np.take_along_axis(rows, left, axis=1)
    high = np.take_along_axis(rows, left + 1, axis=1)
    return low + (position - left) * (high - low)


def _flattened_phase(harmonics: Harmonics, rows: np.ndarray, width: int) -> np.ndarray:
    """Harmonic phases with the vocal tract's minimum phase taken out, [M, 1 + width]."""
    spacing, count = harmonics.spacing[rows][:, None], harmonics.count[rows][:, None]
    with np.errstate(divide="ignore"):
        level = np.log(harmonics.amplitude[rows, : width + 1])
    place = np.clip(np.arange(BINS) * _BIN_HZ / spacing, 1, count)
    with np.errstate(invalid="ignore"):
        envelope = _read_rows(np.pad(level, [(0, 0), (0, 1)]), place)
        cepstrum = fft.irfft(envelope, _DFT, axis=1)
        cepstrum[:, 1 : BINS - 1] *= 2
        cepstrum[:, BINS:] = 0
        tract = fft.rfft(cepstrum, axis=1).imag
        bins = np.arange(width + 1) * spacing / _BIN_HZ
        at_harmonics = _read_rows(tract, np.clip(bins, 0, BINS - 1))
    at_harmonics[bins > BINS - 1] = 0
    phase = wrap(harmonics.phase[rows, : width + 1] - at_harmonics)
    phase[:, 0] = 0
    return phase


def phase_distortion(harmonics: Harmonics, generator: np.random.Generator) -> np.ndarray:
    """Phase distortion of every frame on 513 frequencies from 0 to 8 kHz, radians [M, 513].

    Exactly 0 up to F0, NaN above it in digital silence, random above the top harmonic.
    """
    result = np.zeros((len(harmonics.f0), BINS))
    for batch in ragged_batches(harmonics.count, budget=60_000):
        width = int(harmonics.count[batch].max())
        phase = _flattened_phase(harmonics, batch, width)
        difference = wrap(phase[:, 1:] - phase[:, :-1] - phase[:, 1:2])
        noise = wrap(2 * np.pi * generator.random((len(batch), width + 2)))
        real = np.arange(width) < harmonics.count[batch][:, None]
        noise[:, :width][real] = difference[real]
        place = np.arange(BINS) * _BIN_HZ / harmonics.f0[batch][:, None] - 1
        above = np.maximum(place, 0)
        left = np.minimum(above.astype(int), width)
        low, high = (np.take_along_axis(noise, column, axis=1) for column in (left, left + 1))
        between = wrap(low + (above - left) * wrap(high - low))
        result[batch] = np.where(place < 0, 0.0, between)
    return result


def vectors(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine; an angle that is not there adds nothing to a sum."""
    missing = np.isnan(angle)
    cosine, sine = np.cos(angle), np.sin(angle)
    cosine[missing] = sine[missing] = 0
    return cosine, sine


def _directions(cosine: np.ndarray, sine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors at length one; those of length zero point to angle 0."""
    length = np.sqrt(cosine * cosine + sine * sine)
    cosine = np.divide(cosine, length, out=np.ones_like(length), where=length > 0)
    return cosine, np.divide(sine, length, out=np.zeros_like(length), where=length > 0)


def phase_deviation(cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """Circular deviation of phase distortions around their trend over time, [M, bins] radians.

    Takes the :func:`vectors` of the distortions.
    """
    smooth = closed_hann(9)
    smooth /= smooth.sum()
    along, across = _directions(
        *(zero_phase_fir(smooth, median_of_nine(part)) for part in (cosine, sine))
    )
    cosine, sine = cosine * along + sine * across, sine * along - cosine * across
    # Nine times a ninth sums to slightly more than one, so a constant phase has deviation 0;
    # see zero_phase_fir.
    mean = np.full(9, 1 / 9)
    modulus = np.minimum(np.hypot(zero_phase_fir(mean, cosine), zero_phase_fir(mean, sine)), 1)
    return np.sqrt(-2 * np.log(modulus))


def code_mean(cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """25 coefficients from the mean vectors of 512 bins, [M, 25] radians."""
    cosine, sine = _directions(cosine, sine)
    return np.arctan2(*(np.add.reduceat(part, _GROUPS, axis=1) for part in (sine, cosine)))


def code_deviation(deviation: np.ndarray) -> np.ndarray:
    """13 mel-cepstral coefficients of the deviation, [M, 13]."""
    deviation = deviation.copy()
    deviation[:, 0] = deviation[:, 1]
    deviation[deviation == 0] = 0.001
    return mel_cepstrum(deviation, HMPDD_SIZE)


def code_phase(distortion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """HMPDM [M, 25] in radians and HMPDD [M, 13] (Degottex & Erro 2014); M >= `MIN_FRAMES`."""
    mean = np.empty((len(distortion), HMPDM_SIZE))
    deviation = np.empty((len(distortion), HMPDD_SIZE))
    for block in blocks(len(distortion), _SMOOTHING_BLOCK):
        # No filter reaches further than the halo, so blocks give what the whole would.
        start = max(block.start - FRAME_HALO, 0)
        inner = slice(block.start - start, block.stop - start)
        cosine, sine, spread = np.empty((3, block.stop - block.start, BINS))
        for bins in blocks(BINS, _SMOOTHING_BINS):
            part = distortion[start : block.stop + FRAME_HALO, bins]
            vector = vectors(part)
            for total, values in zip((cosine, sine), vector, strict=True):
                total[:, bins] = zero_phase_fir(np.full(25, 1 / 25), values)[inner]
            spread[:, bins] = phase_deviation(*vector)[inner]
        mean[block] = code_mean(cosine[:, : BINS - 1], sine[:, : BINS - 1])
        deviation[block] = code_deviation(spread)
    return mean, deviation


def to_rows(
    frames: np.ndarray, mean: np.ndarray, deviation: np.ndarray, query: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """HMPDM and HMPDD at the rows, NaN outside the analysed frames; by way of every 5 ms."""
    time = FIRST_CENTRE + 1 + HOP * frames
    halfway = np.arange(-(-time[0] // 80) * 80, time[-1] + 1, 80)
    for knots, at in ((time, halfway), (halfway, query)):
        mean = wrap(interpolate(knots, np.unwrap(mean, axis=0), at))
        deviation = interpolate(knots, deviation, at)
    return mean, deviation
