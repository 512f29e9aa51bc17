"""From a folder of recordings (and a spreadsheet) to a corpus that can be built and trained on."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosei_ssl.corpus.audio_files import printable
from mosei_ssl.corpus.corpus_files import (
    write_features,
    write_folds,
    write_labels,
    write_speakers,
)
from mosei_ssl.corpus.extraction_pool import Outcome, extract_all, look_up
from mosei_ssl.corpus.feature_cache import FeatureCache
from mosei_ssl.corpus.label_table import PRESENT, read_labels
from mosei_ssl.corpus.output_guard import OutputGuard
from mosei_ssl.corpus.recordings import find_audio, video_ids
from mosei_ssl.corpus.speaker_folds import speaker_disjoint_folds
from mosei_ssl.covarep import ExtractionOptions
from mosei_ssl.covarep.audio import low_rates
from mosei_ssl.covarep.signal import ROWS_PER_SECOND
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.progress import progress
from mosei_ssl.utils.signals import stop_politely
from tfds_mosei.speakers import SPEAKERS_FILE

logger = logging.getLogger(__name__)


@dataclass
class CorpusReport:
    """What an extraction came to.

    Attributes:
        features: The feature file.
        labels: The label file; None without a spreadsheet.
        folds: The folds file; None without a spreadsheet.
        rows: Feature rows by video id.
        rates: Sampling rate in Hz by video id.
        reused: Of how many recordings the features were in the cache.
        failed: Message by recording that could not be used.
        segments: Labelled segments written.
        dropped: Message for each labelled segment left out.
    """

    features: Path
    labels: Path | None = None
    folds: Path | None = None
    rows: dict[str, int] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    reused: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    segments: int = 0
    dropped: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Duration of all usable recordings."""
        return sum(self.rows.values()) / ROWS_PER_SECOND


def extract_corpus(
    audio: Iterable[str | Path],
    out: str | Path,
    labels: str | Path | None = None,
    *,
    present_level: float = PRESENT,
    speaker_from: str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    **options: Any,
) -> CorpusReport:
    """Computes the features of many recordings and writes them as a computational sequence.

    A recording that cannot be used is reported, and the others are extracted. Features are kept in
    a cache of the user (:class:`~mosei_ssl.corpus.feature_cache.FeatureCache`), so none is computed
    twice, whatever corpus it is for, and the same call resumes where it was interrupted, tries
    failed recordings again, and completes the output (unless that was changed meanwhile). A bar on
    a terminal and a line in the log every 15 seconds show the progress.

    Args:
        audio: Files and folders (searched for audio).
        out: Feature file to write, ``.csd``.
        labels: Table or class folders as :func:`~mosei_ssl.corpus.label_table.read_labels`
            describes them. With labels, a label file ``OUT_labels.csd``, speaker-disjoint
            ``folds.json`` and ``speakers.json`` are written next to the features: the folder is
            what ``mosei-ssl build`` and ``mosei-ssl folds`` take.
        present_level: As for ``read_labels``.
        speaker_from: As for ``read_labels``.
        workers: Processes, one core each.
        overwrite: Whether existing output may be replaced.
        options: ``channel``, ``dither``, ``chunk_seconds`` and ``seed`` (of the folds too), as in
            :func:`~mosei_ssl.covarep.extract`.

    Returns:
        What was written and what could not be.

    Raises:
        UserError: Bad labels or options, no usable recording, output in the way.
        mosei_ssl.utils.signals.Interrupted: SIGTERM or Ctrl-C; the same call resumes.

    Examples:
        >>> report = extract_corpus([speech_wav], speech_wav.with_name("corpus.csd"))
        >>> report.rows
        {'speech': 100}
    """
    if Path(out).suffix.lower() != ".csd":
        raise UserError(f"--out {out}: features are written as .csd, such as corpus/speech.csd")
    if workers < 1:
        raise UserError(f"{workers} workers cannot work: give at least 1")
    chosen = ExtractionOptions(**options)
    recordings = find_audio(audio)
    names = video_ids(recordings)
    # Where the files lie decides nothing: neither the folds nor the order of the features.
    recordings.sort(key=names.__getitem__)
    report = CorpusReport(Path(out))
    out, table, speakers, folds = report.features, None, None, {}
    if labels is not None:
        table = read_labels(
            labels, recordings, present_level=present_level, speaker_from=speaker_from
        )
        folds = speaker_disjoint_folds(table, recordings, chosen.seed)
        report.labels = out.with_name(f"{out.stem}_labels.csd")
        report.folds = out.with_name("folds.json")
        speakers = out.with_name(SPEAKERS_FILE)
    cache = FeatureCache(chosen)
    paths = [path for path in (out, report.labels, report.folds, speakers) if path]
    guard = OutputGuard(paths, out.with_name(f".{out.name}.incomplete"), overwrite)
    guard.refuse_existing()
    cache.check_writable()
    out.parent.mkdir(parents=True, exist_ok=True)

    with stop_politely():
        done = _extract_missing(recordings, cache, workers, report)
        usable = {recording: names[recording] for recording in recordings if recording in done}
        if not usable:
            first = next(iter(report.failed.values()))
            raise UserError(f"none of the {len(recordings)} recordings could be used: {first}")
        rows = {recording: done[recording].rows for recording in usable}
        report.rates = {name: done[recording].rate for recording, name in usable.items()}
        if remark := low_rates(report.rates):
            logger.warning("%s", remark)
        report.rows = {name: rows[recording] for recording, name in usable.items()}
        # Extracting may have taken hours, in which somebody may have written folds.
        guard.refuse_existing()
        with guard.written(out):
            keys = {name: done[recording].key for recording, name in usable.items()}
            write_features(out, keys, report.rates, cache)
        if table and report.labels and report.folds and speakers:
            with guard.written(report.labels, report.folds, speakers):
                labelled, report.segments, report.dropped = write_labels(
                    report.labels, table, usable, rows
                )
                write_folds(report.folds, folds, table, labelled, usable, chosen.seed)
                write_speakers(speakers, table, usable)
        if not report.failed:
            guard.forget()
    return report


def _extract_missing(
    recordings: list[Path], cache: FeatureCache, workers: int, report: CorpusReport
) -> dict[Path, Outcome]:
    """Where the features of every usable recording are, computed now or before."""
    done: dict[Path, Outcome] = {}

    def note(outcome: Outcome) -> None:
        done[outcome.recording] = outcome
        for remark in outcome.remarks:
            logger.warning("%s: %s", printable(outcome.recording), remark)

    with progress("looking for known recordings", len(recordings)) as advance:
        for recording in recordings:
            if outcome := look_up(recording, cache):
                note(outcome)
            advance()
    missing = [path for path in recordings if path not in done]
    report.reused = len(done)
    with progress("extracting", len(recordings), report.reused) as advance:
        for outcome in extract_all(missing, cache, workers):
            if outcome.error:
                report.failed[str(outcome.recording)] = outcome.error
            else:
                note(outcome)
            advance()
    return done
