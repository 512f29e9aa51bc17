"""Audio files: reading, resampling, and long recordings without holding them in memory."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mosei_ssl.covarep import SAMPLE_RATE, ExtractionOptions, audio
from mosei_ssl.covarep.extraction import analyse_samples
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)

# File name endings taken for audio where a folder is searched.
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64")

# Endings of sound and films that libsndfile cannot read.
OTHER_SUFFIXES = (
    *(".mp4", ".m4v", ".m4a", ".mpg", ".mpeg", ".mkv", ".avi", ".mov", ".webm", ".wmv"),
    *(".flv", ".3gp", ".aac", ".wma", ".amr"),
)
CONVERT = "convert what is not read, such as m4a, first: ffmpeg -i talk.m4a talk.wav"

# What soundfile calls the kinds of files that a stranger may send.
_STREAMED = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")
_HIGHEST_STREAMED = 192_000  # Hz; a few kilobytes can claim more memory than a server has

_BLOCK_SECONDS = 30
_BLOCK_VALUES = 2**24  # of all channels: a header may claim 64 of them at 768 kHz
# So much may be missing without a warning: MP3 encoders pad, and not all record by how much.
_SLACK_SECONDS = 0.1


class NotAudio(UserError):
    """What was given as a recording is of another kind, or damaged."""


class TooLong(UserError):
    """A recording is longer than was allowed."""


def printable(name: object) -> str:
    """A file's name as text; bytes that are not UTF-8, which no terminal takes, are escaped."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def open_audio(path: str | Path) -> Iterator:
    """Opens an audio file as a ``SoundFile``; whatever is wrong with it is raised with its name."""
    path = Path(path)
    try:
        if not path.exists():
            raise UserError("no such file")
        if path.is_dir():
            raise UserError("this is a folder, an audio file is needed")
        if path.stat().st_size == 0:
            raise UserError("the file is empty")
        if path.suffix.lower() == ".raw":
            # libsndfile believes the ending, and then asks for rate and channels.
            raise NotAudio(_UNREADABLE.format("raw samples have no rate or channels"))
        # As bytes: a name that is not UTF-8 could not be encoded again from a string.
        with _sound_file(os.fsencode(path)) as file:
            yield file
    except UserError as error:
        raise UserError(f"{printable(path)}: {error}") from error


_UNREADABLE = "not readable as audio ({}); wav, flac, mp3 and ogg are read"


@contextmanager
def _sound_file(source: bytes | BinaryIO) -> Iterator:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UserError(
            "reading audio needs the package soundfile: pip install 'mosei_ssl[audio]'"
        ) from error
    try:
        with soundfile.SoundFile(source) as file:
            yield file
    except soundfile.SoundFileError as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise NotAudio(_UNREADABLE.format(reason)) from error


def read_audio(path: str | Path, channel: int | None = None) -> np.ndarray:
    """Reads a whole file as one channel at 16 kHz, float64 [N].

    It is wav, flac, mp3, ogg or another format that libsndfile reads. Without a `channel` the mean
    of all is taken, or one where they would cancel. Raises a UserError that names the file if it is
    missing, empty, not audio, shorter than 0.1 s, or has samples that are not finite.

    Examples:
        >>> read_audio(speech_wav).shape
        (16000,)
    """
    remarks: list[str] = []
    with open_audio(path) as file:
        rate = file.samplerate
        samples = _read_whole(file, channel, remarks)
    _warn(path, *audio.check_rate(rate), *remarks)
    return samples


def _read_whole(file, channel: int | None, remarks: list[str]) -> np.ndarray:
    channel = _audible_channel(file, channel, remarks)
    mixed = [audio.mix(block, channel) for block in _blocks(file)]
    samples = np.concatenate(mixed) if mixed else np.zeros(0)
    remarks += _cut(len(samples), file)
    return audio.prepare(samples, file.samplerate)


@contextmanager
def long_recording(
    path: str | Path, channel: int | None, remarks: list[str]
) -> Iterator[np.ndarray]:
    """Decodes a file of any length to a temporary file, mapped into memory as float32 [N].

    What is to be said of the file is added to ``remarks``.
    """
    with tempfile.NamedTemporaryFile(prefix="covarep-", suffix=".f32") as store:
        with open_audio(path) as file:
            rate, seen = file.samplerate, 0
            audio.check_rate(rate)
            channel = _audible_channel(file, channel, remarks)
            resampler = None
            if rate != SAMPLE_RATE:
                stream = audio.import_soxr().ResampleStream
                resampler = stream(rate, SAMPLE_RATE, 1, dtype="float64", quality="VHQ")
            for block in _blocks(file):
                samples = audio.mix(block, channel)
                audio.check_samples(samples)
                seen += len(samples)
                if resampler is not None:
                    samples = resampler.resample_chunk(samples)
                samples.astype(np.float32).tofile(store)
            audio.check_length(seen, rate)
            remarks += _cut(seen, file)
            if resampler is not None:
                rest = resampler.resample_chunk(np.zeros(0), last=True)
                rest.astype(np.float32).tofile(store)
        store.flush()
        yield np.memmap(store.name, dtype=np.float32, mode="r")


def _blocks(file) -> Iterator[np.ndarray]:
    """What is left of a file, float64 [N, channels] at a time."""
    # SoundFile.blocks goes by the length in the header, and repeats its last block where a file
    # was cut off.
    size = max(min(_BLOCK_SECONDS * file.samplerate, _BLOCK_VALUES // file.channels), 1)
    while len(block := file.read(size, dtype="float64", always_2d=True)):
        yield block


def _audible_channel(file, channel: int | None, remarks: list[str]) -> int | None:
    """The channel asked for; without one, and if the mean of all would cancel them, one of them."""
    if channel is not None or file.channels < 2:
        return channel
    channel = audio.channel_instead(_blocks(file))
    file.seek(0)
    if channel is not None:
        remarks.append(audio.CANCELLING.format(channel))
    return channel


def _warn(path: str | Path, *remarks: str) -> None:
    for remark in remarks:
        logger.warning("%s: %s", printable(path), remark)


def _cut(frames: int, file) -> Iterator[str]:
    """A remark on a file that holds fewer frames than its header says."""
    ends, declared = frames / file.samplerate, file.frames / file.samplerate
    if declared - ends > _SLACK_SECONDS:
        yield f"the file ends after {ends:.2f} s, but should hold {declared:.2f} s: is it complete?"


@dataclass(frozen=True)
class FileFeatures:
    """What an audio file comes to."""

    features: np.ndarray  # float32 [T, 74]
    rate: int  # Hz of the file
    remarks: tuple[str, ...] = ()  # what a user should know of it, but for its rate

    def warn(self, path: str | Path) -> None:
        """Logs the remarks."""
        _warn(path, *self.remarks)


def extract_file(path: str | Path, **options: Any) -> np.ndarray:
    """Computes the 74 features of an audio file of any length in bounded memory, float32 [T, 74].

    Options are ``channel``, ``dither``, ``chunk_seconds`` and ``seed``, as in
    :func:`~mosei_ssl.covarep.extract`. Raises a UserError that names the file if it cannot be used,
    or an option that is out of range.

    Examples:
        >>> extract_file(speech_wav, chunk_seconds=None).shape
        (100, 74)
    """
    found = analyse_file(path, ExtractionOptions(**options))
    _warn(path, *audio.check_rate(found.rate))
    found.warn(path)
    return found.features


def analyse_file(path: str | Path, options: ExtractionOptions) -> FileFeatures:
    """:func:`extract_file` that gives what there is to say instead of logging it."""
    remarks: list[str] = []
    with open_audio(path) as file:
        rate, seconds = file.samplerate, file.frames / file.samplerate
        long = options.chunk_seconds is not None and seconds > options.chunk_seconds
        samples = None if long else _read_whole(file, options.channel, remarks)
    if samples is None:
        with long_recording(path, options.channel, remarks) as mapped:
            noisy = _Dithered(mapped, options) if options.dither > 0 else mapped
            found = analyse_samples(noisy, options.chunk_seconds, options.seed)
    else:
        samples = audio.dithered(samples, options.dither, options.seed)
        found = analyse_samples(samples, options.chunk_seconds, options.seed)
    return FileFeatures(found.features.astype(np.float32), rate, (*remarks, *found.remarks))


def analyse_stream(stream: BinaryIO, most_seconds: float) -> FileFeatures:
    """:func:`analyse_file` of the bytes that a stranger sent, without touching the disk.

    Raises:
        NotAudio: Not a wav, flac, mp3 or ogg file, or a damaged one.
        TooLong: It is longer than `most_seconds`, by what its header says.
        UserError: As for :func:`read_audio`.

    Examples:
        >>> analyse_stream(speech_wav.open("rb"), most_seconds=10).features.shape
        (100, 74)
    """
    remarks: list[str] = []
    with _sound_file(stream) as file:
        rate = file.samplerate
        if file.format not in _STREAMED:
            raise NotAudio(_UNREADABLE.format(f"this is {file.format}"))
        if rate > _HIGHEST_STREAMED:
            raise UserError(f"sampling rate {rate} Hz: at most {_HIGHEST_STREAMED} are accepted")
        if file.frames > most_seconds * rate:
            raise TooLong(
                f"the recording lasts {file.frames / rate:.4g} s; at most {most_seconds:g} s are "
                "accepted"
            )
        samples = _read_whole(file, None, remarks)
    found = analyse_samples(samples)
    return FileFeatures(found.features.astype(np.float32), rate, (*remarks, *found.remarks))


class _Dithered:
    """A signal to which the same noise is added however it is sliced."""

    def __init__(self, samples: np.ndarray, options: ExtractionOptions):
        self._samples = samples
        self._noise = audio.dithered(np.zeros(SAMPLE_RATE * 7 + 1), options.dither, options.seed)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, span: slice) -> np.ndarray:
        start, stop, _ = span.indices(len(self._samples))
        noise = self._noise[np.arange(start, stop) % len(self._noise)]
        return self._samples[start:stop] + noise
