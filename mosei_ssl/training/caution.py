"""Whether answers above 0 pay: a model that has seen too few labels does better by answering 0."""

import numpy as np
from scipy.special import expit, stdtrit

from mosei_ssl.models.emotion_model import NUM_LEVELS
from mosei_ssl.training.head_fit import fit_head

_FOLDS = 5
_CONFIDENCE = 0.95


def answers_pay(labels: np.ndarray, intensity: np.ndarray, speakers: np.ndarray) -> bool:
    """Whether answers to segments unseen in training have a lower MAE than 0, beyond doubt.

    "Beyond doubt" is above zero by a one-sided Student interval of 95 %, over segments and over
    speakers, which are fewer and whose segments are alike.

    Args:
        labels: float [N, 6].
        intensity: float [N, 6]. The answers.
        speakers: [N] names.

    Examples:
        >>> labels = np.eye(6)[[0, 1, 2, 3]] * 2
        >>> answers_pay(labels, labels, np.arange(4)), answers_pay(labels, 0 * labels, np.arange(4))
        (True, False)
    """
    gain = (labels - np.abs(intensity - labels)).mean(axis=1)
    bounds = [
        gain.mean()
        - stdtrit(len(sums) - 1, _CONFIDENCE)
        * np.sqrt(len(sums) / (len(sums) - 1) * np.sum((sums - sums.mean()) ** 2))
        / len(gain)
        for sums in (gain, np.bincount(np.unique(speakers, return_inverse=True)[1], gain))
        if len(sums) > 1
    ]
    return bool(bounds and min(bounds) > 0)


def cross_validated_intensity(
    embeddings: np.ndarray,
    labels: np.ndarray,
    speakers: np.ndarray,
    strength: float,
    anchor: np.ndarray | float = 0.0,
) -> np.ndarray:
    """What heads trained on the other labelled segments answer to each, float [N, 6].

    Folds do not share speakers, [N] names, if there are several. The heads are `fit_head`'s, with
    its arguments; the backbone is the one before fine-tuning, so that nothing has seen the labels
    it is tried on.
    """
    units = np.unique(speakers, return_inverse=True)[1]
    folds = (units if units.any() else np.arange(len(labels))) % _FOLDS
    answers = np.zeros_like(labels)
    for fold in np.unique(folds):
        tried = folds == fold
        if tried.all():  # one segment says nothing about others
            break
        weights, bias = fit_head(embeddings[~tried], labels[~tried], strength, anchor)
        answers[tried] = _median(embeddings[tried] @ weights + bias)
    return answers


def _median(units: np.ndarray) -> np.ndarray:
    """Medians [N, 6] of the distributions that units [N, 18] stand for."""
    beyond = expit(units).reshape(len(units), -1, NUM_LEVELS - 1).cumprod(axis=-1)
    return np.sum(beyond > 0.5, axis=-1).astype(float)
