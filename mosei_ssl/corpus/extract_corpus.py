"""From a folder of recordings (and a spreadsheet) to a corpus that can be built and trained on."""

import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mosei_ssl import __version__
from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES
from mosei_ssl.corpus.label_table import (
    LABEL_NAMES,
    LabelTable,
    read_labels,
    speaker_disjoint_folds,
)
from mosei_ssl.corpus.outputs import Outputs
from mosei_ssl.corpus.parts import Options, Outcome, PartStore, extract_part
from mosei_ssl.covarep.audio import check_options, printable
from mosei_ssl.covarep.columns import APPROXIMATE_COLUMNS, FEATURE_NAMES
from mosei_ssl.covarep.signal import HOP, SAMPLE_RATE
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)

FRAME_PERIOD = HOP / SAMPLE_RATE
_IGNORE_INTERRUPT = (signal.SIGINT, signal.SIG_IGN)
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass
class CorpusReport:
    """What an extraction came to.

    Attributes:
        features: The feature file.
        labels: The label file; None without a spreadsheet.
        folds: The folds file; None without a spreadsheet.
        rows: Feature rows by video id.
        reused: How many recordings had been finished by an earlier, interrupted run.
        failed: Message by recording that could not be used.
        segments: Labelled segments written.
        dropped: Message for each labelled segment left out.
    """

    features: Path
    labels: Path | None = None
    folds: Path | None = None
    rows: dict[str, int] = field(default_factory=dict)
    reused: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    segments: int = 0
    dropped: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Duration of all usable recordings."""
        return sum(self.rows.values()) * FRAME_PERIOD


def find_audio(inputs: Iterable[str | Path]) -> list[Path]:
    """Expands folders to the audio files below them.

    Args:
        inputs: Files and folders.

    Returns:
        Files, each once: those named in the order given, those of a folder sorted. Of several
        names of one file the first is kept, with a warning in the log.

    Raises:
        UserError: Nothing there, or a folder without audio.
    """
    found: dict[Path, None] = {}
    for item in inputs:
        path = Path(item)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
            if not inside:
                raise UserError(f"{printable(path)}: no audio files in this folder")
            found.update(dict.fromkeys(inside))
        else:
            # A file that is missing is one bad file among others: reported, not fatal.
            found[path] = None
    if not found:
        raise UserError("no audio files were given")
    return _without_aliases(found)


def _real(path: Path) -> Path:
    """The path without links; unlike ``Path.resolve`` it takes those that lead in a circle."""
    return Path(os.path.realpath(path))


def _without_aliases(paths: Iterable[Path]) -> list[Path]:
    """Links would put one recording into the corpus twice, on both sides of the folds maybe."""
    kept: dict[Path, Path] = {}
    for path in paths:
        first = kept.setdefault(_real(path), path)
        if first != path:
            logger.warning(
                "%s is the same file as %s: used once, as the latter",
                printable(path),
                printable(first),
            )
    return list(kept.values())


def video_ids(recordings: Sequence[Path]) -> dict[Path, str]:
    """Names for the recordings in the corpus: as short as they can be told apart.

    Args:
        recordings: Distinct paths.

    Returns:
        Id by recording: file name without ending; with the ending or the folders below the
        common one where names repeat. Bytes that are not UTF-8 are spelled out (``\\xe9``).
    """
    parents = [str(_real(path).parent) for path in recordings]
    common = Path(os.path.commonpath(parents)) if parents else Path()
    makers: list[Callable[[Path], str]] = [
        lambda path: path.stem,
        lambda path: path.name,
        lambda path: "__".join(_real(path).relative_to(common).with_suffix("").parts),
        lambda path: "__".join(_real(path).relative_to(common).parts),
    ]
    for make in makers:
        # HDF5 holds UTF-8 only.
        names = [printable(make(path)) for path in recordings]
        if len(set(names)) == len(names):
            break
    else:
        raise UserError("the same recording is given twice under different names")
    return dict(zip(recordings, names, strict=True))


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Child processes each use one core; the libraries read this when they start."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run_pool(recordings, store: PartStore, workers: int) -> Iterator[tuple[Path, Outcome | None]]:
    """Outcomes in the order they come in; None where the process died without one."""
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    pool_of = ProcessPoolExecutor(
        workers, mp_context=context, initializer=signal.signal, initargs=_IGNORE_INTERRUPT
    )
    with _single_threaded(), pool_of as pool:
        futures: dict[Future, Path] = {}
        try:
            for recording in recordings:
                futures[pool.submit(extract_part, recording, store)] = recording
        except BrokenProcessPool:
            pending = recordings[len(futures) :]
        else:
            pending = []
        try:
            for future in as_completed(futures):
                died = isinstance(future.exception(), BrokenProcessPool)
                yield futures[future], None if died else future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise
        for recording in pending:
            yield recording, None


def _run_all(recordings, store: PartStore, workers: int) -> Iterator[tuple[Path, Outcome]]:
    """Outcome of every recording, whatever happens to the processes."""
    if not recordings:
        return
    if workers == 1 or len(recordings) == 1:
        for recording in recordings:
            yield recording, extract_part(recording, store)
        return
    # A process that was killed takes the others' work with it: try those again, first together,
    # for most had nothing to do with it, then one at a time.
    orphans = list(recordings)
    for _ in range(2):
        left = []
        for recording, outcome in _run_pool(orphans, store, min(workers, len(orphans))):
            if outcome is None:
                left.append(recording)
            else:
                yield recording, outcome
        orphans = left
        if not orphans:
            return
    for recording in orphans:
        for _, outcome in _run_pool([recording], store, 1):
            died = Outcome(
                0, f"{printable(recording)}: the process died, probably for lack of memory"
            )
            yield recording, outcome or died


def _rows_of(count: int) -> np.ndarray:
    """Intervals in seconds of feature rows, [count, 2]."""
    edges = np.arange(count + 1) * HOP / SAMPLE_RATE
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _label_arrays(table: LabelTable, recording: Path, rows: int, report: CorpusReport) -> tuple:
    """Intervals and values of a recording's segments; those outside it are dropped."""
    duration = rows * HOP / SAMPLE_RATE
    intervals, values = [], []
    for segment in table.segments[recording]:
        if segment.start >= duration:
            report.dropped.append(
                f"{table.path}, line {segment.line}: starts at {segment.start:g} s, but "
                f"{recording.name} ends at {duration:.2f} s"
            )
            continue
        intervals.append((segment.start, min(segment.end, duration)))
        values.append(segment.values)
    shape = (len(intervals), 2)
    return np.array(intervals, np.float64).reshape(shape), np.array(values, np.float32)


def extract_corpus(
    audio: Iterable[str | Path],
    out: str | Path,
    labels: str | Path | None = None,
    *,
    workers: int = 1,
    resume: bool = True,
    overwrite: bool = False,
    channel: int | None = None,
    dither: float = 0.0,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
    show_progress: bool = True,
) -> CorpusReport:
    """Computes the features of many recordings and writes them as a computational sequence.

    A recording that cannot be used is reported and stops nothing. Finished ones are kept beside
    the output until the corpus is complete, so the same call goes on where it was interrupted,
    tries failed recordings again, and completes the output (unless that was changed meanwhile).

    Args:
        audio: Files and folders (searched for audio).
        out: Feature file to write, ``.csd``.
        labels: Spreadsheet as :func:`~mosei_ssl.corpus.label_table.read_labels` describes it.
            With one, a label file ``OUT_labels.csd`` and speaker-disjoint ``folds.json`` are
            written beside the features: the folder is what ``mosei-ssl build`` takes.
        workers: Processes, one core each.
        resume: Whether to use what an interrupted run has finished.
        overwrite: Whether existing output may be replaced.
        channel: Channel to use; None averages all.
        dither: As in :func:`~mosei_ssl.covarep.extract`.
        chunk_seconds: As in :func:`~mosei_ssl.covarep.extract`.
        seed: Of random phases, dither and folds.
        show_progress: Whether to draw a bar (only where there is a terminal).

    Returns:
        What was written and what could not be.

    Raises:
        UserError: Bad labels or options, no usable recording, output in the way.

    Example:
        ```python
        report = extract_corpus(["recordings"], "corpus/speech.csd", labels="labels.csv")
        print(report.failed)
        ```
    """
    if workers < 1:
        raise UserError(f"{workers} workers cannot work: give at least 1")
    check_options(dither, chunk_seconds, seed)
    recordings = find_audio(audio)
    names = video_ids(recordings)
    out = Path(out)
    label_path, fold_path = out.with_name(f"{out.stem}_labels.csd"), out.with_name("folds.json")
    table, folds = None, {}
    if labels is not None:
        table = read_labels(labels, recordings)
        folds = speaker_disjoint_folds(table, recordings, seed)
    store = PartStore(
        out.with_name(f".{out.name}.parts"), Options(channel, dither, chunk_seconds, seed)
    )
    paths = [out] if table is None else [out, label_path, fold_path]
    outputs = Outputs(paths, store.record, overwrite)
    outputs.refuse_existing()
    out.parent.mkdir(parents=True, exist_ok=True)
    if not resume:
        store.remove()
        # If this call is interrupted, the next one must still know its files.
        outputs.remember()

    report = CorpusReport(out)
    done = _extract_missing(recordings, store, workers, report, show_progress)
    counts = {recording: done[recording] for recording in recordings if recording in done}
    if not counts:
        first = next(iter(report.failed.values()))
        raise UserError(f"none of the {len(recordings)} recordings could be used: {first}")
    report.rows = {names[recording]: rows for recording, rows in counts.items()}
    # Extracting may have taken hours, in which somebody may have written folds.
    outputs.refuse_existing()
    with outputs.written(out):
        _write_features(out, list(counts), names, store)
    if table is not None:
        with outputs.written(label_path, fold_path):
            _write_labels(label_path, fold_path, table, folds, names, counts, report, seed)
    if not report.failed:
        store.remove()
    return report


def _extract_missing(
    recordings: list[Path], store: PartStore, workers: int, report: CorpusReport, show: bool
) -> dict[Path, int]:
    """Rows of every usable recording, computed now or before."""
    counts: dict[Path, int] = {}
    missing = []
    for recording in recordings:
        done = store.load(recording) if recording.is_file() else None
        if done is None:
            missing.append(recording)
        else:
            counts[recording] = len(done)
    report.reused = len(counts)
    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = not (show and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=len(recordings), completed=report.reused)
        for recording, outcome in _run_all(missing, store, workers):
            if outcome.error is None:
                counts[recording] = outcome.rows
            else:
                report.failed[str(recording)] = outcome.error
                logger.info("left out: %s", outcome.error)
            progress.advance(task)
    return counts


def _write_features(out: Path, good: list[Path], names: dict[Path, str], store: PartStore) -> None:
    # Imported here because it brings TensorFlow along, which extracting does not need.
    from tfds_mosei import csd

    def videos() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for recording in good:
            features = store.load(recording)
            if features is None:
                raise UserError(
                    f"{printable(recording)} changed while it was worked on: start again"
                )
            yield names[recording], _rows_of(len(features)), features

    csd.write(
        out,
        "COVAREP",
        videos(),
        dimension_names=FEATURE_NAMES,
        description=(
            f"74 COVAREP features every 10 ms, computed by mosei_ssl {__version__}; approximate: "
            + ", ".join(APPROXIMATE_COLUMNS)
        ),
        metadata={"approximate columns": list(APPROXIMATE_COLUMNS)},
    )


def _write_labels(
    label_path: Path,
    fold_path: Path,
    table: LabelTable,
    folds: dict[str, list[Path]],
    names: dict[Path, str],
    counts: dict[Path, int],
    report: CorpusReport,
    seed: int,
) -> None:
    from tfds_mosei import csd

    videos, labelled = [], []
    for recording in counts:
        if recording in table.segments:
            intervals, values = _label_arrays(table, recording, counts[recording], report)
            if len(values):
                videos.append((names[recording], intervals, values))
                labelled.append(recording)
    report.segments = sum(len(values) for _, _, values in videos)
    for message in report.dropped:
        logger.info("left out: %s", message)
    folds = {split: [p for p in paths if p in labelled] for split, paths in folds.items()}
    if not all(folds.values()):
        # Recordings failed until a split was left with none: divide the others anew.
        folds = speaker_disjoint_folds(table, labelled, seed)
    csd.write(
        label_path,
        "All Labels",
        videos,
        dimension_names=LABEL_NAMES,
        description=f"labels of {table.path.name}: sentiment and six emotions",
    )
    content = {split: [names[path] for path in paths] for split, paths in folds.items()}
    fold_path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    report.labels, report.folds = label_path, fold_path
