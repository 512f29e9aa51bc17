"""The emotion head's best weights for given embeddings: a convex problem, solved at once."""

import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from threadpoolctl import threadpool_limits

from mosei_ssl.models.emotion_model import NUM_LEVELS
from mosei_ssl.models.soft_target_crossentropy import soft_target

_ITERATIONS = 1000  # it takes some 50 to 200
# A quarter of a segment each way, at the embedding 0: what was not seen is rare, not impossible. A
# bias without limit would leave nothing of the ranks that the anchor knows.
_RARE = 0.25


# Of products this small threads are a twentieth as fast.
@threadpool_limits.wrap(limits=1, user_api="blas")
def fit_head(
    embeddings: np.ndarray,
    labels: np.ndarray,
    strength: float,
    anchor: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [D, 18] and bias [18] of a `DistributionHead` with the lowest loss, by L-BFGS.

    Its continuation ratios are independent logistic regressions, so with a penalty there is one
    best answer. Beside the labels a quarter of a segment counts each way.

    Args:
        embeddings: float [N, D], see `EmotionModel.embedding`.
        labels: float [N, 6] in [0, 3].
        strength: of the penalty on squared distances from the anchor, against the sum of the
            losses over segments and emotions.
        anchor: [D, 18] weights that the head is pulled to.

    Examples:
        >>> kernel, bias = fit_head(np.eye(6), 3 * np.eye(6), strength=0.1)
        >>> bool(kernel[0, 0] > 0 > kernel[1, 0])
        True

    References:
        Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
        Out-of-Distribution, ICLR 2022, for the head before the rest.
    """
    target = ops.convert_to_numpy(soft_target(labels, NUM_LEVELS)).astype(np.float64)
    reached = target[..., ::-1].cumsum(axis=-1)[..., ::-1].reshape(len(labels), -1, NUM_LEVELS)
    weight, exceeds = (
        part.reshape(len(labels), -1) for part in (reached[..., :-1], reached[..., 1:])
    )
    share = (weight.sum(axis=0), exceeds.sum(axis=0))
    start = np.log((share[1] + _RARE) / (share[0] - share[1] + _RARE))
    # Few labels span few directions: the weights leave their anchor in these only.
    left, spread, right = np.linalg.svd(embeddings, full_matrices=False)
    span = left * spread
    # In units of about how far each may go, directions and classes are alike to the optimizer.
    curvature = share[0] / len(labels) * expit(start) * expit(-start)
    size = np.outer(spread**2, curvature) + 2 * strength
    unit = np.maximum(size, 1e-9 * size.max() or 1.0) ** -0.5
    fixed = embeddings @ np.broadcast_to(anchor, (embeddings.shape[1], len(start)))

    def loss(packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias, moved = packed[: len(start)], unit * packed[len(start) :].reshape(unit.shape)
        units = fixed + span @ moved + bias
        gained = exceeds * log_expit(units) + (weight - exceeds) * log_expit(-units)
        rare = _RARE * (log_expit(bias) + log_expit(-bias))
        slope = weight * expit(units) - exceeds
        bias_slope = slope.sum(axis=0) + _RARE * (2 * expit(bias) - 1)
        gradient = unit * (span.T @ slope + 2 * strength * moved)
        value = strength * np.sum(moved**2) - gained.sum() - rare.sum()
        return value, np.concatenate([bias_slope, gradient.ravel()])

    begin = np.concatenate([start, np.zeros(unit.size)])
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x
    return anchor + right.T @ (unit * found[len(start) :].reshape(unit.shape)), found[: len(start)]
