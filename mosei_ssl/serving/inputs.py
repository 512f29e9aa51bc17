"""Reading what is to be judged: files or a prepared dataset in, segments out."""

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mosei_ssl.data.context import Context, context_of, contexts
from mosei_ssl.serving.signatures import MAX_FRAMES
from mosei_ssl.serving.sources import Source, holds_datasets, opened_sources
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import OptionError, out_of_range
from mosei_ssl.utils.progress import progress
from tfds_mosei import find_prepared, list_prepared
from tfds_mosei.schema import FRAME_PERIOD

if TYPE_CHECKING:
    from tfds_mosei.alignment import FrameIndex

_log = logging.getLogger(__name__)


class Segment(NamedTuple):
    """A stretch of speech to be judged, however it was read or computed.

    Attributes:
        name: what it is a part of, such as a video id.
        start: its start in seconds.
        end: its end in seconds.
        features: float32 [T, 74], raw COVAREP rows.
        truth: [6] labelled intensities, where they are known.
        period: seconds from row to row; None for a row per word.
        context: of the whole recording, or of all that its speaker says.
        rate: sampling rate of the recording in Hz, where it is known.
    """

    name: str
    start: float
    end: float
    features: np.ndarray
    truth: np.ndarray | None = None
    period: float | None = FRAME_PERIOD
    context: Context | None = None
    rate: int | None = None


def read_segments(
    source: str | Path | Sequence[str | Path],
    intervals: str | Path | None = None,
    window: float = 15.0,
    hop: float | None = None,
    *,
    limit: int | None = None,
    speaker_from: str | None = None,
    dataset: str | None = None,
    split: str = "test",
) -> Iterator[Segment]:
    """Read the segments of files or of a prepared dataset, one after the other.

    Args:
        source: a `.csd` file with raw COVAREP rows; a `.npy` file with those of one recording,
            float [T, 74], a row every 10 ms; a recording (wav, flac, mp3, ogg), whose features
            are computed, or a folder of recordings; or a folder that datasets were prepared in, or
            one of those datasets; or several of these, of which audio files get the shortest
            names that tell them apart.
        intervals: which stretches of a `.csd` file or recording to judge: a `.csd` label file or
            a table (.csv, .tsv, .xlsx) as `build` or `extract --labels` takes it, of which only
            the recording, start and end (in seconds; blank is the recording's own) are taken.
            None takes whole recordings.
        window: without `intervals`: recordings longer than this many seconds, and where rows are
            missing, are cut into windows of this length; 0 cuts only where rows are missing.
        hop: seconds from one window to the next; None puts them side by side.
        limit: read the first segments only, at most this many.
        speaker_from: regular expression for names of files (or ids), whose first group is the
            speaker: the context of a segment is then all that its speaker says, not just the
            recording.
        dataset: which of several prepared datasets.
        split: which split of it.

    Yields:
        At least one segment, in the order of the source; each has at least one row, and those of
        a labelled dataset carry their labels.

    Raises:
        UserError: nothing to judge is found, a file is missing, damaged, of another kind or
            width, or a segment is longer than models accept.

    Examples:
        >>> file = tmp_path / "talk.npy"
        >>> np.save(file, np.zeros((400, 74), np.float32))  # four seconds
        >>> [(s.start, s.end) for s in read_segments(file, window=2.0)]
        [(0.0, 2.0), (2.0, 4.0)]
    """
    # A window of 0 stands for whole recordings.
    bounds = {
        "window": (window or None, FRAME_PERIOD, MAX_FRAMES * FRAME_PERIOD),
        "hop": (hop, FRAME_PERIOD, math.inf),
        "limit": (limit, 1, math.inf),
    }
    for name, (value, least, most) in bounds.items():
        if value is not None and (problem := out_of_range(value, least, most)):
            raise OptionError("--", name, problem)
    given = [source] if isinstance(source, str | Path) else source
    inputs = list(dict.fromkeys(map(Path, given)))
    label = ", ".join(map(str, inputs[:3])) + (", ..." if len(inputs) > 3 else "")
    folders = [path for path in inputs if holds_datasets(path)]
    if folders and intervals is not None:
        raise UserError(
            f"{folders[0]} is a folder of prepared datasets, whose segments are fixed: leave out "
            "--segments, or give a .csd file."
        )
    if folders and speaker_from is not None:
        raise UserError(
            f"{folders[0]} is a folder of prepared datasets, which name their speakers themselves: "
            "leave out --speaker-from."
        )
    for path in folders:
        if not (path / "dataset_info.json").is_file() and not list_prepared(path):
            from mosei_ssl.corpus.audio_files import CONVERT

            raise UserError(
                f"{path}: neither recordings nor prepared datasets are in this folder; {CONVERT}"
            )
    files = opened_sources([path for path in inputs if path not in folders])

    def segments() -> Iterator[Segment]:
        for folder in folders:
            yield from _dataset_segments(folder, dataset, split)
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(file) for file in files]
            whole = _contexts(opened, speaker_from) if speaker_from else {}
            for number, found in enumerate(opened):
                for segment in _file_segments(found, intervals, window, hop):
                    place = (number, segment.name)
                    yield segment._replace(context=whole.get(place, segment.context))

    empty = True
    for segment in itertools.islice(segments(), limit):
        empty = False
        if len(segment.features) > MAX_FRAMES:
            raise UserError(
                f"{label}: {segment.name} from {segment.start:.2f} to {segment.end:.2f} s has "
                f"{len(segment.features)} frames, and models accept at most {MAX_FRAMES}. Give "
                "shorter --segments, or leave them out and give a --window."
            )
        yield segment
    if empty:
        raise UserError(f"{label} holds no frames to judge.")


def _dataset_segments(folder: Path, dataset: str | None, split: str) -> Iterator[Segment]:
    from mosei_ssl.data import load_prepared

    prepared = (folder / "dataset_info.json").is_file()
    segments = load_prepared(folder if prepared else find_prepared(folder, dataset), split)
    period, speakers = segments.row_period, segments.speaker_ids.tolist()
    whole = contexts(segments.frames, speakers)
    for index, (start, end) in enumerate(segments.intervals.tolist()):
        labels = segments.emotions[index]
        truth = labels if np.isfinite(labels).all() else None
        name, rows = str(segments.video_ids[index]), segments.rows(index)
        yield Segment(name, start, end, rows, truth, period, whole[speakers[index]])


def _contexts(sources: Sequence[Source], speaker_from: str) -> dict[tuple[int, str], Context]:
    """By source and recording, the context of all that its speaker says; everything is read."""
    from mosei_ssl.corpus.speaker_names import name_finder

    find = name_finder(speaker_from)
    own: dict[str, list[tuple[int, str]]] = {}
    unknown: list[str] = []
    for number, source in enumerate(sources):
        for name in source.names:
            if speaker := find(source.files.get(name, Path(name))):
                own.setdefault(speaker, []).append((number, name))
            else:
                unknown.append(name)
    if not own:
        raise UserError(f"--speaker-from {speaker_from!r} fits no name, such as {unknown[0]!r}.")
    if unknown:
        _log.warning(
            "--speaker-from %r does not fit %d names, such as %r: the context of these is the "
            "recording",
            *(speaker_from, len(unknown), unknown[0]),
        )
    found: dict[tuple[int, str], Context] = {}
    with progress("reading all of each speaker", sum(map(len, own.values()))) as advance:

        def rows(places: list[tuple[int, str]]) -> Iterator[np.ndarray]:
            for number, name in places:
                yield sources[number].read(name).rows
                advance()

        for places in own.values():
            found |= dict.fromkeys(places, context_of(rows(places)))
    return found


def _file_segments(
    source: Source, intervals: str | Path | None, window: float, hop: float | None
) -> Iterator[Segment]:
    if not source.names:
        raise UserError(f"{source.label} holds no recording.")
    if intervals is None:
        for name in source.names:
            found = source.read(name)
            for segment in windows(name, found.times, found.rows, window, hop):
                yield segment._replace(rate=found.rate)
        return
    if source.unnamed:
        raise UserError(
            f"{source.label} is one recording without a name, so --segments does not apply: cut "
            "the array instead, or use a .csd file."
        )
    for name, chosen in _intervals(Path(intervals), source).items():
        found = source.read(name)
        for segment in _stretches(name, found.times, found.rows, chosen, source.label):
            yield segment._replace(rate=found.rate)


def audio_windows(name: str, rows: np.ndarray, rate: int, window: float) -> Iterator[Segment]:
    """:func:`windows` of the features [T, 74] of audio that was recorded at a rate in Hz."""
    from mosei_ssl.covarep import row_times

    starts = row_times(len(rows))
    times = np.stack([starts, starts + FRAME_PERIOD], axis=1)
    return (part._replace(rate=rate) for part in windows(name, times, rows, window))


def windows(
    name: str, times: np.ndarray, rows: np.ndarray, window: float, hop: float | None = None
) -> Iterator[Segment]:
    """Cut a recording into windows of one length, by the times [T, 2] of its rows.

    Rows come in order of time, and no window reaches across a gap of five rows or more; the last
    window before one, or before the end, ends where the rows end.
    """
    from tfds_mosei.alignment import FrameIndex
    from tfds_mosei.chunks import GAP_SECONDS

    index = FrameIndex(times)
    if index.unusable:
        _log.warning("%d rows of %r have no usable times: left out", index.unusable, name)
    if not len(index.starts):
        return
    period, whole = _measured_period(index), context_of([rows])
    gap = GAP_SECONDS / FRAME_PERIOD * period
    gaps = index.starts[1:] - np.maximum.accumulate(index.ends)[:-1] >= gap
    for begin, stop in itertools.pairwise([0, *(np.flatnonzero(gaps) + 1), len(index.starts)]):
        length = min(max(1, round(window / period)) if window else stop - begin, stop - begin)
        step = max(1, round((hop or window) / period))
        last = stop - length
        for first in [*range(begin, last, step), last]:
            part = slice(first, first + length)
            start, end = float(index.starts[first]), float(index.ends[part].max())
            kept = rows[part] if index.in_order else rows[index.order[part]]
            yield Segment(name, start, end, kept, period=period, context=whole)


def _measured_period(index: "FrameIndex") -> float:
    """Seconds from row to row of a recording, the median; how long a row lasts if there is one."""
    steps = np.diff(index.starts)
    steps = steps[steps > 0]
    return float(np.median(steps if len(steps) else index.ends - index.starts))


def _stretches(
    name: str, times: np.ndarray, rows: np.ndarray, intervals: np.ndarray, file: str
) -> Iterator[Segment]:
    """The rows within each interval, as the dataset has them."""
    from tfds_mosei.alignment import FrameIndex

    index = FrameIndex(times)
    period = _measured_period(index) if len(index.starts) else FRAME_PERIOD
    whole = context_of([rows])
    empty = 0
    found = index.rows_of_each(np.nan_to_num(intervals))
    for (start, end), chosen in zip(intervals, found, strict=True):
        part = rows[:0] if np.isnan([start, end]).any() else rows[chosen]
        if len(part):
            end = index.ends.max() if np.isinf(end) else end
            yield Segment(name, float(start), float(end), part, period=period, context=whole)
        else:
            empty += 1
    if empty:
        _log.warning("%d segments of %r have no rows in %s: left out", empty, name, file)


def _intervals(file: Path, source: Source) -> dict[str, np.ndarray]:
    """Start and end in seconds, float64 [n, 2], of the stretches of each recording of a source."""
    if not file.is_file():
        raise UserError(f"{file}: no such file. Check the path given as --segments.")
    from mosei_ssl.corpus.label_table import KnownRecordings, check_times, stretch
    from tfds_mosei.csd import ComputationalSequence
    from tfds_mosei.tables import RECORDINGS, TABLE_SUFFIXES, Table

    chosen: dict[str, list] = {}
    if file.suffix.lower() in TABLE_SUFFIXES:
        names = {source.files.get(name, Path(name)): name for name in source.names}
        known = KnownRecordings(names)
        about = "a table of segments has the column id or file, and perhaps start and end."
        rows = Table(file, RECORDINGS, about)
        check_times(file, rows)
        for row in rows:
            recording = known.find(row)
            name = names[recording] if recording else row.text("id")
            chosen.setdefault(name, []).append(stretch(row))
    else:
        with ComputationalSequence(file) as sequence:
            chosen = {video: sequence.intervals(video) for video in sequence.video_ids}
    present = chosen.keys() & source.names
    if not present:
        raise UserError(
            f"{file} and {source.label} have no recording in common: their ids are "
            f"{', '.join(list(chosen)[:3]) or 'none'} and {', '.join(source.names[:3])}."
        )
    if len(present) < len(chosen):
        _log.warning(
            "%d of %d recordings in %s are not in %s: left out",
            *(len(chosen) - len(present), len(chosen), file, source.label),
        )
    return {name: np.asarray(times) for name, times in chosen.items() if name in present}
