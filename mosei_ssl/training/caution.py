"""Whether answers above 0 pay: a model that has seen too few labels does better by answering 0."""

import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.model_selection import GroupKFold, KFold
from threadpoolctl import threadpool_limits

from mosei_ssl.models.emotion_model import NUM_LEVELS
from mosei_ssl.models.soft_target_crossentropy import soft_target

_FOLDS = 5
_ITERATIONS = 300


def answers_pay(labels: np.ndarray, intensity: np.ndarray, videos: np.ndarray) -> bool:
    """Whether answers to segments unseen in training have a lower MAE than 0, beyond doubt.

    "Beyond doubt" is by more than one standard error, which counts videos, not segments, where
    those of a video are alike.

    Args:
        labels: float [N, 6].
        intensity: float [N, 6]. The answers.
        videos: [N] ids.

    Examples:
        >>> labels = np.eye(6)[[0, 1, 2, 3]] * 2
        >>> answers_pay(labels, labels, np.arange(4)), answers_pay(labels, 0 * labels, np.arange(4))
        (True, False)
    """
    gain = (labels - np.abs(intensity - labels)).mean(axis=1)
    errors = [
        np.sqrt(len(sums) / (len(sums) - 1) * np.sum((sums - sums.mean()) ** 2)) / len(gain)
        for sums in (gain, np.bincount(np.unique(videos, return_inverse=True)[1], gain))
        if len(sums) > 1
    ]
    return bool(errors and gain.mean() > max(errors))


# Of products this small threads are a twentieth as fast.
@threadpool_limits.wrap(limits=1, user_api="blas")
def cross_validated_intensity(
    embeddings: np.ndarray,
    labels: np.ndarray,
    videos: np.ndarray,
    weight_penalty: float,
    anchor: np.ndarray | float = 0.0,
) -> np.ndarray:
    """What heads trained on the other labelled segments answer to each, float [N, 6].

    Folds do not share videos, if there are several. The heads are those of `DistributionHead`
    without dropout, fitted by L-BFGS to the same loss; the backbone is the one before fine-tuning,
    so that nothing has seen the labels it is tried on.

    Args:
        embeddings: float [N, D], see `EmotionModel.embedding`.
        labels: float [N, 6] in [0, 3].
        videos: [N] ids.
        weight_penalty: as of `DistributionHead`, with N labels.
        anchor: [D, 18] weights that the head is pulled to.
    """
    count = min(_FOLDS, len(np.unique(videos)))
    folds = GroupKFold(count) if count > 1 else KFold(min(_FOLDS, len(labels)))
    answers = np.zeros_like(labels)
    # The loss is a mean over segments and emotions; a prior is of the same strength in each fold.
    strength = weight_penalty * labels.size
    for train, tried in folds.split(embeddings, groups=videos):
        weights, bias = _fit(embeddings[train], labels[train], strength, anchor)
        answers[tried] = _median(embeddings[tried] @ weights + bias)
    return answers


def _fit(
    embeddings: np.ndarray, labels: np.ndarray, strength: float, anchor: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a head of continuation ratios: independent logistic regressions."""
    target = ops.convert_to_numpy(soft_target(labels, NUM_LEVELS)).astype(np.float64)
    reached = target[..., ::-1].cumsum(axis=-1)[..., ::-1].reshape(len(labels), -1, NUM_LEVELS)
    weight, exceeds = (
        part.reshape(len(labels), -1) for part in (reached[..., :-1], reached[..., 1:])
    )
    share = (weight.sum(axis=0), exceeds.sum(axis=0))
    start = np.log((share[1] + 0.25) / (share[0] - share[1] + 0.25))
    # Few labels span few directions: the weights leave their anchor in these only.
    left, spread, right = np.linalg.svd(embeddings, full_matrices=False)
    span = left * spread
    fixed = embeddings @ np.broadcast_to(anchor, (embeddings.shape[1], len(start)))

    def loss(packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias, moved = packed[: len(start)], packed[len(start) :].reshape(-1, len(start))
        units = fixed + span @ moved + bias
        gained = exceeds * log_expit(units) + (weight - exceeds) * log_expit(-units)
        slope = weight * expit(units) - exceeds
        gradient = span.T @ slope + 2 * strength * moved
        value = strength * np.sum(moved**2) - gained.sum()
        return value, np.concatenate([slope.sum(axis=0), gradient.ravel()])

    begin = np.concatenate([start, np.zeros(span.shape[1] * len(start))])
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x
    return anchor + right.T @ found[len(start) :].reshape(-1, len(start)), found[: len(start)]


def _median(units: np.ndarray) -> np.ndarray:
    """Medians [N, 6] of the distributions that units [N, 18] stand for."""
    beyond = expit(units).reshape(len(units), -1, NUM_LEVELS - 1).cumprod(axis=-1)
    return np.sum(beyond > 0.5, axis=-1).astype(float)
