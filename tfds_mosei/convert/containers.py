"""Opens pickles, NumPy archives and HDF5 files as one thing: what each split holds."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfds_mosei.convert.pickles import PickledArray, check_size, load_pickle
from tfds_mosei.csd import HDF5_START, ends_in_time
from tfds_mosei.errors import CorpusError
from tfds_mosei.folds import SPLIT_NAMES
from tfds_mosei.schema import EMOTIONS, FEATURE_ROOT, LABEL_ROOT, NUM_FEATURES

# Order of columns in MFN's ey_*.h5: issue 124 of the CMU Multimodal SDK.
_MFN_EMOTIONS = ("anger", "disgust", "fear", "happy", "sad", "surprise")
_SPLIT_IN_NAME = re.compile(r"(.*?)(?<![a-z])(train|validation|valid|val|dev|test)(?![a-z])(.*)")

Splits = dict[str | None, Any]


def open_container(path: Path, stack: contextlib.ExitStack) -> tuple[str, Splits]:
    """What a file is, and what its splits hold (None: no splits); HDF5 stays open with `stack`."""
    with path.open("rb") as file:
        start = file.read(8)
    if start == HDF5_START:
        return _open_hdf5(path, stack)
    if start.startswith(b"PK"):
        with np.load(path, allow_pickle=False) as archive:
            check_size(path, sum(info.file_size for info in archive.zip.infolist()))
            return "a NumPy archive", _by_split({name: archive[name] for name in archive.files})
    content = load_pickle(path)
    if isinstance(content, list):
        others = siblings(path) or {None: path}
        form = "lists of ((words, visual, acoustic), label, segment) as MISA's"
        return form, {split: load_pickle(other) for split, other in others.items()}
    splits = _by_split(content)
    first = next(iter(splits.values()))
    form = "MMSA's" if "regression_labels" in first else "MulT's or MultiBench's"
    return f"{form} pickle of segments", splits


def siblings(path: Path) -> dict[str | None, Path]:
    """Files of all splits, by split, where a file's name has its split in it."""
    match = _SPLIT_IN_NAME.fullmatch(path.name)
    if not match:
        return {}
    words = {word: path.with_name(f"{match[1]}{word}{match[3]}") for word in SPLIT_NAMES}
    return {SPLIT_NAMES[word]: other for word, other in words.items() if other.is_file()}


def as_array(value: Any, path: Path) -> np.ndarray | None:
    """The array that a container holds, its size checked before; None for anything else."""
    if isinstance(value, PickledArray):
        return value.value
    if not isinstance(value, h5py.Dataset):
        return value if isinstance(value, np.ndarray) else None
    check_size(path, value.nbytes)
    text = h5py.check_string_dtype(value.dtype)
    # HDF5 loops for ever on some damaged heaps of text.
    if text is not None and text.length is None and not ends_in_time(lambda: value[()], 10):
        raise ValueError("text that cannot be read")
    return np.asarray(value[()])


def _by_split(content: Mapping[str, Any]) -> Splits:
    """Entries by split from {split: entry}, {split_key: array} or {key: array}."""
    splits: Splits = {}
    for key, value in content.items():
        name, _, rest = key.partition("_")
        if key in SPLIT_NAMES:
            splits[SPLIT_NAMES[key]] = value
        elif name in SPLIT_NAMES:
            splits.setdefault(SPLIT_NAMES[name], {})[rest] = value
    return splits or {None: dict(content)}


def _open_hdf5(path: Path, stack: contextlib.ExitStack) -> tuple[str, Splits]:
    def opened(place: Path) -> h5py.File:
        return stack.enter_context(h5py.File(place, "r", locking=False))

    file = opened(path)
    if "d1" in file:
        kind, _, _ = path.name.partition("_")
        others = siblings(path) or {None: path}
        return mfn_form(path), {s: _mfn(kind, other, opened) for s, other in others.items()}
    rows = file.get(FEATURE_ROOT)
    if isinstance(rows, h5py.Group) and "data" not in rows:
        return "MultiBench's HDF5 of segments", {None: _sequences(rows, file.get(LABEL_ROOT, {}))}
    splits = _by_split({key: {**value} for key, value in file.items()})
    if None in splits:
        raise CorpusError(
            f"{path}: has neither groups train, valid and test nor segments under "
            f"{FEATURE_ROOT!r}. A .csd file needs no conversion: give its folder to build."
        )
    return "arrays of segments in HDF5", splits


def mfn_audio(path: Path) -> Path:
    """The file that stands for all of MFN's in a folder: the rows of the first split."""
    audio = path.with_name("audio_" + path.name.partition("_")[2])
    return next(iter(siblings(audio).values()), path)


def mfn_form(path: Path) -> str:
    """What MFN's files of one folder are, in one sentence with the shape of the rows."""
    audio = mfn_audio(path)
    with h5py.File(audio, "r", locking=False) as file:
        shape = list(file["d1"].shape)
    return (
        f"MFN's arrays of segments ({audio.name}: 'd1' {shape}), means over words without times, "
        "ids or recordings: they cannot be cut again, and serve for pretraining"
    )


def _mfn(kind: str, path: Path, opened: Any) -> dict[str, Any]:
    """Rows, sentiment and emotions of one split from ``audio_*``, ``y_*`` and ``ey_*``."""
    place = {
        name: path.with_name(path.name.replace(f"{kind}_", f"{name}_", 1))
        for name in ("audio", "y", "ey")
    }
    entry = {name: opened(p)["d1"] for name, p in place.items() if p.is_file()}
    emotions = as_array(entry.pop("ey", None), path)
    if emotions is not None and emotions.shape[1:] == (len(EMOTIONS),):
        entry["emotions"] = emotions[:, [_MFN_EMOTIONS.index(name) for name in EMOTIONS]]
    return entry


def _sequences(rows: h5py.Group, labels: Mapping[str, Any]) -> dict[str, Any]:
    """Segments under their ids, ``video[k]``: rows, and the seven labels with their times."""
    ids = [key for key in rows if rows[key]["features"].shape[1:] == (NUM_FEATURES,)]
    entry: dict[str, Any] = {"id": ids, "audio": [rows[key]["features"] for key in ids]}
    entry["row_intervals"] = [
        rows[key]["intervals"] for key in ids[:50] if "intervals" in rows[key]
    ]
    for name, part in (("labels", "features"), ("intervals", "intervals")):
        if all(key in labels and part in labels[key] for key in ids):
            entry[name] = [labels[key][part][()].reshape(-1) for key in ids]
    return entry
