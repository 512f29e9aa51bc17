"""Which video gives which examples to which split; the same for every way of building."""

from collections.abc import Iterator
from typing import Any

from tfds_mosei import segments
from tfds_mosei.folds import Folds
from tfds_mosei.schema import LABELLED_SPLITS
from tfds_mosei.segments import VideoSummary
from tfds_mosei.sources import Corpus

UNASSIGNED = "unassigned"
UNLABELLED = "unlabelled"
SPLITS = (*LABELLED_SPLITS, UNASSIGNED, UNLABELLED)
UNLABELLED_CHOICES = ("train", "all", "none")

Examples = Iterator[tuple[str, dict[str, Any]]]


def plan_videos(corpus: Corpus, folds: Folds, unlabelled: str) -> dict[str, tuple[str, ...]]:
    """Which videos each split reads.

    Args:
        corpus: the corpus.
        folds: the folds.
        unlabelled: videos of the split ``unlabelled``: ``"train"`` for those of the train fold,
            ``"all"`` for those in no fold too, ``"none"`` for no such split.

    Returns:
        Ids by split, sorted; ``unassigned`` and ``unlabelled`` only where there are any. No
        video of the validation or test fold is ever in ``unlabelled``.
    """
    plan: dict[str, tuple[str, ...]] = {}
    for split in (*LABELLED_SPLITS, UNASSIGNED):
        fold = None if split == UNASSIGNED else split
        plan[split] = tuple(v for v in sorted(corpus.labels) if folds.split_of(v) == fold)
    allowed = {"train": ("train",), "all": ("train", None), "none": ()}[unlabelled]
    plan[UNLABELLED] = tuple(v for v in corpus.features.video_ids if folds.split_of(v) in allowed)
    return {split: ids for split, ids in plan.items() if ids or split in LABELLED_SPLITS}


def video_examples(corpus: Corpus, split: str, video_id: str) -> tuple[Examples, VideoSummary]:
    """Examples that one video gives to one split.

    Args:
        corpus: the corpus.
        split: one of the splits of `plan_videos`.
        video_id: one of its videos.

    Returns:
        An iterator of ``(key, example)``, and a summary that is complete once it is exhausted.

    Raises:
        CorpusError: the video cannot be read.
    """
    if split != UNLABELLED and not corpus.has_features(video_id):
        return iter(()), segments.unavailable(video_id, split, corpus.labels[video_id])
    if split == UNLABELLED:
        return segments.chunk_examples(video_id, split, *corpus.features.read(video_id))
    # Only what lies in a segment is read here.
    intervals, rows = corpus.features.open(video_id)
    return segments.segment_examples(video_id, split, intervals, rows, corpus.labels[video_id])
