"""Reading what is to be judged: files or a prepared dataset in, segments out."""

import contextlib
import csv
import itertools
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mosei_ssl.serving.signatures import MAX_FRAMES
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import FRAME_PERIOD, NUM_FEATURES

_log = logging.getLogger(__name__)


class Segment(NamedTuple):
    """A stretch of speech to be judged, however it was read or computed.

    Attributes:
        name: what it is a part of, such as a video id.
        start: its start in seconds.
        end: its end in seconds.
        features: float32 [T, 74], raw COVAREP rows.
        truth: [6] labelled intensities, where they are known.
    """

    name: str
    start: float
    end: float
    features: np.ndarray
    truth: np.ndarray | None = None


def read_segments(
    source: str | Path,
    intervals: str | Path | None = None,
    window: float = 15.0,
    hop: float | None = None,
    *,
    limit: int | None = None,
    dataset: str | None = None,
    split: str = "test",
) -> Iterator[Segment]:
    """Read the segments of a file or of a prepared dataset, one after the other.

    Args:
        source: a `.csd` file with raw COVAREP rows; a `.npy` file with those of one recording,
            float [T, 74], a row every 10 ms; a recording (wav, flac, mp3, ogg), whose features
            are computed; or a folder that datasets were prepared in, or one of those datasets.
        intervals: which stretches of a `.csd` file or recording to judge: a `.csd` label file,
            whose intervals are taken and whose labels are not, or a CSV file with the columns id,
            start, end in seconds; the id of a recording is its file name without the ending.
            None takes whole recordings.
        window: without `intervals`: recordings longer than this many seconds are cut into windows
            of this length; 0 never cuts.
        hop: seconds from one window to the next; None puts them side by side.
        limit: read the first segments only, at most this many.
        dataset: which of several prepared datasets.
        split: which split of it.

    Yields:
        At least one segment, in the order of the source; each has at least one row, and those of
        a labelled dataset carry their labels.

    Raises:
        UserError: nothing to judge is found, a file is missing, damaged, of another kind or
            width, or a segment is longer than models answer.

    Example:
        >>> file = tmp_path / "talk.npy"
        >>> np.save(file, np.zeros((400, 74), np.float32))  # four seconds
        >>> [(s.start, s.end) for s in read_segments(file, window=2.0)]
        [(0.0, 2.0), (2.0, 4.0)]
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit is {limit}: give 1 or more.")
    _check_windows(window, hop)
    source = Path(source)
    if source.is_dir():
        if intervals is not None:
            raise UserError(
                f"{source} is a folder of prepared datasets, whose segments are fixed: leave out "
                "--segments, or give a .csd file."
            )
        found = _dataset_segments(source, dataset, split)
    else:
        found = _file_segments(source, intervals, window, hop)
    empty = True
    for segment in itertools.islice(found, limit):
        empty = False
        if len(segment.features) > MAX_FRAMES:
            raise UserError(
                f"{source}: {segment.name} from {segment.start:.2f} to {segment.end:.2f} s has "
                f"{len(segment.features)} frames, and models answer at most {MAX_FRAMES}. Give "
                "shorter --segments, or leave them out and give a --window."
            )
        yield segment
    if empty:
        raise UserError(f"{source} holds no frames to judge.")


def _check_windows(window: float, hop: float | None) -> None:
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


def _dataset_segments(folder: Path, dataset: str | None, split: str) -> Iterator[Segment]:
    from mosei_ssl.config import DataConfig
    from mosei_ssl.data import load_prepared, load_segments

    if (folder / "dataset_info.json").is_file():
        segments = load_prepared(folder, split)
    else:
        segments = load_segments(DataConfig(data_dir=str(folder), dataset=dataset), split)
    for index, (start, end) in enumerate(segments.intervals):
        labels = segments.emotions[index]
        truth = labels if np.isfinite(labels).all() else None
        name = str(segments.video_ids[index])
        yield Segment(name, float(start), float(end), segments.rows(index), truth)


def _file_segments(
    source: Path, intervals: str | Path | None, window: float, hop: float | None
) -> Iterator[Segment]:
    suffix = source.suffix.lower()
    if not source.is_file():
        raise UserError(f"{source}: no such file. Check the path.")
    if suffix == ".npy":
        if intervals is not None:
            raise UserError(
                f"{source} is one recording without a name, so --segments does not apply: cut the "
                "array instead, or use a .csd file."
            )
        return windows(source.stem, _read_array(source), 0.0, window, hop)
    if suffix in (".csd", ".h5", ".hdf5"):
        return _csd_segments(source, intervals, window, hop)
    from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES

    if suffix in AUDIO_SUFFIXES:
        return _audio_segments(source, intervals, window, hop)
    raise UserError(
        f"{source}: this kind of file is not read. Give a .csd file, a .npy array of "
        f"[frames, {NUM_FEATURES}], or a recording ({', '.join(AUDIO_SUFFIXES)})."
    )


def _read_array(file: Path) -> np.ndarray:
    """Rows of one recording, float32 [T, 74]; nothing in the file is unpickled."""
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


def _audio_segments(
    source: Path, intervals: str | Path | None, window: float, hop: float | None
) -> Iterator[Segment]:
    from mosei_ssl.corpus import extract_file

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


def _csd_segments(
    source: Path, intervals: str | Path | None, window: float, hop: float | None
) -> Iterator[Segment]:
    from tfds_mosei.sources import CsdFeatures

    with contextlib.closing(CsdFeatures(source)) as features:
        if not features.video_ids:
            raise UserError(f"{source} holds no recording.")
        if intervals is None:
            for video in features.video_ids:
                times, rows = features.open(video)
                begin = float(times[0, 0]) if len(times) and np.isfinite(times[0, 0]) else 0.0
                yield from windows(video, rows[:], begin, window, hop)
            return
        chosen = read_intervals(intervals)
        present = set(features.video_ids)
        known = [video for video in chosen if video in present]
        if not known:
            raise UserError(
                f"{intervals} and {source} have no recording in common: their ids are "
                f"{', '.join(list(chosen)[:3]) or 'none'} and {', '.join(features.video_ids[:3])}."
            )
        if len(known) < len(chosen):
            _log.warning(
                "%d of %d recordings in %s are not in %s: left out",
                *(len(chosen) - len(known), len(chosen), intervals, source),
            )
        for video in known:
            times, rows = features.open(video)
            yield from _stretches(video, times, rows[:], chosen[video], source)


def windows(
    name: str, rows: np.ndarray, start: float, window: float, hop: float | None = None
) -> Iterator[Segment]:
    """Cut a recording into windows of one length; the last one ends where the recording ends."""
    length = round(window / FRAME_PERIOD) or len(rows)
    step = max(1, round((hop or window) / FRAME_PERIOD)) if window else 1
    last = max(0, len(rows) - length)
    for first in [*range(0, last, step), last] if len(rows) else []:
        part = rows[first : first + length]
        begin = start + first * FRAME_PERIOD
        yield Segment(name, begin, begin + len(part) * FRAME_PERIOD, part)


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


def read_intervals(file: str | Path) -> dict[str, np.ndarray]:
    """Start and end in seconds, float64 [n, 2], of the stretches of each recording."""
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
        reader = csv.DictReader(stream)
        try:
            columns = reader.fieldnames or []
            # `name` is the column of predictions themselves.
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
        except UserError:
            raise
        except (csv.Error, UnicodeDecodeError, TypeError, ValueError) as error:
            raise UserError(f"{file}, line {reader.line_num}: {error}.") from None
    return {name: np.asarray(rows, dtype=np.float64) for name, rows in found.items()}
