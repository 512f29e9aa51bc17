"""Recordings to be judged: rows and their times, by name, from the files that hold them."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import FRAME_PERIOD, NUM_FEATURES

_log = logging.getLogger(__name__)

_SEQUENCES = (".csd", ".h5", ".hdf5")


class Recording(NamedTuple):
    """Times [T, 2] in seconds and rows float32 [T, 74] of a recording; its rate in Hz if known."""

    times: np.ndarray
    rows: np.ndarray
    rate: int | None = None


class Source(NamedTuple):
    """Names of recordings, and what reads one of them.

    `label` is what messages call it; what `unnamed` holds has no id that tables could refer to;
    `files` are those of recordings that have one each.
    """

    label: str
    names: Sequence[str]
    read: Callable[[str], Recording]
    unnamed: bool = False
    files: Mapping[str, Path] = MappingProxyType({})


def holds_datasets(source: Path) -> bool:
    """Whether it is a folder of prepared datasets, or of nothing that could be a recording."""
    from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES

    if any((source / name).exists() for name in ("dataset_info.json", "tfds_mosei")):
        return True  # the recordings of its corpus may lie in it, too
    files = source.rglob("*")
    return source.is_dir() and not any(file.suffix.lower() in AUDIO_SUFFIXES for file in files)


def opened_sources(
    inputs: Sequence[Path],
) -> list[contextlib.AbstractContextManager[Source]]:
    """What holds the recordings of some files and folders, in order; audio files go together.

    Recordings of several files get the shortest names that tell them apart.
    """
    from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES, CONVERT

    audio, arrays = [], []
    for path in inputs:
        suffix = path.suffix.lower()
        if not path.exists():
            raise UserError(f"{path}: no such file. Check the path.")
        if path.is_file() and suffix not in (".npy", *_SEQUENCES, *AUDIO_SUFFIXES):
            raise UserError(
                f"{path}: this kind of file is not read. Give a .csd file, a .npy array of "
                f"[frames, {NUM_FEATURES}], or a recording ({', '.join(AUDIO_SUFFIXES)}); {CONVERT}"
            )
        if suffix == ".npy":
            arrays.append(path)
        elif suffix not in _SEQUENCES:
            audio.append(path)
    names, recordings = {path: path.stem for path in arrays}, []
    if audio or len(arrays) > 1:
        from mosei_ssl.corpus.recordings import find_audio, video_ids

        recordings = find_audio(audio) if audio else []
        names = video_ids([*recordings, *dict.fromkeys(arrays)])
    label = str(audio[0]) if len(audio) == 1 else f"{len(recordings)} recordings"
    found: list[contextlib.AbstractContextManager[Source]] = []
    for path in inputs:
        if path.suffix.lower() == ".npy":
            found.append(_array(path, names[path]))
        elif path.suffix.lower() in _SEQUENCES:
            found.append(_sequence(path))
        elif path == audio[0]:
            found.append(_audio(label, {names[file]: file for file in recordings}))
    return found


@contextlib.contextmanager
def _array(file: Path, name: str) -> Iterator[Source]:
    yield Source(str(file), [name], lambda _: _read_array(file), unnamed=True)


@contextlib.contextmanager
def _sequence(file: Path) -> Iterator[Source]:
    from tfds_mosei.sources import CsdFeatures

    with contextlib.closing(CsdFeatures(file)) as features:
        rates = features.sampling_rates

        def read(name: str) -> Recording:
            times, rows = features.open(name)
            return Recording(times, rows[:], rates.get(name))

        yield Source(str(file), features.video_ids, read)


@contextlib.contextmanager
def _audio(label: str, files: Mapping[str, Path]) -> Iterator[Source]:
    from mosei_ssl.corpus.feature_cache import FeatureCache
    from mosei_ssl.covarep import ExtractionOptions, row_times

    cache = FeatureCache(ExtractionOptions())
    told = set()  # what may be read twice is complained of once

    def extract(name: str) -> Recording:
        again = name in told
        told.add(name)
        try:
            _, found = cache.fetch(files[name], must_keep=False)
        except UserError as error:
            if len(files) == 1:
                raise
            _log.log(logging.DEBUG if again else logging.WARNING, "left out %s", error)
            return Recording(np.empty((0, 2)), np.empty((0, NUM_FEATURES), np.float32))
        if not again:
            found.warn(files[name])
        starts = row_times(len(found.features))
        times = np.stack([starts, starts + FRAME_PERIOD], axis=1)
        return Recording(times, found.features, found.rate)

    yield Source(label, list(files), extract, files=files)


def _read_array(file: Path) -> Recording:
    """Times and rows of one recording; nothing in the file is unpickled."""
    try:
        rows = np.asarray(np.load(file, allow_pickle=False))
    except Exception as error:
        # A damaged header shows up as tokenizer, zip and memory errors too.
        raise UserError(
            f"{file} is not a readable .npy array of numbers ({error}): save it with numpy.save."
        ) from None
    if rows.dtype.kind not in "fiu" or rows.shape[1:] != (NUM_FEATURES,) or not rows.size:
        raise UserError(
            f"{file} holds an array {list(rows.shape)} of {rows.dtype}; raw COVAREP rows are "
            f"[frames, {NUM_FEATURES}] numbers, one every 10 ms."
        )
    # A double beyond float32 becomes infinite, which a model takes as missing.
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(rows, dtype=np.float32)
    starts = np.arange(len(rows)) * FRAME_PERIOD
    return Recording(np.stack([starts, starts + FRAME_PERIOD], axis=1), rows)
