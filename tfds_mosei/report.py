"""Counts of what a build found: the data report."""

import collections
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfds_mosei.folds import Folds
from tfds_mosei.schema import EMOTIONS, NUM_FEATURES, four_class
from tfds_mosei.segments import DROP_REASONS, SPLITS, VideoSummary
from tfds_mosei.sources import Corpus
from tfds_mosei.statistics import ColumnMoments

MAX_LISTED = 1000  # ids and dropped segments listed by name; the counts are always complete
DURATION_EDGES = [*range(31)]  # seconds; what is longer counts in the last bin
SENTIMENT_EDGES = [-3.0, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.0]


def merge_moments(summaries: Iterable[VideoSummary]) -> ColumnMoments:
    """Column statistics of several videos; the order of the summaries does not matter."""
    merged = ColumnMoments.empty(NUM_FEATURES)
    for summary in sorted(summaries, key=lambda item: item.video_id):
        merged = merged.merge(summary.moments)
    return merged


def make_report(summaries: Iterable[VideoSummary], corpus: Corpus, folds: Folds) -> dict[str, Any]:
    """Everything a build counted, as JSON can hold it."""
    by_split: dict[str, list[VideoSummary]] = {split: [] for split in SPLITS}
    for summary in sorted(summaries, key=lambda item: item.video_id):
        by_split[summary.split].append(summary)
    by_split = {split: group for split, group in by_split.items() if group}
    everything = [summary for group in by_split.values() for summary in group]
    dropped = [
        {"video_id": summary.video_id, "segment_id": row, "reason": reason, "split": summary.split}
        for summary in everything
        for row, reason in summary.dropped
    ]
    reasons = collections.Counter(item["reason"] for item in dropped)
    return {
        "splits": {split: _split_report(group) for split, group in by_split.items()},
        "dropped": {reason: reasons.get(reason, 0) for reason in DROP_REASONS},
        "dropped_segments": dropped[:MAX_LISTED],
        "clipped": _total(summary.clipped for summary in everything),
        "irregularities": _total(_irregularities_by_video(everything).values()),
        "folds": _fold_report(corpus, folds),
        "videos": {
            "with_features": len(corpus.features.video_ids),
            "with_labels": len(corpus.labels),
            "features_without_labels": sum(
                video not in corpus.labels for video in corpus.features.video_ids
            ),
            "labels_without_features": sum(not corpus.has_features(v) for v in corpus.labels),
        },
    }


def _split_report(group: list[VideoSummary]) -> dict[str, Any]:
    lengths = np.array([n for summary in group for n in summary.lengths], np.int64)
    durations = np.array([s for summary in group for s in summary.durations])
    labels = np.concatenate([summary.labels for summary in group])
    report: dict[str, Any] = {
        "videos": sum(bool(summary.lengths) for summary in group),
        "segments": len(lengths),
        "frames": int(lengths.sum()),
        "hours": float(durations.sum() / 3600.0),
        "columns": merge_moments(group).to_dict(),
    }
    if len(lengths):
        quantiles = np.percentile(durations, [0, 25, 50, 75, 95, 100])
        report["seconds"] = dict(
            zip(("min", "p25", "median", "p75", "p95", "max"), quantiles.tolist(), strict=True)
        )
        report["longest_frames"] = int(lengths.max())
        counts, _ = np.histogram(np.minimum(durations, DURATION_EDGES[-1]), DURATION_EDGES)
        report["duration_histogram"] = counts.tolist()
    if len(labels):
        levels = four_class(labels[:, 1:])
        report["emotion_levels"] = {
            name: np.bincount(levels[:, i], minlength=4).tolist() for i, name in enumerate(EMOTIONS)
        }
        counts, _ = np.histogram(labels[:, 0], SENTIMENT_EDGES)
        report["sentiment_histogram"] = counts.tolist()
        report["no_emotion"] = int(np.sum(~np.any(labels[:, 1:] > 0, axis=1)))
        report["several_emotions"] = int(np.sum(np.sum(labels[:, 1:] > 0, axis=1) > 1))
    return report


def _irregularities_by_video(summaries: Iterable[VideoSummary]) -> dict[str, dict[str, int]]:
    """A video may give examples to two splits; what is odd about it counts once."""
    by_video: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for summary in summaries:
        odd = by_video[summary.video_id]
        for name, count in summary.irregularities.items():
            odd[name] = max(count, odd.get(name, 0))
    return by_video


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    return dict(sorted(sum(map(collections.Counter, counts), collections.Counter()).items()))


def _fold_report(corpus: Corpus, folds: Folds) -> dict[str, Any]:
    report = {}
    for split, ids in folds.videos.items():
        without_labels = [video for video in ids if video not in corpus.labels]
        without_features = [video for video in ids if not corpus.has_features(video)]
        report[split] = {
            "videos": len(ids),
            "without_labels": len(without_labels),
            "without_features": len(without_features),
            "ids_without_labels": without_labels[:MAX_LISTED],
            "ids_without_features": without_features[:MAX_LISTED],
        }
    return report
