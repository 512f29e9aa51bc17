"""Hierarchical bootstrap over test videos and training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mosei_ssl.metrics import METRICS
from mosei_ssl.study.video_sums import Sums, VideoSums, scores, weighted


@dataclass(frozen=True)
class Resamples:
    """Which videos and seeds each bootstrap sample holds, the same for every arm and budget.

    Args:
        videos: Per fold [B, V_fold], how often each test video is in the sample; [1, V_fold] if
            that is the same in every sample.
        seeds: [B, M, F] number of the seed that stands for each fold, M times.
        video_count: Test videos over all folds.
        seed_count: Seeds per fold.
    """

    videos: dict[str, np.ndarray]
    seeds: np.ndarray
    video_count: int
    seed_count: int


def draw_resamples(
    videos: Mapping[str, int],
    seeds: int,
    samples: int,
    rng: np.random.Generator,
    *,
    resample_videos: bool = True,
    resample_seeds: bool = True,
) -> Resamples:
    """Draw bootstrap samples.

    Videos are drawn from all folds pooled; seeds are drawn within each fold, since every fold has
    trainings of its own. Of n units n - 1 are drawn, with replacement: with few units (two seeds)
    the ordinary bootstrap is too narrow, this one has the right variance.

    Args:
        videos: Number of test videos by fold.
        seeds: Number of seeds.
        samples: Number of bootstrap samples.
        rng: Source of randomness.
        resample_videos: False keeps every video once.
        resample_seeds: False keeps every seed once.

    Returns:
        The samples.

    Example:
        >>> draws = draw_resamples({"1": 3, "2": 3}, 2, 10, np.random.default_rng(0))
        >>> draws.seeds.shape
        (10, 1, 2)

    References:
        Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8;
        Rao and Wu, "Resampling inference with complex survey data", JASA 83, 1988;
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007.
    """
    total = sum(videos.values())
    counts: np.ndarray
    if resample_videos and total > 1:
        counts = rng.multinomial(total - 1, np.full(total, 1 / total), size=samples)
    else:
        # One row stands for all samples: it is the same in each.
        counts = np.ones((1, total))
    edges = np.cumsum([0, *videos.values()])
    by_fold = {
        fold: counts[:, first:last].astype(np.float64)
        for fold, first, last in zip(videos, edges[:-1], edges[1:], strict=True)
    }
    if resample_seeds and seeds > 1:
        chosen = rng.integers(0, seeds, size=(samples, seeds - 1, len(videos)))
    else:
        chosen = np.broadcast_to(np.arange(seeds)[None, :, None], (samples, seeds, len(videos)))
    return Resamples(by_fold, chosen, total, seeds)


def resampled_scores(
    cells: Mapping[tuple[str, int], VideoSums], resamples: Resamples
) -> dict[str, np.ndarray]:
    """Scores of every bootstrap sample, for one arm at one budget.

    The score of a sample is the mean over its seeds of the score of all folds pooled.

    Args:
        cells: Sums by (fold, number of the seed); complete.
        resamples: The samples.

    Returns:
        For each metric [B, E + 1], overall last; NaN where undefined.

    Example:
        >>> resampled_scores(cells, draws)["mae"].shape  # doctest: +SKIP
        (2000, 7)
    """
    pooled: list[Sums | None] = [None] * resamples.seeds.shape[1]
    for place, (fold, weights) in enumerate(resamples.videos.items()):
        rows = np.arange(len(resamples.seeds)) if len(weights) > 1 else 0
        by_seed = [weighted(cells[fold, seed], weights) for seed in range(resamples.seed_count)]
        linear = np.stack([part.linear for part in by_seed])
        wins = np.stack([part.wins for part in by_seed])
        pairs = np.stack([part.pairs for part in by_seed])
        for number in range(len(pooled)):
            chosen = resamples.seeds[:, number, place]
            part = Sums(linear[chosen, rows], wins[chosen, rows], pairs[chosen, rows])
            before = pooled[number]
            pooled[number] = part if before is None else before + part
    each = [scores(part) for part in pooled if part is not None]
    return {metric: np.mean([found[metric] for found in each], axis=0) for metric in METRICS}


@dataclass(frozen=True)
class Estimate:
    """An estimate with its uncertainty; every field has the shape of the estimate.

    Args:
        value: The estimate from all videos and seeds.
        low: Lower end of the interval.
        high: Upper end.
        error: Bootstrap standard error.
        p: Two-sided p value of the estimate being zero.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    p: np.ndarray


def interval(
    value: np.ndarray,
    both: np.ndarray,
    only_videos: np.ndarray,
    only_seeds: np.ndarray,
    *,
    videos: int,
    seeds: int,
    folds: int,
    level: float = 0.95,
) -> Estimate:
    """Turn bootstrap samples into an interval that holds with few videos or seeds too.

    The half width is the bootstrap standard error times Student's t. Drawing videos and seeds at
    once counts the part that belongs to one video in one training three times, drawing each
    alone counts it once in each; the variance is that of the three combined which counts it
    once. Degrees of freedom follow Satterthwaite, from the shares that videos and seeds have.

    Args:
        value: [...] estimate.
        both: [B, ...] samples over videos and seeds.
        only_videos: [B, ...] samples over videos alone.
        only_seeds: [B, ...] samples over seeds alone.
        videos: Number of test videos.
        seeds: Seeds per fold.
        folds: Number of folds.
        level: Coverage of the interval.

    Returns:
        The estimate; NaN where the value is undefined or its error cannot be told.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draws = rng.normal(size=(500, 1))
        >>> e = interval(
        ...     np.zeros(1), draws, draws, np.zeros((500, 1)), videos=20, seeds=2, folds=1
        ... )
        >>> bool(e.low[0] < 0 < e.high[0])
        True

    References:
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007; Cameron, Gelbach
        and Miller, "Robust inference with multiway clustering", JBES 29, 2011; Satterthwaite, "An
        approximate distribution of estimates of variance components", Biometrics Bulletin 2, 1946;
        Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69,
        2015.
    """
    of_videos, of_seeds = _spread(only_videos) ** 2, _spread(only_seeds) ** 2
    of_cells = np.maximum(_spread(both) ** 2 - of_videos - of_seeds, 0.0)
    if folds * (seeds - 1) < 2:
        # Two trainings tell too little to take anything off.
        of_cells = np.zeros_like(of_cells)
    # Sampling noise must not push the whole below either of its parts.
    least = np.maximum(of_videos, of_seeds)
    error = np.sqrt(np.maximum(of_videos + of_seeds - of_cells, least))
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (of_videos + of_seeds) ** 2 / (
            of_videos**2 / max(videos - 1, 1) + of_seeds**2 / max(folds * (seeds - 1), 1)
        )
        freedom = np.where(np.isfinite(freedom), np.maximum(freedom, 1.0), 1.0)
        half = stats.t.ppf(0.5 + level / 2, freedom) * error
        p = 2 * stats.t.sf(np.abs(value) / error, freedom)
    p = np.where((error == 0) & (value == 0), 1.0, p)
    p = np.where((error == 0) & (value != 0), 0.0, p)
    if videos < 2:
        half, p = np.full_like(half, np.nan), np.full_like(p, np.nan)
    return Estimate(value, value - half, value + half, error, p)


def _spread(samples: np.ndarray) -> np.ndarray:
    """Standard deviation over samples, from those that are defined if these are most."""
    defined = np.isfinite(samples)
    number = defined.sum(axis=0)
    mean = np.where(defined, samples, 0.0).sum(axis=0) / np.maximum(number, 1)
    square = np.where(defined, (samples - mean) ** 2, 0.0).sum(axis=0)
    enough = number >= max(2, len(samples) // 2)
    return np.where(enough, np.sqrt(square / np.maximum(number - 1, 1)), np.nan)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for multiple testing by Holm's step-down method.

    Args:
        p_values: p values; NaN ones are left out of the family.

    Returns:
        Adjusted p values in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    worst = 0.0
    for rank, index in enumerate(known[np.argsort(p[known], kind="stable")]):
        worst = max(worst, min(1.0, (len(known) - rank) * p[index]))
        adjusted[index] = worst
    return [float(round(value, 12)) if np.isfinite(value) else float("nan") for value in adjusted]
