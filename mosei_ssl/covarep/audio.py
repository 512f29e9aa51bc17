"""Audio files and arrays to what the stages work on: one channel, 16 kHz, float."""

import logging

import numpy as np

from mosei_ssl.covarep.signal import SAMPLE_RATE
from mosei_ssl.errors import UserError

logger = logging.getLogger(__name__)

MIN_SECONDS = 0.1
_LOUDEST = 64.0
_MAX_CHANNELS = 64


def as_float(audio: np.ndarray) -> np.ndarray:
    """Scales PCM integers to [-1, 1); floats stay as they are.

    Raises:
        UserError: Not numbers.
    """
    if audio.dtype == np.uint8:
        return (audio.astype(np.float64) - 128) / 128
    if np.issubdtype(audio.dtype, np.signedinteger):
        return audio.astype(np.float64) / -float(np.iinfo(audio.dtype).min)
    if np.issubdtype(audio.dtype, np.floating):
        return audio.astype(np.float64)
    raise UserError(
        f"audio of type {audio.dtype} is not supported: give floats in [-1, 1) or PCM integers"
    )


def to_mono(audio: np.ndarray, channel: int | None = None) -> np.ndarray:
    """One channel of [N] or [N, channels]: the one asked for, or the mean of all.

    Raises:
        UserError: Wrong shape or no such channel.
    """
    if audio.ndim == 1:
        audio = audio[:, None]
    if audio.ndim != 2 or 0 < len(audio) < audio.shape[1] or audio.shape[1] > _MAX_CHANNELS:
        raise UserError(
            f"audio of shape {audio.shape} is not supported: give [samples] or "
            "[samples, channels] (transpose it if channels come first)"
        )
    if channel is None:
        return audio.mean(axis=1)
    if not 0 <= channel < audio.shape[1]:
        raise UserError(f"there is no channel {channel}: the audio has {audio.shape[1]}")
    return audio[:, channel]


def check(samples: np.ndarray) -> None:
    """Refuses samples that no feature can be computed from.

    Args:
        samples: One channel, float [N].

    Raises:
        UserError: Not finite, or integers in disguise.
    """
    wrong = int(len(samples) - np.isfinite(samples).sum())
    if wrong:
        raise UserError(
            f"{wrong} of {len(samples)} samples are NaN or infinite: repair the recording or "
            "replace them by 0"
        )
    loudest = float(np.abs(samples).max(initial=0.0))
    if loudest > _LOUDEST:
        raise UserError(
            f"samples reach {loudest:.6g}, far beyond [-1, 1): PCM values held as floats must "
            "be scaled first (16 bit: divide by 32768)"
        )


def check_length(samples: int, sample_rate: float) -> None:
    """Refuses recordings too short for any frame.

    Raises:
        UserError: Empty or shorter than 0.1 s.
    """
    if samples == 0:
        raise UserError("the recording is empty: it holds no samples")
    if samples < MIN_SECONDS * sample_rate:
        raise UserError(
            f"the recording is too short: {samples / sample_rate:.3f} s, at least "
            f"{MIN_SECONDS} s are needed"
        )


def import_soxr():
    """The resampler, an optional dependency.

    Raises:
        UserError: It is not installed.
    """
    try:
        import soxr
    except ImportError as error:
        raise UserError(
            "resampling needs the package soxr: pip install 'mosei_ssl[audio]'"
        ) from error
    return soxr


def check_rate(sample_rate: float) -> None:
    """Refuses sampling rates that cannot be meant.

    Raises:
        UserError: Not between 1 and 768 kHz.
    """
    if not 1000 <= sample_rate <= 768_000:
        raise UserError(f"sampling rate {sample_rate} Hz is not supported: 1 to 768 kHz are")
    if sample_rate < SAMPLE_RATE:
        logger.warning(
            "audio sampled at %g Hz holds nothing above %g Hz: features of the upper spectrum "
            "(MCEP, HMPD, peakSlope) will not compare with those of 16 kHz recordings",
            sample_rate,
            sample_rate / 2,
        )


def prepare(audio: np.ndarray, sample_rate: float, channel: int | None = None) -> np.ndarray:
    """Brings an array to one finite channel at 16 kHz.

    Args:
        audio: Samples [N] or [N, channels], float or PCM integers.
        sample_rate: Hz.
        channel: Channel to use; None averages all.

    Returns:
        float64 [M].

    Raises:
        UserError: See :func:`~mosei_ssl.covarep.extract`.
    """
    check_rate(sample_rate)
    samples = to_mono(as_float(np.asarray(audio)), channel)
    check_length(len(samples), sample_rate)
    check(samples)
    if sample_rate != SAMPLE_RATE:
        samples = import_soxr().resample(samples, sample_rate, SAMPLE_RATE, quality="VHQ")
    return samples
