"""Audio files: reading, resampling, and long recordings without holding them in memory."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosei_ssl.covarep.audio import (
    check,
    check_length,
    check_options,
    check_rate,
    import_soxr,
    mix,
    prefix,
    prepare,
    printable,
)
from mosei_ssl.covarep.extraction import extract_prepared
from mosei_ssl.covarep.signal import SAMPLE_RATE
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64")
"""File name endings taken for audio where a folder is searched."""

_BLOCK_SECONDS = 30
_SLACK_SECONDS = 0.1
"""So much may be missing without a warning: MP3 encoders pad, and not all say by how much."""


def _import_soundfile():
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UserError(
            "reading audio needs the package soundfile: pip install 'mosei_ssl[audio]'"
        ) from error
    return soundfile


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes:
        sample_rate: Hz.
        channels: How many there are.
        seconds: Duration.
    """

    sample_rate: int
    channels: int
    seconds: float


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{printable(path)}: no such file")
    if path.is_dir():
        raise UserError(f"{printable(path)} is a folder, an audio file is needed")
    if path.stat().st_size == 0:
        raise UserError(f"{printable(path)}: the file is empty")


def _sound_file(soundfile, path: Path):
    try:
        # As bytes: a name that is not UTF-8 could not be encoded again from a string.
        return soundfile.SoundFile(os.fsencode(path))
    except TypeError as error:
        # A name that ends in ".raw" is believed, and then rate and channels are asked for.
        raise UserError(
            f"{printable(path)}: not readable as audio (raw samples tell no rate or channels); "
            "wav, flac, mp3 and ogg are read"
        ) from error


@contextmanager
def _open(path: Path) -> Iterator:
    """Opens an audio file; whatever is wrong with it becomes a message that names it."""
    soundfile = _import_soundfile()
    _refuse_missing(path)
    try:
        with _sound_file(soundfile, path) as file:
            yield file
    except soundfile.SoundFileError as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise UserError(
            f"{printable(path)}: not readable as audio ({reason}); wav, flac, mp3 and ogg are read"
        ) from error
    except UserError as error:
        if printable(path) in str(error):
            raise
        raise UserError(f"{printable(path)}: {error}") from error


def audio_info(path: str | Path) -> AudioInfo:
    """Reads the header of an audio file.

    Args:
        path: The file.

    Returns:
        Rate, channels and duration.

    Raises:
        UserError: Missing, empty or not audio.
    """
    with _open(Path(path)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames / file.samplerate)


def read_audio(path: str | Path, channel: int | None = None) -> np.ndarray:
    """Reads a whole file as one channel at 16 kHz.

    Args:
        path: wav, flac, mp3, ogg or whatever else libsndfile reads.
        channel: Channel to use; None averages all.

    Returns:
        float64 [N].

    Raises:
        UserError: Missing, empty, not audio, shorter than 0.1 s, or with samples that are not
            finite; the message names the file.
    """
    with _open(Path(path)) as file:
        declared = file.frames
        samples = file.read(dtype="float64", always_2d=True)
        _warn_if_cut(path, len(samples), declared, file.samplerate)
        return prepare(samples, file.samplerate, channel, str(path))


def _blocks(file) -> Iterator[np.ndarray]:
    """What a file holds, [N, channels] at a time, until there is no more.

    ``SoundFile.blocks`` goes by the length in the header instead, and repeats its last block
    where a file was cut off.
    """
    while len(block := file.read(_BLOCK_SECONDS * file.samplerate, "float64", always_2d=True)):
        yield block


def _warn_if_cut(path: str | Path, frames: int, declared: int, rate: int) -> None:
    if declared - frames > _SLACK_SECONDS * rate:
        logger.warning(
            "%sthe file ends after %.2f s, but should hold %.2f s: is it complete?",
            prefix(str(path)),
            frames / rate,
            declared / rate,
        )


@contextmanager
def long_recording(path: str | Path, channel: int | None = None) -> Iterator[np.ndarray]:
    """Decodes a file of any length to a temporary file and maps it into memory.

    Args:
        path: As for :func:`read_audio`.
        channel: Channel to use; None averages all.

    Yields:
        float32 [N] at 16 kHz, valid inside the ``with`` statement.

    Raises:
        UserError: As :func:`read_audio`.

    Example:
        ```python
        with long_recording("lecture.mp3") as samples:
            features, times = extract_prepared(samples)
        ```
    """
    with tempfile.NamedTemporaryFile(prefix="covarep-", suffix=".f32") as store:
        with _open(Path(path)) as file:
            rate, declared = file.samplerate, file.frames
            check_rate(rate, str(path))
            resampler = None
            if rate != SAMPLE_RATE:
                resampler = import_soxr().ResampleStream(
                    rate, SAMPLE_RATE, 1, dtype="float64", quality="VHQ"
                )
            seen = 0
            for block in _blocks(file):
                samples = mix(block, channel)
                check(samples)
                seen += len(samples)
                if resampler is not None:
                    samples = resampler.resample_chunk(samples)
                samples.astype(np.float32).tofile(store)
            check_length(seen, rate)
            _warn_if_cut(path, seen, declared, rate)
            if resampler is not None:
                rest = resampler.resample_chunk(np.zeros(0), last=True)
                rest.astype(np.float32).tofile(store)
        store.flush()
        yield np.memmap(store.name, dtype=np.float32, mode="r")


def extract_file(
    path: str | Path,
    *,
    channel: int | None = None,
    dither: float = 0.0,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the 74 features of an audio file of any length in bounded memory.

    Args:
        path: wav, flac, mp3, ogg.
        channel: Channel to use; None averages all.
        dither: As in :func:`~mosei_ssl.covarep.extract`.
        chunk_seconds: Length from which a recording is worked through in chunks; None keeps any
            recording whole.
        seed: As in :func:`~mosei_ssl.covarep.extract`.

    Returns:
        Features float64 [T, 74] and times float64 [T] in seconds.

    Raises:
        UserError: The file cannot be used (the message names it), or an option is out of range.

    Example:
        ```python
        features, times = extract_file("speech.wav")
        ```
    """
    check_options(dither, chunk_seconds, seed)
    name = str(path)
    if chunk_seconds is not None and audio_info(path).seconds > chunk_seconds:
        with long_recording(path, channel) as samples:
            noisy = _Dithered(samples, dither, seed) if dither > 0 else samples
            return extract_prepared(noisy, chunk_seconds, seed, name)
    samples = read_audio(path, channel)
    if dither > 0:
        samples = samples + dither * np.random.default_rng(seed).standard_normal(len(samples))
    return extract_prepared(samples, chunk_seconds, seed, name)


class _Dithered:
    """A signal to which the same noise is added however it is sliced."""

    def __init__(self, samples: np.ndarray, level: float, seed: int):
        self._samples = samples
        self._noise = level * np.random.default_rng(seed).standard_normal(SAMPLE_RATE * 7 + 1)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, span: slice) -> np.ndarray:
        start, stop, _ = span.indices(len(self._samples))
        noise = self._noise[np.arange(start, stop) % len(self._noise)]
        return self._samples[start:stop] + noise
