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
    draws: dict[str, dict[str, _Draws]] = {}
    for arm, by_budget in cells.items():
        for budget, group in by_budget.items():
            # Sums over pairs of videos are large: hold those of one budget at a time.
            loaded = {key: group[key] for key in group}
            found = {name: resampled_scores(loaded, drawn) for name, drawn in resamples.items()}
            value = {metric: values[0] for metric, values in found["value"].items()}
            made = _Draws(value, found["both"], found["videos"], found["seeds"])
            draws.setdefault(arm, {})[budget] = made
    result: dict[str, Any] = {
        "design": {**shape, "samples": options.samples, "level": options.level},
        "baseline": options.baseline,
        "primary": options.primary,
        "budgets": dict(budgets),
        "scores": {
            arm: {
                budget: _table(_estimates(made, shape, options.level))
                for budget, made in by_budget.items()
            }
            for arm, by_budget in draws.items()
        },
        "differences": {},
        "curves": {},
        "convergence": {},
        "label_savings": {},
    }
    for arm in [options.baseline, *compared]:
        result["curves"][arm] = {
            metric: _curve(draws.get(arm, {}), budgets, metric, options.level) for metric in METRICS
        }
    for arm in compared:
        shared = [b for b in budgets if b in draws.get(arm, {}) and b in draws[options.baseline]]
        if not shared:
            continue
        pairs = {b: draws[arm][b].minus(draws[options.baseline][b]) for b in shared}
        estimates = {b: _estimates(pair, shape, options.level) for b, pair in pairs.items()}
        result["differences"][arm] = {
            b: _with_holm(_table(found), options.primary) for b, found in estimates.items()
        }
        result["convergence"][arm] = {
            metric: _convergence(pairs, estimates, shared, budgets, metric, options.level)
            for metric in METRICS
        }
        if len(shared) >= 2:
            result["label_savings"][arm] = {
                metric: _savings(
                    draws[arm], draws[options.baseline], shared, budgets, metric, options.level
                )
                for metric in METRICS
            }
    return result


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


def _overall(draws: Mapping[str, _Draws], names: Sequence[str], metric: str, what: str) -> Any:
    """[R, K] overall scores over budgets; the estimate is one row."""
    columns = [np.atleast_2d(getattr(draws[b], what)[metric])[:, -1] for b in names]
    return np.stack(columns, axis=1)


def _fit(
    draws: Mapping[str, _Draws],
    names: Sequence[str],
    budgets: Mapping[str, float],
    metric: str,
    what: str,
) -> Curves | None:
    if len(names) < 2:
        return None
    labels = np.array([budgets[b] for b in names], dtype=np.float64)
    values = _overall(draws, names, metric, what)
    if not np.isfinite(values).all():
        return None
    return fit_curves(labels, values, lower_is_better=metric in LOWER_IS_BETTER)


def _curve(
    draws: Mapping[str, _Draws], budgets: Mapping[str, float], metric: str, level: float
) -> dict[str, Any] | None:
    """Parameters of a fitted curve, each with the quantiles of the bootstrap samples' fits."""
    names = [budget for budget in budgets if budget in draws]
    fitted = _fit(draws, names, budgets, metric, "value")
    if fitted is None:
        return None
    again = _fit(draws, names, budgets, metric, "both")
    found: dict[str, Any] = {"residual": _number(fitted.residual[0])}
    for key in ("limit", "gain", "exponent"):
        value = float(getattr(fitted, key)[0])
        ends: tuple[float | None, float | None] = (None, None)
        # Samples that are all alike (one video, one seed) know nothing of how sure the fit is.
        if again is not None and (np.ptp(again.limit) > 0 or np.ptp(again.residual) > 0):
            low, high = np.quantile(getattr(again, key), _tails(level))
            ends = (_number(min(low, value)), _number(max(high, value)))
        found[key] = {"value": _number(value), "low": ends[0], "high": ends[1]}
    return found


def _convergence(
    pairs: Mapping[str, _Draws],
    estimates: Mapping[str, Mapping[str, Estimate]],
    names: Sequence[str],
    budgets: Mapping[str, float],
    metric: str,
    level: float,
) -> dict[str, Any] | None:
    """Budget from which on the difference is no longer told from zero, with its interval."""
    half = np.array(
        [(estimates[b][metric].high[-1] - estimates[b][metric].low[-1]) / 2 for b in names]
    )
    value, samples = (_overall(pairs, names, metric, what) for what in ("value", "both"))
    if not (np.isfinite(half).all() and np.isfinite(value).all() and np.isfinite(samples).all()):
        return None
    # Samples over videos and seeds at once spread too far (see `interval`): give them the error.
    error = np.array([estimates[b][metric].error[-1] for b in names])
    spread = samples.std(axis=0, ddof=1)
    ratio = np.divide(error, spread, out=np.ones_like(error), where=spread > 0)
    samples = value + (samples - value) * ratio
    # None stands for "beyond the largest budget of the study".
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
    arm: Mapping[str, _Draws],
    baseline: Mapping[str, _Draws],
    names: Sequence[str],
    budgets: Mapping[str, float],
    metric: str,
    level: float,
) -> dict[str, Any] | None:
    """Labels that the baseline needs to match the arm at each budget."""
    labels = np.array([budgets[b] for b in names], dtype=np.float64)
    smallest, largest = float(labels[0]), float(labels[-1])
    needed = {}
    for what in ("value", "both"):
        fitted = _fit(baseline, names, budgets, metric, what)
        difference = _overall(arm, names, metric, what) - _overall(baseline, names, metric, what)
        if fitted is None or not np.isfinite(difference).all():
            return None
        if what == "value" and fitted.gain[0] == 0:
            # A baseline that does not improve with labels matches with any number or with none.
            empty = {"baseline_labels": None, "low": None, "high": None}
            return {budget: {**empty, "beyond": False, "high_beyond": False} for budget in names}
        # What lies beyond the study is all alike; quantiles cannot do with infinity.
        needed[what] = np.minimum(equal_labels(difference, fitted, labels), 2 * largest)
    value = needed["value"][0]
    low, high = np.quantile(needed["both"], _tails(level), axis=0)
    ends = {
        "baseline_labels": value,
        "low": np.minimum(low, value),
        "high": np.maximum(high, value),
    }
    # As many labels as the largest budget has is no saving, whatever the rounding.
    beyond = {key: found > largest * (1 + 1e-9) for key, found in ends.items()}
    shown = {key: np.clip(found, smallest, largest).round(1) for key, found in ends.items()}
    return {
        budget: {
            **{key: float(found[k]) for key, found in shown.items()},
            "beyond": bool(beyond["baseline_labels"][k]),
            "high_beyond": bool(beyond["high"][k]),
        }
        for k, budget in enumerate(names)
    }
