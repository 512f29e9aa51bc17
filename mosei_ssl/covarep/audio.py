"""Audio files and arrays to what the stages work on: one channel, 16 kHz, float."""

import logging
import math

import numpy as np

from mosei_ssl.covarep.signal import SAMPLE_RATE
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)

MIN_SECONDS = 0.1
_LOUDEST = 64.0
_MAX_CHANNELS = 64
_MAX_BYTES = 4
"""Of a PCM integer: NumPy makes int64 of Python's integers, whatever range they had."""


def check_options(dither: float, chunk_seconds: float | None, seed: int) -> None:
    """Refuses options of an extraction that would be ignored or end in a traceback later.

    Args:
        dither: Deviation of the noise to add.
        chunk_seconds: Length of the chunks of long recordings; None for no chunks.
        seed: Of the random phases and the dither.

    Raises:
        UserError: One of them makes no sense.
    """
    if not 0 <= dither < math.inf:
        raise UserError(f"dither {dither:g} makes no sense: give 0 (none) or more, 1e-5 say")
    if chunk_seconds is not None and not 0 < chunk_seconds < math.inf:
        raise UserError(
            f"chunk_seconds {chunk_seconds:g} makes no sense: give a positive number, or None to "
            "keep any recording whole"
        )
    if seed < 0:
        raise UserError(f"seed {seed} is negative: give 0 or more")


def printable(name: object) -> str:
    """A file's name as text; bytes that are not UTF-8, which no terminal takes, spelled out."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def prefix(name: str) -> str:
    """What a warning about a recording begins with: its name, where it has one."""
    return f"{printable(name)}: " if name else ""


def as_float(audio: np.ndarray) -> np.ndarray:
    """Scales PCM integers to [-1, 1); floats stay as they are.

    Raises:
        UserError: Not numbers, or integers of a type no recording has.
    """
    if audio.dtype == np.uint8:
        return (audio.astype(np.float64) - 128) / 128
    if np.issubdtype(audio.dtype, np.signedinteger) and audio.dtype.itemsize <= _MAX_BYTES:
        return audio.astype(np.float64) / -float(np.iinfo(audio.dtype).min)
    if np.issubdtype(audio.dtype, np.floating):
        return audio.astype(np.float64)
    raise UserError(
        f"audio of type {audio.dtype} is not supported: give floats in [-1, 1) or PCM integers "
        "of 8, 16 or 32 bits"
    )


def to_mono(audio: np.ndarray, channel: int | None = None) -> np.ndarray:
    """One channel of [N] or [N, channels]: the one asked for, or the mean of all.

    Raises:
        UserError: Wrong shape or no such channel.
    """
    if audio.ndim == 1:
        audio = audio[:, None]
    if audio.ndim != 2 or 0 < len(audio) < audio.shape[1]:
        raise UserError(
            f"audio of shape {audio.shape} is not supported: give [samples] or "
            "[samples, channels] (transpose it if channels come first)"
        )
    return mix(audio, channel)


def mix(audio: np.ndarray, channel: int | None = None) -> np.ndarray:
    """One channel of [N, channels], however few samples there are.

    Raises:
        UserError: Too many channels, or none of that number.
    """
    if audio.shape[1] > _MAX_CHANNELS:
        raise UserError(
            f"audio of {audio.shape[1]} channels is not supported: {_MAX_CHANNELS} at most are"
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


def check_rate(sample_rate: float, name: str = "") -> None:
    """Refuses sampling rates that cannot be meant.

    Args:
        sample_rate: Hz.
        name: Of the recording, for the warning about low rates.

    Raises:
        UserError: Not between 1 and 768 kHz.
    """
    if not 1000 <= sample_rate <= 768_000:
        raise UserError(f"sampling rate {sample_rate} Hz is not supported: 1 to 768 kHz are")
    if sample_rate < SAMPLE_RATE:
        logger.warning(
            "%saudio sampled at %g Hz holds nothing above %g Hz: features of the upper spectrum "
            "(MCEP, HMPD, peakSlope) will not compare with those of 16 kHz recordings",
            prefix(name),
            sample_rate,
            sample_rate / 2,
        )


def prepare(
    audio: np.ndarray, sample_rate: float, channel: int | None = None, name: str = ""
) -> np.ndarray:
    """Brings an array to one finite channel at 16 kHz.

    Args:
        audio: Samples [N] or [N, channels], float or PCM integers.
        sample_rate: Hz.
        channel: Channel to use; None averages all.
        name: Of the recording, for warnings.

    Returns:
        float64 [M].

    Raises:
        UserError: See :func:`~mosei_ssl.covarep.extract`.
    """
    check_rate(sample_rate, name)
    samples = to_mono(as_float(np.asarray(audio)), channel)
    check_length(len(samples), sample_rate)
    check(samples)
    if sample_rate != SAMPLE_RATE:
        samples = import_soxr().resample(samples, sample_rate, SAMPLE_RATE, quality="VHQ")
    return samples
