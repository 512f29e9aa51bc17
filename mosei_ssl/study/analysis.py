"""From the predictions of all cells to the numbers of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosei_ssl.metrics import EMOTIONS, LOWER_IS_BETTER, METRICS
from mosei_ssl.study.bootstrap import Estimate, draw_resamples, holm, interval, resampled_scores
from mosei_ssl.study.curves import Curves, converged_interval, equal_labels, fit_curves
from mosei_ssl.study.video_sums import VideoSums

COLUMNS = (*EMOTIONS, "overall")

CellSums = Mapping[tuple[str, int], VideoSums]


@dataclass
class AnalysisOptions:
    """How the study's numbers are computed.

    Args:
        baseline: Arm that all others are compared with.
        primary: The one metric whose comparisons are not adjusted for multiple testing.
        samples: Bootstrap samples.
        level: Coverage of the intervals.
        seed: Seed of the bootstrap.
    """

    baseline: str = "baseline"
    primary: str = "mae"
    samples: int = 2000
    level: float = 0.95
    seed: int = 0


@dataclass
class _Draws:
    """Scores of one arm at one budget: the estimate and three sets of bootstrap samples."""

    value: dict[str, np.ndarray]
    both: dict[str, np.ndarray]
    videos: dict[str, np.ndarray]
    seeds: dict[str, np.ndarray]

    def minus(self, other: _Draws) -> _Draws:
        parts = [
            {m: mine[m] - theirs[m] for m in METRICS}
            for mine, theirs in (
                (self.value, other.value),
                (self.both, other.both),
                (self.videos, other.videos),
                (self.seeds, other.seeds),
            )
        ]
        return _Draws(*parts)


@dataclass
class _Scores:
    """Scores of one arm, or differences between two, at several budgets."""

    draws: dict[str, _Draws]
    estimates: dict[str, dict[str, Estimate]]

    def value(self, names: Sequence[str], metric: str) -> np.ndarray:
        """[1, K] overall estimates at those budgets."""
        return np.array([[self.draws[b].value[metric][-1] for b in names]])

    def samples(self, names: Sequence[str], metric: str) -> np.ndarray:
        """[R, K] bootstrap samples of them, spread as wide as their error.

        Samples over videos and seeds at once spread too far (see `interval`).
        """
        value = self.value(names, metric)
        samples = np.stack([self.draws[b].both[metric][:, -1] for b in names], axis=1)
        error = np.array([self.estimates[b][metric].error[-1] for b in names])
        spread = samples.std(axis=0, ddof=1)
        ratio = np.divide(error, spread, out=np.ones_like(error), where=spread > 0)
        return value + (samples - value) * ratio


def analyse(
    cells: Mapping[str, Mapping[str, CellSums]],
    budgets: Mapping[str, float],
    compared: Sequence[str],
    options: AnalysisOptions | None = None,
) -> dict[str, Any]:
    """Compute every number of the report.

    The score of an arm at a budget is, for each seed, that of all folds' test predictions
    pooled, averaged over seeds. Its interval and those of all differences come from one
    hierarchical bootstrap over test videos and seeds; a sample holds the same videos for every
    arm and budget, so comparisons are paired.

    Args:
        cells: Sums by arm, budget and (fold, number of the seed). An arm may lack budgets, but
            the cells of a budget must be complete.
        budgets: Number of labels of every budget, ascending.
        compared: Arms (without the baseline) to compare with the baseline.
        options: Baseline, primary metric, bootstrap.

    Returns:
        JSON-ready dictionary: "scores" [arm][budget][metric][emotion or "overall"] with value, low,
        high; "differences" likewise with p and p_holm (over secondary metrics for "overall",
        over emotions for the emotions); "curves", "convergence" and "label_savings" [arm][metric].

    Raises:
        ValueError: If there are no cells of the baseline.

    Example:
        >>> analyse(cells, {"25": 25, "all": 600}, ["ssl"])  # doctest: +SKIP
    """
    options = options or AnalysisOptions()
    if not cells.get(options.baseline):
        raise ValueError(f"no finished cells of the baseline arm {options.baseline!r}")
    first = next(iter(cells[options.baseline].values()))
    videos = {fold: len(first[fold, seed].videos) for fold, seed in sorted(first) if seed == 0}
    seeds = 1 + max(seed for _, seed in first)
    shape = {"videos": sum(videos.values()), "seeds": seeds, "folds": len(videos)}
    draw = {
        "both": (options.samples, True, True),
        "videos": (options.samples, True, False),
        "seeds": (options.samples, False, True),
        "value": (1, False, False),
    }
    rng = np.random.default_rng([0x73747564, options.seed])
    resamples = {
        name: draw_resamples(videos, seeds, count, rng, resample_videos=v, resample_seeds=s)
        for name, (count, v, s) in draw.items()
    }
    found: dict[str, _Scores] = {}
    for arm, by_budget in cells.items():
        draws: dict[str, _Draws] = {}
        for budget, group in by_budget.items():
            # Sums over pairs of videos are large: hold those of one budget at a time.
            loaded = {key: group[key] for key in group}
            drawn = {name: resampled_scores(loaded, each) for name, each in resamples.items()}
            value = {metric: values[0] for metric, values in drawn["value"].items()}
            draws[budget] = _Draws(value, drawn["both"], drawn["videos"], drawn["seeds"])
        found[arm] = _with_estimates(draws, shape, options.level)
    result: dict[str, Any] = {
        "design": {**shape, "samples": options.samples, "level": options.level},
        "baseline": options.baseline,
        "primary": options.primary,
        "budgets": dict(budgets),
        "scores": {
            arm: {budget: _table(estimates) for budget, estimates in scores.estimates.items()}
            for arm, scores in found.items()
            if scores.draws
        },
        "differences": {},
        "curves": {},
        "convergence": {},
        "label_savings": {},
    }
    nothing, baseline = _Scores({}, {}), found[options.baseline]
    for arm in [options.baseline, *compared]:
        scores = found.get(arm, nothing)
        result["curves"][arm] = {
            metric: _curve(scores, budgets, metric, options.level) for metric in METRICS
        }
    for arm in compared:
        scores = found.get(arm, nothing)
        shared = {b: budgets[b] for b in budgets if b in scores.draws and b in baseline.draws}
        if not shared:
            continue
        minus = {b: scores.draws[b].minus(baseline.draws[b]) for b in shared}
        pairs = _with_estimates(minus, shape, options.level)
        result["differences"][arm] = {
            b: _with_holm(_table(estimates), options.primary)
            for b, estimates in pairs.estimates.items()
        }
        result["convergence"][arm] = {
            metric: _convergence(pairs, shared, metric, options.level) for metric in METRICS
        }
        if len(shared) >= 2:
            result["label_savings"][arm] = {
                metric: _savings(pairs, baseline, shared, metric, options.level)
                for metric in METRICS
            }
    return result


def _with_estimates(draws: dict[str, _Draws], shape: Mapping[str, int], level: float) -> _Scores:
    return _Scores(draws, {b: _estimates(made, shape, level) for b, made in draws.items()})


def _estimates(made: _Draws, shape: Mapping[str, int], level: float) -> dict[str, Estimate]:
    return {
        metric: interval(
            made.value[metric],
            made.both[metric],
            made.videos[metric],
            made.seeds[metric],
            level=level,
            **shape,
        )
        for metric in METRICS
    }


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


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


def _with_holm(table: dict[str, Any], primary: str) -> dict[str, Any]:
    """Adjust over secondary metrics (overall) and, within each metric, over emotions."""
    secondary = [metric for metric in METRICS if metric != primary]
    adjusted = _adjust([table[metric]["overall"]["p"] for metric in secondary])
    for metric, p in zip(secondary, adjusted, strict=True):
        table[metric]["overall"]["p_holm"] = p
    for metric in METRICS:
        adjusted = _adjust([table[metric][emotion]["p"] for emotion in EMOTIONS])
        for emotion, p in zip(EMOTIONS, adjusted, strict=True):
            table[metric][emotion]["p_holm"] = p
    return table


def _adjust(p_values: Sequence[float | None]) -> list[float | None]:
    return [_number(p) for p in holm([np.nan if p is None else p for p in p_values])]


def _fit(values: np.ndarray, budgets: Mapping[str, float], metric: str) -> Curves | None:
    if len(budgets) < 2 or not np.isfinite(values).all():
        return None
    labels = np.array(list(budgets.values()), dtype=np.float64)
    return fit_curves(labels, values, lower_is_better=metric in LOWER_IS_BETTER)


def _vary(fits: Curves) -> bool:
    """Whether samples differ; those of one video and one seed know nothing of how sure a fit is."""
    return bool(np.ptp(fits.limit) > 0 or np.ptp(fits.residual) > 0)


def _curve(
    scores: _Scores, budgets: Mapping[str, float], metric: str, level: float
) -> dict[str, Any] | None:
    """Parameters of a fitted curve, each with the quantiles of the bootstrap samples' fits."""
    budgets = {name: count for name, count in budgets.items() if name in scores.draws}
    if not budgets:
        return None
    fitted = _fit(scores.value(list(budgets), metric), budgets, metric)
    if fitted is None:
        return None
    again = _fit(scores.samples(list(budgets), metric), budgets, metric)
    found: dict[str, Any] = {"residual": _number(fitted.residual[0])}
    for key in ("limit", "gain", "exponent"):
        value = float(getattr(fitted, key)[0])
        ends: tuple[float | None, float | None] = (None, None)
        if again is not None and _vary(again):
            low, high = np.quantile(getattr(again, key), _tails(level))
            ends = (_number(min(low, value)), _number(max(high, value)))
        found[key] = {"value": _number(value), "low": ends[0], "high": ends[1]}
    return found


def _convergence(
    pairs: _Scores, budgets: Mapping[str, float], metric: str, level: float
) -> dict[str, Any] | None:
    """Budget from which on the difference is no longer told from zero, with its interval."""
    names = list(budgets)
    estimates = [pairs.estimates[b][metric] for b in names]
    half = np.array([(found.high[-1] - found.low[-1]) / 2 for found in estimates])
    value, samples = pairs.value(names, metric), pairs.samples(names, metric)
    if not (np.isfinite(half).all() and np.isfinite(value).all() and np.isfinite(samples).all()):
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
    pairs: _Scores, baseline: _Scores, budgets: Mapping[str, float], metric: str, level: float
) -> dict[str, Any] | None:
    """Labels that the baseline needs to match the arm at each budget, cut to the budgets' range.

    "below" and "beyond" say of the estimate, with "low_" and "high_" of its interval's ends,
    whether they lie outside that range.
    """
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
    # What lies beyond the study is all alike; quantiles cannot do with infinity.
    most = 2 * labels[-1]
    value = np.minimum(equal_labels(difference, fitted, labels), most)[0]
    if not (_vary(again) or np.ptp(differences, axis=0).any()):
        return {
            name: _within(labels, end, None, None) for name, end in zip(names, value, strict=True)
        }
    samples = np.minimum(equal_labels(differences, again, labels), most)
    low, high = np.quantile(samples, _tails(level), axis=0)
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
        # As many labels as a budget has are none more and none fewer, whatever the rounding.
        found |= {
            key: shown,
            f"{flag}below": end is not None and bool(end < labels[0] * (1 - 1e-9)),
            f"{flag}beyond": end is not None and bool(end > labels[-1] * (1 + 1e-9)),
        }
    return found
