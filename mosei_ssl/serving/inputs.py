"""Reading what is to be judged: feature files in, a list of segments out."""

import csv
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mosei_ssl.serving.schema import FRAME_PERIOD, MAX_FRAMES, NUM_FEATURES, Segment
from mosei_ssl.utils.errors import UserError

_log = logging.getLogger(__name__)

LABEL_ROOT = "All Labels"
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64")
"""File name endings taken for recordings."""


def read_segments(
    source: str | Path,
    intervals: str | Path | None = None,
    window: float = 15.0,
    hop: float | None = None,
) -> Iterator[Segment]:
    """Read the segments of a file, one after the other.

    Args:
        source: a `.csd` file with raw COVAREP rows; a `.npy` file with those of one recording,
            float [T, 74], a row every 10 ms; or a recording (wav, flac, mp3, ogg), whose features
            are computed.
        intervals: which stretches to judge (not of `.npy`): a `.csd` label file, whose intervals
            are taken and whose labels are not, or a CSV file with the columns id, start, end in
            seconds; the id of a recording is its file name without the ending. None takes whole
            recordings.
        window: without `intervals`: recordings longer than so many seconds are cut into windows
            of this length; 0 never cuts.
        hop: seconds from one window to the next; None puts them side by side.

    Yields:
        Segments that have at least one row, in the order of the files.

    Raises:
        UserError: a file is missing, is of another kind, or has another width.
        tfds_mosei.CorpusError: a `.csd` file is damaged.

    Example:
        >>> next(read_segments("speech.csd")).features.shape
        (652, 74)
    """
    source = Path(source)
    check_windows(window, hop)
    if not source.is_file():
        raise UserError(f"{source}: no such file. Check the path.")
    if source.suffix.lower() == ".npy":
        if intervals is not None:
            raise UserError(
                f"{source} is one recording without a name, so --segments does not apply: cut the "
                "array instead, or use a .csd file."
            )
        yield from windows(source.stem, read_array(source), 0.0, window, hop)
    elif source.suffix.lower() in AUDIO_SUFFIXES:
        yield from _read_audio(source, intervals, window, hop)
    else:
        yield from _read_csd(source, intervals, window, hop)


def check_windows(window: float, hop: float | None) -> None:
    """Raise a UserError unless windows of this length and hop can be cut."""
    if window != 0 and not (math.isfinite(window) and window >= FRAME_PERIOD):
        raise UserError(
            f"--window is {window}: give at least {FRAME_PERIOD} seconds, or 0 for whole "
            "recordings."
        )
    if window > MAX_FRAMES * FRAME_PERIOD:
        raise UserError(
            f"--window is {window} s; models answer at most {MAX_FRAMES * FRAME_PERIOD:g} s."
        )
    if hop is not None and not (math.isfinite(hop) and hop >= FRAME_PERIOD):
        raise UserError(f"--hop is {hop}: give at least {FRAME_PERIOD} seconds.")


def read_array(file: Path) -> np.ndarray:
    """Rows of one recording from a `.npy` file; nothing in it is unpickled.

    Args:
        file: holds numbers [T, 74], T > 0.

    Returns:
        float32 [T, 74].

    Raises:
        UserError: it holds something else, or is damaged.
    """
    try:
        rows = np.load(file, allow_pickle=False)
    except Exception as error:
        # A damaged header shows up as tokenizer, zip and memory errors too.
        raise UserError(
            f"{file} is not a readable .npy array of numbers ({error}): save it with numpy.save."
        ) from None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        raise UserError(f"{file} does not hold an array of numbers: save it with numpy.save.")
    if rows.ndim != 2 or rows.shape[1] != NUM_FEATURES or not len(rows):
        raise UserError(
            f"{file} holds an array {list(rows.shape)}; raw COVAREP rows are [frames, "
            f"{NUM_FEATURES}], one every 10 ms."
        )
    # A double beyond float32 becomes infinite, which a model takes as missing.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, dtype=np.float32)


def windows(
    name: str, rows: np.ndarray, start: float, window: float, hop: float | None = None
) -> Iterator[Segment]:
    """Cut a recording into windows of one length; the last one ends where the recording ends.

    Args:
        name: name of the recording.
        rows: float32 [T, 74], one every 10 ms.
        start: time of the first row in seconds.
        window: length in seconds; 0, or one that holds all rows, gives a single segment.
        hop: seconds from one window to the next; None puts them side by side.

    Yields:
        Segments; none where there are no rows.
    """
    length = round(window / FRAME_PERIOD) or len(rows)
    step = max(1, round((hop or window) / FRAME_PERIOD)) if window else 1
    last = max(0, len(rows) - length)
    for first in [*range(0, last, step), last] if len(rows) else []:
        part = rows[first : first + length]
        begin = start + first * FRAME_PERIOD
        yield Segment(name, begin, begin + len(part) * FRAME_PERIOD, part)


def _read_audio(
    source: Path, intervals: str | Path | None, window: float, hop: float | None
) -> Iterator[Segment]:
    from mosei_ssl.covarep import extract_file

    chosen = None if intervals is None else read_intervals(intervals)
    if chosen is not None and source.stem not in chosen:
        raise UserError(
            f"{intervals} says nothing about {source.stem!r}: its ids are "
            f"{', '.join(list(chosen)[:3]) or 'none'}, and that of a recording is its file name "
            "without the ending."
        )
    features, starts = extract_file(source)
    rows = features.astype(np.float32)
    if chosen is None:
        begin = float(starts[0]) if len(starts) else 0.0
        yield from windows(source.stem, rows, begin, window, hop)
        return
    times = np.stack([starts, starts + FRAME_PERIOD], axis=1)
    yield from _stretches(source.stem, times, rows, chosen[source.stem], source)


def _read_csd(
    source: Path, intervals: str | Path | None, window: float, hop: float | None
) -> Iterator[Segment]:
    from tfds_mosei.csd import ComputationalSequence

    if source.suffix.lower() not in (".csd", ".h5", ".hdf5"):
        raise UserError(
            f"{source}: this kind of file is not read. Give a .csd file, a .npy array of "
            f"[frames, {NUM_FEATURES}], or a recording ({', '.join(AUDIO_SUFFIXES)})."
        )
    with ComputationalSequence(source) as sequence:
        _check_features(sequence)
        if intervals is None:
            for video in sequence.video_ids:
                times, rows = _read_rows(sequence, video)
                begin = float(times[0, 0]) if len(times) and np.isfinite(times[0, 0]) else 0.0
                yield from windows(video, rows, begin, window, hop)
        else:
            yield from _cut(sequence, read_intervals(intervals), Path(intervals))


def _read_rows(sequence, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Intervals and rows, with the columns where the dataset has them."""
    from tfds_mosei.sources import feature_order

    times, rows = sequence.read(video)
    order = feature_order(sequence.dimension_names)
    return times, rows if order is None else rows[:, order]


def _check_features(sequence) -> None:
    if not len(sequence):
        raise UserError(f"{sequence.path} holds no recording.")
    for video in sequence.video_ids:
        _, width = sequence.shape(video)
        if width == NUM_FEATURES:
            continue
        hint = (
            "It is a label file: give it as --segments, and the features as input."
            if sequence.root == LABEL_ROOT
            else "It is another feature set."
        )
        raise UserError(
            f"{sequence.path} (root {sequence.root!r}): features of {video!r} have {width} "
            f"columns; COVAREP has {NUM_FEATURES}. {hint}"
        )


def read_intervals(file: str | Path) -> dict[str, np.ndarray]:
    """Read which stretches of which recordings are meant.

    Args:
        file: a `.csd` file, or a CSV file with the columns id (or video_id, or name), start, end.

    Returns:
        float64 [n, 2] seconds by id of the recording.

    Raises:
        UserError: the file is missing or has other columns.
        tfds_mosei.CorpusError: a `.csd` file is damaged.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: no such file. Check the path given as --segments.")
    if file.suffix.lower() == ".csv":
        return _intervals_from_csv(file)
    from tfds_mosei.csd import ComputationalSequence

    with ComputationalSequence(file) as sequence:
        return {video: sequence.intervals(video) for video in sequence.video_ids}


def _intervals_from_csv(file: Path) -> dict[str, np.ndarray]:
    found: dict[str, list[tuple[float, float]]] = {}
    with open(file, newline="", encoding="utf-8-sig") as stream:
        try:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            # A name is what predictions themselves give.
            key = next((name for name in ("video_id", "id", "name") if name in columns), "id")
            if not {key, "start", "end"} <= set(columns):
                raise UserError(
                    f"{file}: its first line names {', '.join(columns) or 'nothing'}; the columns "
                    "id, start, end (seconds) are needed."
                )
            for row in reader:
                interval = float(row["start"]), float(row["end"])
                if not all(map(math.isfinite, interval)):
                    raise ValueError(f"start or end is not finite: {interval}")
                found.setdefault(row[key], []).append(interval)
        except (csv.Error, UnicodeDecodeError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{file}, line {reader.line_num}: {error}.") from None
    return {name: np.asarray(rows, dtype=np.float64) for name, rows in found.items()}


def _cut(sequence, intervals: dict[str, np.ndarray], file: Path) -> Iterator[Segment]:
    known = [video for video in intervals if video in sequence]
    if not known:
        raise UserError(
            f"{file} and {sequence.path} have no recording in common: their ids are "
            f"{', '.join(list(intervals)[:3]) or 'none'} and {', '.join(sequence.video_ids[:3])}."
        )
    if len(known) < len(intervals):
        _log.warning(
            "%d of %d recordings in %s are not in %s: left out",
            len(intervals) - len(known),
            len(intervals),
            file,
            sequence.path,
        )
    for video in known:
        times, rows = _read_rows(sequence, video)
        yield from _stretches(video, times, rows, intervals[video], sequence.path)


def _stretches(
    name: str, times: np.ndarray, rows: np.ndarray, intervals: np.ndarray, file: Path
) -> Iterator[Segment]:
    """The rows within each interval, as the dataset has them."""
    from tfds_mosei.alignment import FrameIndex

    index = FrameIndex(times)
    empty = 0
    for start, end in intervals:
        finite = math.isfinite(start) and math.isfinite(end)
        part = rows[index.rows(float(start), float(end))] if finite else rows[:0]
        if len(part):
            yield Segment(name, float(start), float(end), part)
        else:
            empty += 1
    if empty:
        _log.warning("%d segments of %r have no rows in %s: left out", empty, name, file)
