"""The files of a corpus in MOSEI's layout: features, labels and folds."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mosei_ssl import __version__
from mosei_ssl.corpus.feature_cache import FeatureCache
from mosei_ssl.corpus.label_table import LabelTable
from mosei_ssl.corpus.speaker_folds import (
    cross_validation_folds,
    free_for_training,
    speaker_disjoint_folds,
)
from mosei_ssl.corpus.speaker_names import own_speaker, warn_of_voices_heard_before
from mosei_ssl.covarep.signal import ROWS_PER_SECOND
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text
from tfds_mosei import csd
from tfds_mosei.schema import FEATURE_NAMES, FEATURE_ROOT, LABEL_NAMES, LABEL_ROOT
from tfds_mosei.sources import SAMPLING_RATES, Corpus, find_sources
from tfds_mosei.speakers import SPEAKERS_FILE, read_speakers

logger = logging.getLogger(__name__)


def write_features(
    path: Path, keys: Mapping[str, str], rates: Mapping[str, int], cache: FeatureCache
) -> None:
    """Writes the features that are in the cache under these keys, by video id, and the rates."""

    def videos() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for name, key in keys.items():
            found = cache.load(key)
            if found is None:
                raise UserError(f"{cache.folder} was emptied meanwhile: start again")
            features = found.features
            edges = np.arange(len(features) + 1) / ROWS_PER_SECOND
            yield name, np.stack([edges[:-1], edges[1:]], axis=1), features

    csd.write(
        path,
        FEATURE_ROOT,
        videos(),
        dimension_names=FEATURE_NAMES,
        description=f"74 COVAREP features every 10 ms, computed by mosei_ssl {__version__}",
        # Its estimator was fitted to the original, whose trained network cannot be shipped.
        metadata={"approximate columns": ["creak"], SAMPLING_RATES: dict(rates)},
    )


def write_labels(
    path: Path, table: LabelTable, names: Mapping[Path, str], rows: Mapping[Path, int]
) -> tuple[list[Path], int, list[str]]:
    """Writes labels; gives the labelled recordings, the number of segments and those left out."""
    videos, labelled, dropped, beyond = [], [], [], 0
    for recording, name in names.items():
        duration, kept = rows[recording] / ROWS_PER_SECOND, []
        for segment in table.segments.get(recording, []):
            if segment.start < duration:
                kept.append(segment)
                continue
            dropped.append(
                f"{table.path}, line {segment.line}: starts at {segment.start:g} s, but "
                f"{recording.name} ends at {duration:.2f} s"
            )
        if kept:
            intervals = np.array([(s.start, min(s.end, duration)) for s in kept], np.float64)
            values = np.array([segment.values for segment in kept], np.float32)
            videos.append((name, intervals, values))
            beyond += sum(duration + 1 < s.end < math.inf for s in kept)
            labelled.append(recording)
    if beyond:
        logger.warning(
            "%s: %d segments end more than 1 s after their recording does and were cut there. Are "
            "start and end in seconds?",
            *(table.path, beyond),
        )
    csd.write(
        path,
        LABEL_ROOT,
        videos,
        dimension_names=LABEL_NAMES,
        description=f"labels of {table.path.name}: sentiment and six emotions",
    )
    return labelled, sum(len(values) for _, _, values in videos), dropped


def write_folds(
    path: Path,
    folds: Mapping[str, Sequence[Path]],
    table: LabelTable,
    labelled: Sequence[Path],
    names: Mapping[Path, str],
    seed: int,
) -> None:
    """Writes the ids of each split's recordings; those without labels are for training.

    Unless their speaker is in validation or test: they are left out then.
    """
    folds = {split: [p for p in paths if p in labelled] for split, paths in folds.items()}
    if not all(folds.values()):
        # So many recordings failed that a split has none left: divide the others anew.
        folds = speaker_disjoint_folds(table, labelled, seed)
    content = {split: [names[recording] for recording in paths] for split, paths in folds.items()}
    others = [r for r in names if r not in table.segments]
    free = free_for_training(folds, table.speakers, others)
    content["train"] += [names[recording] for recording in free]
    if others:
        logger.info(
            "%d recordings without labels: %d for pretraining, %d left out as their speaker is in "
            "validation or test, %d of unknown speakers",
            *(len(others), len(free), len(others) - len(free)),
            sum(not table.speakers[recording] for recording in others),
        )
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_speakers(path: Path, table: LabelTable, names: Mapping[Path, str]) -> None:
    """Writes the speakers of recordings where they are known, for `write_cross_validation`."""
    known = {
        name: sorted(table.speakers[recording] - {own_speaker(recording)})
        for recording, name in names.items()
    }
    content = {name: speakers for name, speakers in known.items() if speakers}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_cross_validation(
    corpus: str | Path, k: int, seed: int = 0, out: str | Path | None = None
) -> tuple[Path, list[dict[str, list[str]]]]:
    """Writes k >= 3 folds of a corpus, no speaker in two splits of one, for a study.

    Speakers are those that an extraction wrote, if any. Videos without labels are for training,
    unless their speaker is in validation or test. The file is by default ``folds_kK.json`` in the
    corpus. Gives the file and the folds; raises a UserError if no corpus is found, there are too
    few speakers, or the file holds other folds.
    """
    corpus = Path(corpus)
    with Corpus(find_sources(corpus)) as opened:
        labels, videos = opened.labels, sorted(opened.features.video_ids)
        sizes = {video: len(labels[video].intervals) for video in videos if video in labels}
    speakers = {video: set(names) for video, names in read_speakers(corpus).items()}
    if unknown := sum(video not in speakers for video in sizes):
        logger.warning(
            "%s names no speaker of %d videos: each counts as a different speaker",
            *(corpus / SPEAKERS_FILE, unknown),
        )
    folds = cross_validation_folds(sizes, speakers, k, seed)
    others = [video for video in videos if video not in sizes]
    given = {speaker for video in sizes for speaker in speakers.get(video, ())}
    if given and others:
        warn_of_voices_heard_before(given, [speakers.get(video, set()) for video in others])
    for fold in folds:
        fold["train"] += free_for_training(fold, speakers, others)
    text = json.dumps(folds, indent=1) + "\n"
    place = corpus / f"folds_k{k}.json" if out is None else Path(out)
    if place.exists() and place.read_text(encoding="utf-8") != text:
        raise UserError(f"{place} exists already and holds something else: give another --out")
    write_text(place, text)
    return place, folds
