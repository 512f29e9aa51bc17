"""Other people's packages of MOSEI as segments: padding off, ids parsed, labels in our order."""

import collections
import contextlib
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfds_mosei.convert.containers import Splits, as_array, open_container
from tfds_mosei.convert.pickles import check_size, opening
from tfds_mosei.errors import CorpusError
from tfds_mosei.folds import SPLIT_NAMES
from tfds_mosei.schema import EMOTIONS, LABEL_NAMES, NUM_FEATURES, VUV_COLUMN

ROW_PERIOD = 0.05  # seconds from row to row in MMSA's and MulT's unaligned packages
_LENGTHS = ("audio_lengths", "lengths")
_KEYS: tuple[tuple[str, ...], ...] = (
    ("id", "ids", "segment"),
    ("regression_labels", "labels", "label", "sentiment", "y"),
    ("emotions",),
    ("intervals",),
    ("split", "splits"),
)
_ID_FORMS = (
    r"(?P<video>.+)\$_\$(?P<number>\d+)",
    r"(?P<video>.+)\[(?P<number>\d+)\]",
    r"(?P<video>.+)\|(?P<start>-?[\d.]+)\|(?P<end>-?[\d.]+)",
    r"(?P<video>.+)_(?P<start>-?\d+\.\d+)_(?P<end>-?\d+\.\d+)",
    r"(?P<video>.+)",
)
_WIDEST = 16
_WORDS_AT_MOST = 60


@dataclasses.dataclass
class Segment:
    """A segment of a package; unknown labels (sentiment, six emotions) are NaN."""

    split: str | None
    name: str
    rows: Any
    length: int | None  # rows that are not padding
    words: int  # how many at least
    labels: np.ndarray
    times: tuple[float, float] | None
    video: str = ""
    number: int = 0  # in its recording, by the ids or by their order


@dataclasses.dataclass
class Package:
    """Segments, what they were taken for, and seconds from row to row; None for means of words."""

    form: str
    segments: list[Segment]
    row_period: float | None
    notes: list[str]


def read_package(path: Path, stack: contextlib.ExitStack, row_period: float | None) -> Package:
    """Reads a package of any known form; rows of HDF5 sequences are read when they are taken."""
    if not path.is_file():
        raise CorpusError(f"{path}: no such file. Check the path.")
    with opening(path):
        form, splits = open_container(path, stack)
        segments = [x for split, entry in splits.items() for x in _segments(entry, split, path)]
        check_size(path, sum(float(x.rows.nbytes) for x in segments))
        if row_period is None and segments:
            row_period = _row_period(path, segments, splits)
        notes = [_remove_padding(segments)] if segments else []
        _parse_ids(segments)
        kept = [segment for segment in segments if len(segment.rows)]
        if not kept:
            raise CorpusError(f"{path}: {form}, without a row of audio.")
        if len(kept) < len(segments):
            notes.append(f"{len(segments) - len(kept)} segments left out: all padding")
        once = {(x.video, x.times or x.number): x for x in reversed(kept)}
        if len(once) < len(kept):
            notes.append(f"{len(kept) - len(once)} repeated segments left out")
            kept = [x for x in kept if once[x.video, x.times or x.number] is x]
        if any(np.nanmin(x.rows[:, VUV_COLUMN], initial=0.0) < 0 for x in kept[:200]):
            notes.append("VUV is below 0: features were standardised, and are not COVAREP's values")
    return Package(form, kept, row_period, notes)


def _segments(entry: Any, split: str | None, path: Path) -> list[Segment]:
    if isinstance(entry, list):  # of ((words, visual, acoustic, ...), label, segment)
        columns = zip(*((_acoustic(item[0], path), *item[1:]) for item in entry), strict=True)
        entry = dict(zip(("audio", "labels", "id"), map(list, columns), strict=True))
    value = next(entry[key] for key in ("audio", "acoustic", "features") if key in entry)
    audio: Any = as_array(value, path)
    lengths = _table(entry, _LENGTHS, path)
    if audio is not None and audio.ndim == 2 and lengths:  # one segment after the other
        audio, lengths = np.split(audio, np.cumsum([int(n) for (n,) in lengths]))[:-1], None
    rows = list(value if audio is None else audio)
    text = as_array(entry.get("text_bert"), path)
    masks = np.zeros(len(rows)) if text is None or text.ndim != 3 else text[:, 1].sum(axis=1)
    tables = [_table(entry, keys, path) or [[]] * len(rows) for keys in _KEYS]
    columns = zip(rows, lengths or [[None]] * len(rows), masks, *tables, strict=True)
    found = []
    for index, (x, (length,), words, ids, given, emotions, times, splits) in enumerate(columns):
        if x.ndim != 2 or x.shape[1] != NUM_FEATURES or x.dtype.kind not in "fiu":
            raise CorpusError(
                f"{path}: audio of shape {x.shape} and type {x.dtype}; COVAREP's numbers "
                f"[rows, {NUM_FEATURES}] are needed. This is another feature set."
            )
        ids = ids or [f"{split or 'segment'}_{index:05d}[0]"]
        labels = np.full(len(LABEL_NAMES), np.nan)
        if len(given) in (1, len(labels)):
            labels[: len(given)] = given
        if len(emotions) == len(EMOTIONS):
            labels[1:] = emotions
        start_end = ids[1:] if len(ids) == 3 else times
        found.append(
            Segment(
                SPLIT_NAMES[splits[0]] if splits else split,
                str(ids[0]).strip(),
                x,
                None if length is None else min(int(length), len(x)),
                min(int(words), len(x)),
                labels,
                (float(start_end[0]), float(start_end[1])) if start_end else None,
            )
        )
    return found


def _acoustic(features: Any, path: Path) -> np.ndarray:
    arrays = [x for x in (as_array(value, path) for value in features) if x is not None]
    return next((x for x in arrays if x.shape[1:] == (NUM_FEATURES,)), arrays[-1])


def _table(entry: Any, keys: tuple[str, ...], path: Path) -> list[list[Any]] | None:
    """A few numbers or texts for each segment, from an array or a list."""
    value = next((entry[key] for key in keys if key in entry), ())
    whole = as_array(value, path)
    rows: list[list[Any]] = []
    for item in value if whole is None else whole:
        found = as_array(item, path)
        items = item if isinstance(item, list) else [item] if found is None else found.ravel()[:99]
        if len(items) > _WIDEST:
            raise ValueError(f"more than {_WIDEST} numbers of {keys[0]} for a segment")
        rows.append([x.decode(errors="replace") if isinstance(x, bytes) else x for x in items])
    return rows or None


def _row_period(path: Path, segments: list[Segment], splits: Splits) -> float | None:
    """Seconds from row to row; None where rows are words."""
    times = splits[None].get("row_intervals") if None in splits else None
    if times:
        steps = np.concatenate([np.diff(x[:, 0]) for x in times])
        low, middle, high = np.percentile(steps, [5, 50, 95])
        return round(float(middle), 4) if middle > 0 and high - low < 0.2 * middle else None
    if "noalign" in path.name or "unalign" in path.name:
        return ROW_PERIOD
    words = max(len(x.rows) for x in segments) <= _WORDS_AT_MOST and segments[0].length is None
    return None if words or "aligned" in path.name else ROW_PERIOD


def _remove_padding(segments: list[Segment]) -> str:
    """Cuts off padding at the padded end: what lies beyond the lengths, else rows of zeros."""
    full = len(segments[0].rows)
    if any(len(x.rows) != full for x in segments):
        return "segments have lengths of their own: no padding"
    zeros = np.array([_rows_of_zeros(np.any(x.rows, axis=1)) for x in segments])
    known = segments[0].length is not None
    lengths = np.array([x.length or 0 for x in segments])
    padded = zeros >= full - lengths[:, None] if known else zeros * (zeros[:, :1] < full)
    front, end = padded.sum(axis=0)
    real = full - zeros[:, 0 if front > end else 1]
    at_least = np.array([x.words for x in segments])
    kept = lengths if known else np.where(real > 0, np.maximum(real, at_least), 0)
    for segment, n in zip(segments, kept, strict=True):
        segment.rows = segment.rows[full - n :] if front > end else segment.rows[:n]
    beyond = int((real > kept).sum())
    return (
        f"{'front' if front > end else 'end'}: {(full - kept).sum():,} rows of padding removed"
        + (f"; {beyond} segments have other rows than zeros beyond their lengths" if beyond else "")
        + f"; {(kept == full).sum()} segments fill all {full} rows and may have been cut there"
    )


def _rows_of_zeros(real: np.ndarray) -> tuple[Any, Any]:
    """How many rows before the first and after the last real one."""
    return (real.argmax(), real[::-1].argmax()) if real.any() else (len(real), len(real))


def _parse_ids(segments: list[Segment]) -> None:
    """Finds recording, number and times in ids, by the first form that fits all of them."""
    forms = ([re.fullmatch(form, x.name, re.DOTALL) for x in segments] for form in _ID_FORMS)
    matches = next((found for found in forms if all(found)), [])
    seen: collections.Counter[str] = collections.Counter()
    for segment, match in zip(segments, matches, strict=True):
        parts = match.groupdict() if match else {}
        segment.video = parts["video"]
        segment.number = int(parts.get("number", seen[segment.video]))
        seen[segment.video] += 1
        if "start" in parts:
            segment.times = (float(parts["start"]), float(parts["end"]))
