"""Arrays of audio to what the stages work on: one channel, 16 kHz, float64."""

from collections.abc import Iterable, Mapping

import numpy as np

from mosei_ssl.covarep.signal import SAMPLE_RATE
from mosei_ssl.utils.errors import UserError

MIN_SECONDS = 0.1
_LOUDEST = 64.0
_MAX_CHANNELS = 64
_INCOMPARABLE = (
    "features of the upper spectrum (MCEP, HMPD, peakSlope) do not compare with those of 16 kHz "
    "recordings"
)
_MAX_BYTES = 4  # of a PCM integer: NumPy makes int64 of Python's, whatever range they had


def check_rate(sample_rate: float) -> tuple[str, ...]:
    """Refuses rates outside 1 to 768 kHz; gives a remark on those that are too low to compare."""
    if not 1000 <= sample_rate <= 768_000:
        raise UserError(f"sampling rate {sample_rate} Hz is not supported: 1 to 768 kHz are")
    if sample_rate >= SAMPLE_RATE:
        return ()
    return (
        f"audio sampled at {sample_rate:g} Hz holds nothing above {sample_rate / 2:g} Hz: "
        f"{_INCOMPARABLE}",
    )


def low_rates(rates: Mapping[str, float | None], enough: float = SAMPLE_RATE) -> str | None:
    """One remark on all recordings, rates by name, that are sampled below a rate; None if none is.

    Example:
        >>> low_rates({"a": 8000, "b": 16000, "c": 8000})[:53]
        '2 of 3 recordings are sampled below 16000 Hz (8000 Hz'
    """
    low = [rate for rate in rates.values() if rate is not None and rate < enough]
    if not low:
        return None
    found = ", ".join(f"{rate:g} Hz" for rate in sorted(set(low)))
    return (
        f"{len(low)} of {len(rates)} recordings are sampled below {enough:g} Hz ({found}) and hold "
        f"nothing above half their rate: {_INCOMPARABLE}"
    )


def as_float(audio: np.ndarray) -> np.ndarray:
    """Scales PCM integers to [-1, 1); floats stay as they are."""
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


def mix(audio: np.ndarray, channel: int | None = None) -> np.ndarray:
    """One channel of [N, channels]: the one asked for, or the mean of all."""
    if audio.shape[1] > _MAX_CHANNELS:
        raise UserError(
            f"audio of {audio.shape[1]} channels is not supported: {_MAX_CHANNELS} at most are"
        )
    if channel is None:
        return audio.mean(axis=1)
    if not 0 <= channel < audio.shape[1]:
        raise UserError(f"there is no channel {channel}: the audio has {audio.shape[1]}")
    return audio[:, channel]


def channel_instead(blocks: Iterable[np.ndarray]) -> int | None:
    """The channel to use where the mean of blocks [N, channels] cancels them; None if it is fine.

    The mean of n unrelated channels has 1/n of their power; half as much as that, and they are
    opposite to each other. The first one is taken that is not much weaker than the others.
    """
    channels, mixed = np.zeros(1), 0.0
    for block in blocks:
        channels = channels + np.square(block).sum(axis=0)
        mixed += float(np.square(block.mean(axis=1)).sum())
    if len(channels) < 2 or not mixed < 0.5 * channels.mean() / len(channels):
        return None
    return int(np.argmax(channels >= 0.5 * channels.max()))


CANCELLING = (
    "its channels cancel each other when averaged (one is wired the wrong way round): channel "
    "{0} is used alone (`extract --channel {0}` chooses it without this warning)"
)


def check_samples(samples: np.ndarray) -> None:
    """Refuses samples [N] that no feature can be computed from."""
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
    """Refuses recordings that are too short for any frame."""
    if samples == 0:
        raise UserError("the recording is empty: it holds no samples")
    if samples < MIN_SECONDS * sample_rate:
        raise UserError(
            f"the recording is too short: {samples / sample_rate:.3f} s, at least "
            f"{MIN_SECONDS} s are needed"
        )


def import_soxr():
    """The resampler, an optional dependency: audio at 16 kHz needs none."""
    try:
        import soxr
    except ImportError as error:
        raise UserError(
            "resampling needs the package soxr: pip install 'mosei_ssl[audio]'"
        ) from error
    return soxr


def prepare(audio: np.ndarray, sample_rate: float, channel: int | None = None) -> np.ndarray:
    """Brings [N] or [N, channels], float or PCM integers, to one finite channel at 16 kHz."""
    check_rate(sample_rate)
    audio = as_float(np.asarray(audio))
    if audio.ndim == 1:
        audio = audio[:, None]
    if audio.ndim != 2 or 0 < len(audio) < audio.shape[1]:
        raise UserError(
            f"audio of shape {audio.shape} is not supported: give [samples] or "
            "[samples, channels] (transpose it if channels come first)"
        )
    samples = mix(audio, channel)
    check_length(len(samples), sample_rate)
    check_samples(samples)
    if sample_rate != SAMPLE_RATE:
        samples = import_soxr().resample(samples, sample_rate, SAMPLE_RATE, quality="VHQ")
    return samples


def dithered(samples: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Adds Gaussian noise of a deviation; none at 0."""
    if level == 0:
        return samples
    return samples + level * np.random.default_rng(seed).standard_normal(len(samples))
