"""Creaky voice: a small estimator on published measures.

It was fitted to the outputs of the original's trained network, which may not be shipped
(``benchmarks/fit_creak.py``), so the column is an approximation.
"""

import functools
from importlib import resources

import numpy as np

WEIGHTS_FILE = "creak_weights.npz"
_CLIP = 5.0


@functools.cache
def _weights() -> dict[str, np.ndarray]:
    with resources.files("mosei_ssl.covarep").joinpath(WEIGHTS_FILE).open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return {name: stored[name].astype(np.float64) for name in stored.files}


def standardise(inputs: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Brings measures to zero mean and unit deviation, within [-5, 5]; missing ones to 0."""
    scaled = np.clip((inputs - mean) / std, -_CLIP, _CLIP)
    return np.where(np.isnan(scaled), 0.0, scaled)


def creak_posterior(inputs: np.ndarray, weights: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Probability of creaky voice [J] from its measures [J, 36] (after Drugman et al. 2014).

    Members of the average are stacked in ``weights``: ``hidden`` [S, 36, H], ``hidden_bias`` and
    ``output`` [S, H], ``output_bias`` [S]; ``mean`` and ``std`` are [36].
    """
    w = weights or _weights()
    scaled = standardise(inputs, w["mean"], w["std"])
    total = np.zeros(len(scaled))
    for k in range(len(w["output"])):
        hidden = np.tanh(scaled @ w["hidden"][k] + w["hidden_bias"][k])
        logit = hidden @ w["output"][k] + w["output_bias"][k]
        total += 1 / (1 + np.exp(-logit))
    return total / len(w["output"])
