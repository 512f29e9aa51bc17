"""From the test predictions of all runs to the numbers of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosei_ssl.metrics import EMOTIONS, LOWER_IS_BETTER, METRICS
from mosei_ssl.metrics.video_sums import VideoSums
from mosei_ssl.study.bootstrap import Estimate, draw_resamples, holm, interval, resampled_scores
from mosei_ssl.study.curves import (
    MIN_BUDGETS,
    Curves,
    converged_interval,
    equal_labels,
    fit_curves,
    tails,
)
from mosei_ssl.study.options import StatisticsConfig

COLUMNS = (*EMOTIONS, "overall")

_DRAWS = ("value", "both", "videos", "seeds")

CellSums = Mapping[tuple[str, int], VideoSums]

Draws = dict[str, dict[str, np.ndarray]]
"""Of one arm at one budget, by metric: "value", the estimate [E + 1], and samples [B, E + 1] over
"both" videos and seeds, over "videos" and over "seeds" alone."""


@dataclass
class Scores:
    """Scores of one arm, or differences between two, by budget."""

    draws: dict[str, Draws]
    estimates: dict[str, dict[str, Estimate]]

    def value(self, names: Sequence[str], metric: str) -> np.ndarray:
        """[1, K] overall estimates at those budgets."""
        return np.array([[self.draws[b]["value"][metric][-1] for b in names]])

    def samples(self, names: Sequence[str], metric: str) -> np.ndarray:
        """[B, K] bootstrap samples of them, spread as wide as their error."""
        value = self.value(names, metric)
        samples = np.stack([self.draws[b]["both"][metric][:, -1] for b in names], axis=1)
        error = np.array([self.estimates[b][metric].error[-1] for b in names])
        spread = samples.std(axis=0, ddof=1)
        ratio = np.divide(error, spread, out=np.ones_like(error), where=spread > 0)
        return value + (samples - value) * ratio


def analyse(
    cells: Mapping[str, Mapping[str, CellSums]],
    budgets: Mapping[str, float],
    compared: Sequence[str],
    baseline: str = "baseline",
    statistics: StatisticsConfig | None = None,
    against: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Compute every number of the report.

    The score of an arm at a budget is, for each seed, that of all folds' test predictions
    pooled, averaged over seeds. Its interval and those of all differences come from one
    hierarchical bootstrap over test videos and seeds; a sample holds the same videos for every
    arm and budget, so comparisons are paired.

    Args:
        cells: sums by arm, budget and (fold, number of the seed), see `video_sums`. An arm may lack
            budgets, but the cells of a budget must be complete.
        budgets: number of labels of every budget, ascending.
        compared: arms (without the baseline) to compare.
        baseline: arm that others are compared with.
        statistics: primary metric and bootstrap; None takes the defaults.
        against: other arms that some are compared with, by arm.

    Returns:
        JSON-ready dictionary: "scores" [arm][budget][metric][emotion or "overall"] with value, low,
        high; "differences" likewise with p and p_holm (over secondary metrics for "overall",
        over emotions for the emotions); "convergence" and "label_savings" [arm][metric].

    Raises:
        ValueError: there are no cells of the baseline.

    Examples:
        >>> from mosei_ssl.metrics import all_zero
        >>> from mosei_ssl.metrics.video_sums import video_sums
        >>> sums = {("1", 0): video_sums(["a", "b"], np.ones((2, 6)), all_zero(2))}
        >>> found = analyse({"baseline": {"25": sums}}, {"25": 25.0}, [])
        >>> found["scores"]["baseline"]["25"]["mae"]["overall"]["value"]
        1.0
    """
    statistics = statistics or StatisticsConfig()
    if not cells.get(baseline):
        raise ValueError(f"no finished cells of the baseline arm {baseline!r}")
    first = next(iter(cells[baseline].values()))
    videos = {fold: len(first[fold, seed].videos) for fold, seed in sorted(first) if seed == 0}
    seeds = 1 + max(seed for _, seed in first)
    shape = {"videos": sum(videos.values()), "seeds": seeds, "folds": len(videos)}
    level, count = statistics.level, statistics.samples
    rng = np.random.default_rng([0x73747564, statistics.seed])
    resamples = {
        "both": draw_resamples(videos, seeds, count, rng),
        "videos": draw_resamples(videos, seeds, count, rng, resample_seeds=False),
        "seeds": draw_resamples(videos, seeds, count, rng, resample_videos=False),
        "value": draw_resamples(videos, seeds, 1, rng, resample_videos=False, resample_seeds=False),
    }
    found: dict[str, Scores] = {}
    for arm, by_budget in cells.items():
        draws: dict[str, Draws] = {}
        for budget, group in by_budget.items():
            # Sums over pairs of videos are large: hold those of one budget at a time.
            loaded = {key: group[key] for key in group}
            draws[budget] = {name: resampled_scores(loaded, r) for name, r in resamples.items()}
            draws[budget]["value"] = {m: v[0] for m, v in draws[budget]["value"].items()}
        found[arm] = _with_estimates(draws, shape, level)
    other = {arm: (against or {}).get(arm, baseline) for arm in compared}
    result: dict[str, Any] = {
        "design": {**shape, "samples": statistics.samples, "level": level},
        "arms": [baseline, *compared],
        "baseline": baseline,
        "against": other,
        "primary": statistics.primary,
        "budgets": dict(budgets),
        "scores": {
            arm: {budget: _table(estimates) for budget, estimates in scores.estimates.items()}
            for arm, scores in found.items()
            if scores.draws
        },
        "differences": {},
        "convergence": {},
        "label_savings": {},
    }
    for arm in compared:
        if arm not in found or other[arm] not in found:
            continue
        ours, reference = found[arm].draws, found[other[arm]]
        shared = {b: budgets[b] for b in budgets if b in ours and b in reference.draws}
        if not shared:
            continue
        minus: dict[str, Draws] = {
            b: {
                kind: {m: ours[b][kind][m] - reference.draws[b][kind][m] for m in METRICS}
                for kind in _DRAWS
            }
            for b in shared
        }
        pairs = _with_estimates(minus, shape, level)
        result["differences"][arm] = {
            b: with_holm(_table(estimates), statistics.primary)
            for b, estimates in pairs.estimates.items()
        }
        result["convergence"][arm] = {m: _convergence(pairs, shared, m, level) for m in METRICS}
        if len(shared) >= MIN_BUDGETS:
            result["label_savings"][arm] = {
                m: _savings(pairs, reference, shared, m, level) for m in METRICS
            }
    return result


def _with_estimates(draws: dict[str, Draws], shape: Mapping[str, Any], level: float) -> Scores:
    estimates = {
        budget: {
            m: interval(*(made[kind][m] for kind in _DRAWS), level=level, **shape) for m in METRICS
        }
        for budget, made in draws.items()
    }
    return Scores(draws, estimates)


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _table(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        metric: {
            column: {
                key: _number(getattr(found, key)[place]) for key in ("value", "low", "high", "p")
            }
            for place, column in enumerate(COLUMNS)
        }
        for metric, found in estimates.items()
    }


def with_holm(table: dict[str, Any], primary: str) -> dict[str, Any]:
    """Adjust over secondary metrics (overall) and, within each metric, over emotions."""
    families = [[table[metric]["overall"] for metric in METRICS if metric != primary]]
    families += [[table[metric][emotion] for emotion in EMOTIONS] for metric in METRICS]
    for family in families:
        adjusted = holm([np.nan if point["p"] is None else point["p"] for point in family])
        for point, p in zip(family, adjusted, strict=True):
            point["p_holm"] = _number(p)
    return table


def _fit(values: np.ndarray, budgets: Mapping[str, float], metric: str) -> Curves | None:
    if len(budgets) < MIN_BUDGETS or not np.isfinite(values).all():
        return None
    labels = np.array(list(budgets.values()), dtype=np.float64)
    return fit_curves(labels, values, lower_is_better=metric in LOWER_IS_BETTER)


def _vary(fits: Curves) -> bool:
    """Whether samples differ; those of one video and one seed do not show how sure a fit is."""
    return bool(np.ptp(fits.limit) > 0 or np.ptp(fits.residual) > 0)


def _convergence(
    pairs: Scores, budgets: Mapping[str, float], metric: str, level: float
) -> dict[str, Any] | None:
    """Budget from which on the difference is no longer told from zero, with its interval."""
    names = list(budgets)
    estimates = [pairs.estimates[b][metric] for b in names]
    half = np.array([(found.high[-1] - found.low[-1]) / 2 for found in estimates])
    value, samples = pairs.value(names, metric), pairs.samples(names, metric)
    if not all(np.isfinite(each).all() for each in (half, value, samples)):
        return None
    # None stands for "beyond the largest budget that both have".
    steps: list[str | None] = [*names, None]
    found, low, high = converged_interval(value[0], samples, half, level)
    return {
        "budget": steps[found],
        "low": steps[low],
        "high": steps[high],
        "ever_differs": found > 0,
        "labels": budgets[names[found]] if found < len(names) else None,
    }


def _savings(
    pairs: Scores, baseline: Scores, budgets: Mapping[str, float], metric: str, level: float
) -> dict[str, Any] | None:
    """Labels that the baseline needs to match the arm at each budget, cut to the budgets' range."""
    names, labels = list(budgets), np.array(list(budgets.values()), dtype=np.float64)
    difference, differences = pairs.value(names, metric), pairs.samples(names, metric)
    fitted = _fit(baseline.value(names, metric), budgets, metric)
    if fitted is None or not np.isfinite(difference).all():
        return None
    if fitted.gain[0] == 0:
        # A baseline that does not improve with labels matches with any number or with none.
        return {name: _within(labels, None, None, None) for name in names}
    again = _fit(baseline.samples(names, metric), budgets, metric)
    if again is None or not np.isfinite(differences).all():
        return None
    # All that lies beyond the study counts as equal; quantiles cannot handle infinity.
    most = 2 * labels[-1]
    value = np.minimum(equal_labels(difference, fitted, labels), most)[0]
    if not (_vary(again) or np.ptp(differences, axis=0).any()):
        return {n: _within(labels, end, None, None) for n, end in zip(names, value, strict=True)}
    samples = np.minimum(equal_labels(differences, again, labels), most)
    low, high = np.quantile(samples, tails(level), axis=0)
    ends = zip(value, np.minimum(low, value), np.maximum(high, value), strict=True)
    return {name: _within(labels, *each) for name, each in zip(names, ends, strict=True)}


def _within(
    labels: np.ndarray, value: float | None, low: float | None, high: float | None
) -> dict[str, Any]:
    """An estimate and its interval, cut to the budgets, and where something was cut off."""
    found: dict[str, Any] = {}
    for key, flag, end in (
        ("baseline_labels", "", value),
        ("low", "low_", low),
        ("high", "high_", high),
    ):
        shown = None if end is None else round(float(np.clip(end, labels[0], labels[-1])), 1)
        # The tolerance keeps rounding from reporting a difference at the budgets themselves.
        found |= {
            key: shown,
            f"{flag}below": end is not None and bool(end < labels[0] * (1 - 1e-9)),
            f"{flag}beyond": end is not None and bool(end > labels[-1] * (1 + 1e-9)),
        }
    return found
