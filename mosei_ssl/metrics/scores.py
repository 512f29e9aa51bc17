"""Scores of emotion predictions against labels, overall and per emotion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfds_mosei.schema import EMOTIONS, four_class

METRICS = ("mae", "accuracy", "pearson_r", "balanced_accuracy", "auroc")
"""Names of the scores, in the order in which tables show them."""

LOWER_IS_BETTER = frozenset({"mae"})
"""Scores of which a smaller value is better; of all others a larger one is."""

PREDICTION_KEYS = ("intensity", "class", "present", "expected")


def pearson(labels: np.ndarray, values: np.ndarray) -> float | None:
    """Pearson's correlation of [N] labels and values; None if either is constant or N < 2.

    Examples:
        >>> pearson(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])) is None
        True
    """
    x, y = np.asarray(labels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.size < 2 or any(np.ptp(v) <= 1e-7 * max(1.0, np.abs(v).max()) for v in (x, y)):
        return None
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def auroc(present: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve of [N] scores for [N] bool; None if all are of one class.

    Examples:
        >>> auroc(np.array([False, True]), np.array([0.1, 0.9]))
        1.0

    References:
        Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982.
    """
    present, score = np.asarray(present, dtype=bool), np.asarray(score, dtype=np.float64)
    higher, lower = score[present], np.sort(score[~present])
    if not len(higher) or not len(lower):
        return None
    # A tie counts half.
    wins = [np.searchsorted(lower, higher, side).sum() / 2 for side in ("left", "right")]
    return float(sum(wins) / (len(higher) * len(lower)))


def emotion_threshold(labels: np.ndarray, present: np.ndarray) -> float:
    """Probability from which the strongest emotion of a segment counts as one.

    It tells segments with any emotion from those with none at the best balanced accuracy (Youden,
    "Index for rating diagnostic tests", Cancer 3, 1950). `labels` and `present` are [N, E]; where
    all segments are of one kind it is 0.5.

    Examples:
        >>> emotion_threshold(np.array([[0.0], [1.0], [3.0]]), np.array([[0.1], [0.3], [0.2]]))
        0.2
    """
    emotional, strongest = (labels > 0).any(axis=1), present.max(axis=1)
    if emotional.all() or not emotional.any():
        return 0.5
    thresholds = np.unique(strongest)[::-1]
    below = [
        np.searchsorted(np.sort(strongest[kind]), thresholds) / kind.sum()
        for kind in (emotional, ~emotional)
    ]
    return round(float(thresholds[np.argmax(below[1] - below[0])]), 6)


def balanced_accuracy(classes: np.ndarray, predicted: np.ndarray) -> float | None:
    """Mean recall over those of the four classes that occur in [N] labels; None without labels.

    Examples:
        >>> balanced_accuracy(np.array([0, 0, 0, 2]), np.array([0, 0, 0, 0]))
        0.5
    """
    classes, predicted = np.asarray(classes), np.asarray(predicted)
    recalls = [float(np.mean(predicted[classes == c] == c)) for c in np.unique(classes)]
    return float(np.mean(recalls)) if recalls else None


def _check(labels: np.ndarray, predictions: Mapping[str, np.ndarray], columns: int) -> None:
    if labels.ndim != 2 or labels.shape[1] != columns or labels.shape[0] == 0:
        raise ValueError(f"labels must be [N, {columns}] with N > 0, not {labels.shape}")
    if not np.isfinite(labels).all():
        raise ValueError("labels hold non-finite values: unlabelled segments cannot be scored")
    for key in PREDICTION_KEYS:
        if key not in predictions:
            raise ValueError(f"predictions lack {key!r}; needed are {', '.join(PREDICTION_KEYS)}")
        value = np.asarray(predictions[key])
        if value.shape != labels.shape:
            raise ValueError(f"predictions[{key!r}] is {value.shape}, labels are {labels.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"predictions[{key!r}] hold non-finite values")


def evaluate_predictions(
    labels: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    emotions: Sequence[str] = EMOTIONS,
) -> dict[str, Any]:
    """Score predictions, overall and per emotion.

    Scores are `mae` (of ``intensity``), `accuracy` and `balanced_accuracy` (four classes, of
    ``class``), `pearson_r` (of ``expected``) and `auroc` (present against absent, of ``present``).
    Overall scores are means over emotions. An undefined score is None, which JSON writes as null:
    Pearson's r if labels or predictions of an emotion are constant, AUROC if an emotion never or
    always occurs. In the overall r an emotion whose labels vary but whose predictions are constant
    counts as 0; the overall AUROC is the mean over the emotions that define it.

    Args:
        labels: [N, 6] float intensities in [0, 3]; larger values are clipped.
        predictions: Arrays [N, 6]: "intensity" in [0, 3], "class" in {0, 1, 2, 3}, "present"
            (score), "expected".
        emotions: Column names.

    Returns:
        ``{"overall": {metric: value}, "per_emotion": {emotion: {metric: value}}, "segments": N}``.

    Raises:
        ValueError: If shapes disagree, a key is missing or a value is not finite.

    Examples:
        >>> labels = np.array([[0., 1.], [2., 0.]])
        >>> perfect = {"intensity": labels, "class": labels, "present": labels, "expected": labels}
        >>> evaluate_predictions(labels, perfect, ("happy", "sad"))["overall"]["pearson_r"]
        1.0

    References:
        Zadeh et al., "Multimodal Language Analysis in the Wild", ACL 2018.
    """
    labels = np.asarray(labels, dtype=np.float64)
    _check(labels, predictions, len(emotions))
    labels = np.clip(labels, 0.0, 3.0)
    classes = four_class(labels)
    predicted = {key: np.asarray(predictions[key], dtype=np.float64) for key in PREDICTION_KEYS}
    per_emotion: dict[str, dict[str, float | None]] = {}
    for column, name in enumerate(emotions):
        label, truth = labels[:, column], classes[:, column]
        found = {key: values[:, column] for key, values in predicted.items()}
        per_emotion[name] = {
            "mae": float(np.mean(np.abs(found["intensity"] - label))),
            "accuracy": float(np.mean(truth == found["class"])),
            "pearson_r": pearson(label, found["expected"]),
            "balanced_accuracy": balanced_accuracy(truth, found["class"]),
            "auroc": auroc(label > 0, found["present"]),
        }
    overall: dict[str, float | None] = {}
    for metric in METRICS:
        values = [scores[metric] for scores in per_emotion.values()]
        defined = [value for value in values if value is not None]
        if metric == "pearson_r" and defined:
            # Leaving out what is undefined would reward giving up on the hardest emotion.
            varies = np.ptp(labels, axis=0) > 0
            defined = [value or 0.0 for value, v in zip(values, varies, strict=True) if v]
        overall[metric] = float(np.mean(defined)) if defined else None
    return {"overall": overall, "per_emotion": per_emotion, "segments": int(labels.shape[0])}
