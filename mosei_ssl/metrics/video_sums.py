"""Predictions as sums per video, so that scoring a bootstrap sample is a matrix product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mosei_ssl.metrics.scores import METRICS
from tfds_mosei.schema import four_class

_CLASSES = 4
# Relative variance below which predictions count as constant, as in `metrics.pearson`.
_CONSTANT = 1e-13
# Columns of VideoSums.linear.
_COUNT, _ERROR, _HITS = 0, 1, 2
_CLASS_COUNT = slice(3, 3 + _CLASSES)
_CLASS_HITS = slice(3 + _CLASSES, 3 + 2 * _CLASSES)
_X, _Y, _XX, _YY, _XY = range(11, 16)
_POSITIVE, _NEGATIVE = 16, 17
_COLUMNS = 18


@dataclass(frozen=True)
class VideoSums:
    """Sums of one run's test predictions over the segments of each video."""

    videos: np.ndarray  # [V] ids, sorted
    linear: np.ndarray  # [V, E, K] sums that add up over videos, columns as above
    # [E, V, V] correctly ranked pairs of a segment with the emotion in one video (row) and one
    # without in another (column), ties counting one half.
    wins: np.ndarray


def video_sums(
    video_ids: Sequence[str] | np.ndarray,
    labels: np.ndarray,
    predictions: Mapping[str, np.ndarray],
) -> VideoSums:
    """Sum up predictions "intensity", "class", "present" and "expected", each [N, E], by video."""
    videos, code = np.unique(np.asarray(video_ids), return_inverse=True)
    labels = np.clip(np.asarray(labels, dtype=np.float64), 0.0, 3.0)
    found = {key: np.asarray(value, dtype=np.float64) for key, value in predictions.items()}
    classes = four_class(labels)
    guess = found["class"].astype(np.int64)
    x, y = labels, found["expected"]
    columns = np.empty((*labels.shape, _COLUMNS))
    columns[..., _COUNT] = 1.0
    columns[..., _ERROR] = np.abs(found["intensity"] - labels)
    columns[..., _HITS] = classes == guess
    columns[..., _CLASS_COUNT] = classes[..., None] == np.arange(_CLASSES)
    columns[..., _CLASS_HITS] = columns[..., _CLASS_COUNT] * columns[..., _HITS, None]
    columns[..., _X : _XY + 1] = np.stack([x, y, x * x, y * y, x * y], axis=-1)
    columns[..., _POSITIVE] = labels > 0
    columns[..., _NEGATIVE] = labels <= 0
    linear = np.zeros((len(videos), *columns.shape[1:]))
    np.add.at(linear, code, columns)
    wins = [
        _wins(code, labels[:, emotion] > 0, found["present"][:, emotion], len(videos))
        for emotion in range(labels.shape[1])
    ]
    return VideoSums(videos, linear, np.stack(wins))


def _wins(code: np.ndarray, present: np.ndarray, score: np.ndarray, videos: int) -> np.ndarray:
    """Correctly ranked pairs by video of the positive (row) and of the negative (column)."""
    result = np.zeros((videos, videos))
    order = np.argsort(code, kind="stable")
    positive, negative = order[present[order]], order[~present[order]]
    if len(positive) and len(negative):
        ranked = np.heaviside(score[positive][:, None] - score[negative], 0.5)
        rows, first_rows = np.unique(code[positive], return_index=True)
        columns, first_columns = np.unique(code[negative], return_index=True)
        by_row = np.add.reduceat(ranked, first_rows, axis=0)
        result[np.ix_(rows, columns)] = np.add.reduceat(by_row, first_columns, axis=1)
    return result


@dataclass
class Sums:
    """Sums of many samples: linear [..., E, K], correctly ranked and all pairs [..., E].

    Models of different folds have no common scale, so what ranks segments compares those of one
    test split: pairs, and in _XY the split's r times its segments, which are counted in _X and _Y
    where labels and predictions vary. The alternative, pooled predictions, is biased downwards.
    Forman and Scholz, Apples-to-Apples in Cross-Validation Studies, SIGKDD Explorations 12, 2010;
    Parker, Guenter and Bedo, Stratification Bias in Low Signal Microarray Studies, BMC
    Bioinformatics 8, 2007.
    """

    linear: np.ndarray
    wins: np.ndarray
    pairs: np.ndarray

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.linear + other.linear, self.wins + other.wins, self.pairs + other.pairs)


def weighted(sums: VideoSums, weights: np.ndarray) -> Sums:
    """Add up a test split's videos; weights [B, V] say how often each of B samples holds each."""
    videos, emotions, columns = sums.linear.shape
    linear = (weights @ sums.linear.reshape(videos, -1)).reshape(-1, emotions, columns)
    _correlate(linear)
    wins = np.stack([((weights @ matrix) * weights).sum(axis=1) for matrix in sums.wins], axis=1)
    return Sums(linear, wins, linear[..., _POSITIVE] * linear[..., _NEGATIVE])


def _correlate(linear: np.ndarray) -> None:
    """Puts r, times the segments, in place of the split's sums: no split has another's scale."""
    count = linear[..., _COUNT]
    spreads = []
    for total, square in ((_X, _XX), (_Y, _YY)):
        spread = linear[..., square] - linear[..., total] ** 2 / np.maximum(count, 1)
        varies = spread > _CONSTANT * np.maximum(linear[..., square], 1e-30)
        spreads.append(np.where(varies, spread, 0.0))
    deviations = linear[..., _XY] - linear[..., _X] * linear[..., _Y] / np.maximum(count, 1)
    scale = np.sqrt(spreads[0] * spreads[1])
    r = np.divide(deviations, scale, out=np.zeros_like(scale), where=scale > 0)
    linear[..., _XY] = count * r
    linear[..., _X], linear[..., _Y] = (count * (spread > 0) for spread in spreads)


def scores(sums: Sums) -> dict[str, np.ndarray]:
    """Score samples as `metrics.evaluate_predictions` does: [..., E + 1], overall last, or NaN."""
    s = sums.linear
    count = s[..., _COUNT]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = s[..., _CLASS_HITS] / s[..., _CLASS_COUNT]
        # Of the segments of splits whose labels vary; a constant prediction there counts as 0.
        flat = s[..., _X] == 0
        r = np.where(flat | (s[..., _Y] == 0), np.nan, s[..., _XY] / s[..., _X])
        per_emotion = {
            "mae": s[..., _ERROR] / count,
            "accuracy": s[..., _HITS] / count,
            "pearson_r": np.clip(r, -1.0, 1.0),
            "balanced_accuracy": _nanmean(recall),
            "auroc": sums.wins / sums.pairs,
        }
    overall = {metric: _nanmean(values) for metric, values in per_emotion.items()}
    # A constant prediction of an emotion that varies counts as 0; all constant is undefined.
    counted = np.where(flat, np.nan, np.nan_to_num(per_emotion["pearson_r"]))
    hopeless = np.isnan(per_emotion["pearson_r"]).all(axis=-1)
    overall["pearson_r"] = np.where(hopeless, np.nan, _nanmean(counted))
    return {
        metric: np.concatenate([per_emotion[metric], overall[metric][..., None]], axis=-1)
        for metric in METRICS
    }


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; NaN, and no warning, where nothing is left."""
    return np.ma.masked_invalid(values).mean(axis=-1).filled(np.nan)


def with_intervals(
    video_ids: np.ndarray,
    labels: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    samples: int,
    minus: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Value and ends of a 95 % bootstrap interval over videos: [3, E + 1] of each metric, or NaN.

    With other predictions `minus`, of the same segments, it is the difference. An interval is NaN
    where most samples leave a score undefined. Source: Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13.
    """
    count = len(np.unique(video_ids))
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), samples)
    # The first sample is the one that was seen.
    weights = np.vstack([np.ones((1, count)), draws])
    many = scores(weighted(video_sums(video_ids, labels, predictions), weights))
    if minus is not None:
        others = scores(weighted(video_sums(video_ids, labels, minus), weights))
        many = {metric: values - others[metric] for metric, values in many.items()}
    found = {}
    for metric, (value, *drawn) in many.items():
        undefined = np.isnan(drawn).mean(axis=0) > 0.5
        ends = np.nanquantile(np.where(undefined, 0, drawn), [0.025, 0.975], axis=0)
        found[metric] = np.vstack([value, np.where(undefined, np.nan, ends)])
    return found
