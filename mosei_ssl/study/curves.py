"""Learning curves: power-law fits, the budget of convergence, labels saved."""

from dataclasses import dataclass

import numpy as np

MIN_BUDGETS = 3
"""Fewer points than that are fitted by any curve."""

_EXPONENTS = np.linspace(0.05, 2.0, 40)


@dataclass(frozen=True)
class Curves:
    """Fitted curves ``score = limit + gain * labels ** -exponent``, one per row."""

    limit: np.ndarray
    gain: np.ndarray  # its sign makes more labels never worse
    exponent: np.ndarray
    residual: np.ndarray  # root mean square distance of the points
    direction: float  # 1 if lower scores are better, -1 otherwise

    def at(self, labels: np.ndarray) -> np.ndarray:
        """Scores [R, K] at K numbers of labels."""
        return self.limit[:, None] + self.gain[:, None] * labels ** -self.exponent[:, None]

    def labels_for(self, score: np.ndarray) -> np.ndarray:
        """How many labels [R] each curve needs for a score: 0 if flat and no worse, or infinite."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (score - self.limit) / self.gain
            labels = np.where(share > 0, share ** (-1 / self.exponent), np.inf)
        worse = (score - self.limit) * self.direction >= -1e-12
        return np.where(self.gain == 0, np.where(worse, 0.0, np.inf), labels)


def fit_curves(labels: np.ndarray, scores: np.ndarray, *, lower_is_better: bool) -> Curves:
    """Fit power laws to the rows of `scores` [R, K] by least squares, else flat lines.

    Exponents are searched on a grid. Fits whose limit is impossible, or by which more labels would
    hurt, do not count.

    References:
        Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017.
    """
    sign = 1.0 if lower_is_better else -1.0
    centre = scores.mean(axis=1)
    # Through three points goes a curve of some exponent, whatever they are: take a fixed one.
    exponents = np.array([0.5]) if len(labels) <= MIN_BUDGETS else _EXPONENTS
    best = np.mean((scores - centre[:, None]) ** 2, axis=1)
    limit, gain, exponent = centre.copy(), np.zeros_like(centre), np.full_like(centre, 0.5)
    for power in exponents:
        x = labels**-power
        x_mean = x.mean()
        slope = ((x - x_mean) * (scores - centre[:, None])).sum(axis=1) / ((x - x_mean) ** 2).sum()
        level = centre - slope * x_mean
        error = np.mean((scores - level[:, None] - slope[:, None] * x) ** 2, axis=1)
        possible = (level >= 0.0) if lower_is_better else (level <= 1.0)
        better = (error < best - 1e-15) & (slope * sign > 0) & possible
        best = np.where(better, error, best)
        limit, gain = np.where(better, level, limit), np.where(better, slope, gain)
        exponent = np.where(better, power, exponent)
    return Curves(limit, gain, exponent, np.sqrt(best), sign)


def converged_budget(difference: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    """Find from which budget on differences [R, K] cannot be told from zero; K if from none."""
    differs = np.abs(difference) > half_width
    count = differs.shape[1]
    last = count - 1 - np.argmax(differs[:, ::-1], axis=1)
    return np.where(differs.any(axis=1), last + 1, 0)


def tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def converged_interval(
    difference: np.ndarray, samples: np.ndarray, half_width: np.ndarray, level: float = 0.95
) -> tuple[int, int, int]:
    """Find the number of the budget of convergence (K: beyond the largest) and its interval."""
    found = int(converged_budget(difference[None], half_width)[0])
    # A sample lies around the estimate, which itself lies around the truth: it has the noise twice.
    again = converged_budget(samples, np.sqrt(2) * half_width)
    low, high = np.quantile(again, tails(level), method="closest_observation").astype(int).tolist()
    return found, min(low, found), max(high, found)


def equal_labels(difference: np.ndarray, baseline: Curves, labels: np.ndarray) -> np.ndarray:
    """How many labels [R, K] the baseline needs to match an arm at each of K budgets."""
    # The baseline's curve plus the difference, so that none saves no labels however the curve fits.
    wanted = baseline.at(labels) + difference
    return np.stack([baseline.labels_for(wanted[:, k]) for k in range(wanted.shape[1])], axis=1)
