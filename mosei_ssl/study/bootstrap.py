"""Hierarchical bootstrap over test videos and training seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mosei_ssl.metrics import METRICS
from mosei_ssl.metrics.video_sums import Sums, VideoSums, scores, weighted


@dataclass(frozen=True)
class Resamples:
    """How often videos, and which seeds, are in each sample, the same for every arm and budget."""

    videos: dict[str, np.ndarray]  # per fold [B, V_fold], or [1, V_fold] if samples do not differ
    seeds: np.ndarray  # [B, M, F] number of the seed that stands for each fold, M times
    seed_count: int  # per fold


def draw_resamples(
    videos: Mapping[str, int],
    seeds: int,
    samples: int,
    rng: np.random.Generator,
    *,
    resample_videos: bool = True,
    resample_seeds: bool = True,
) -> Resamples:
    """Draw bootstrap samples, given the number of test videos of each fold and that of seeds.

    Videos are drawn from all folds pooled; seeds are drawn within each fold, since every fold has
    its own trainings. Of n units n - 1 are drawn, with replacement: with few units (two seeds) the
    ordinary bootstrap is too narrow, this one has the right variance.

    References:
        Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8;
        Rao and Wu, "Resampling inference with complex survey data", JASA 83, 1988;
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007.
    """
    total = sum(videos.values())
    counts: np.ndarray = np.ones((1, total))  # one row stands for all samples
    if resample_videos and total > 1:
        counts = rng.multinomial(total - 1, np.full(total, 1 / total), size=samples)
    parts = np.split(counts.astype(np.float64), np.cumsum(list(videos.values()))[:-1], axis=1)
    if resample_seeds and seeds > 1:
        chosen = rng.integers(0, seeds, size=(samples, seeds - 1, len(videos)))
    else:
        chosen = np.broadcast_to(np.arange(seeds)[None, :, None], (samples, seeds, len(videos)))
    return Resamples(dict(zip(videos, parts, strict=True)), chosen, seeds)


def resampled_scores(
    cells: Mapping[tuple[str, int], VideoSums], resamples: Resamples
) -> dict[str, np.ndarray]:
    """Score one arm at one budget in every sample: arrays [B, E + 1] by metric, overall last."""
    pooled: list[Sums | None] = [None] * resamples.seeds.shape[1]
    for place, (fold, weights) in enumerate(resamples.videos.items()):
        rows = np.arange(len(resamples.seeds)) if len(weights) > 1 else 0
        by_seed = [weighted(cells[fold, seed], weights) for seed in range(resamples.seed_count)]
        linear = np.stack([part.linear for part in by_seed])
        wins = np.stack([part.wins for part in by_seed])
        pairs = np.stack([part.pairs for part in by_seed])
        for number, before in enumerate(pooled):
            chosen = resamples.seeds[:, number, place]
            part = Sums(linear[chosen, rows], wins[chosen, rows], pairs[chosen, rows])
            pooled[number] = part if before is None else before + part
    each = [scores(part) for part in pooled if part is not None]
    return {metric: np.mean([found[metric] for found in each], axis=0) for metric in METRICS}


@dataclass(frozen=True)
class Estimate:
    """An estimate, its interval, bootstrap standard error and two-sided p value of being zero."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    p: np.ndarray


def interval(
    value: np.ndarray,  # [...]
    both: np.ndarray,  # samples [B, ...], as the next two
    only_videos: np.ndarray,
    only_seeds: np.ndarray,
    *,
    videos: int,
    seeds: int,
    folds: int,
    level: float = 0.95,
) -> Estimate:
    """Turn bootstrap samples into an interval that is right with few videos or seeds too.

    The variance counts the part of one video in one training once: drawing videos and seeds at
    once counts it three times, each alone once. Degrees of freedom follow Satterthwaite.

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
        # Two trainings are too few to subtract anything.
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
    p = np.where(error == 0, np.where(value == 0, 1.0, 0.0), p)
    if videos < 2:
        half, p = np.full_like(half, np.nan), np.full_like(p, np.nan)
    return Estimate(value, value - half, value + half, error, p)


def _spread(samples: np.ndarray) -> np.ndarray:
    """Standard deviation over samples, from those that are defined if these are most."""
    defined = np.ma.masked_invalid(samples)
    enough = defined.count(axis=0) >= max(2, len(samples) // 2)
    return np.where(enough, defined.std(axis=0, ddof=1).filled(np.nan), np.nan)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for multiple testing by Holm's step-down method; NaN ones are left out.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    steps = np.minimum(1.0, np.arange(len(order), 0, -1) * p[order])
    adjusted[order] = np.maximum.accumulate(steps).round(12)
    return adjusted.tolist()
