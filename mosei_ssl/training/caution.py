"""Whether answers above 0 pay: a model that has seen too few labels does better by answering 0."""

import numpy as np
from scipy.special import expit
from sklearn.model_selection import GroupKFold, KFold

from mosei_ssl.models.emotion_model import NUM_LEVELS
from mosei_ssl.training.head_fit import fit_head

_FOLDS = 5


def answers_pay(labels: np.ndarray, intensity: np.ndarray, speakers: np.ndarray) -> bool:
    """Whether answers to segments unseen in training have a lower MAE than 0, beyond doubt.

    "Beyond doubt" is by more than one standard error, which counts speakers, not segments, where
    those of a speaker are alike.

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
    errors = [
        np.sqrt(len(sums) / (len(sums) - 1) * np.sum((sums - sums.mean()) ** 2)) / len(gain)
        for sums in (gain, np.bincount(np.unique(speakers, return_inverse=True)[1], gain))
        if len(sums) > 1
    ]
    return bool(errors and gain.mean() > max(errors))


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
    count = min(_FOLDS, len(np.unique(speakers)))
    folds = GroupKFold(count) if count > 1 else KFold(min(_FOLDS, len(labels)))
    answers = np.zeros_like(labels)
    for train, tried in folds.split(embeddings, groups=speakers):
        weights, bias = fit_head(embeddings[train], labels[train], strength, anchor)
        answers[tried] = _median(embeddings[tried] @ weights + bias)
    return answers


def _median(units: np.ndarray) -> np.ndarray:
    """Medians [N, 6] of the distributions that units [N, 18] stand for."""
    beyond = expit(units).reshape(len(units), -1, NUM_LEVELS - 1).cumprod(axis=-1)
    return np.sum(beyond > 0.5, axis=-1).astype(float)
