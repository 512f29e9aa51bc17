"""Batches of segments of like length: few shapes, little padding, an order fixed by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mosei_ssl.config import DataConfig

PADDING_TARGET = 0.08
MAX_BUCKETS = 12
LENGTH_MULTIPLE = 20


def bucket_boundaries(
    lengths: np.ndarray,
    *,
    padding_target: float = PADDING_TARGET,
    max_buckets: int = MAX_BUCKETS,
    multiple: int = LENGTH_MULTIPLE,
) -> tuple[int, ...]:
    """Choose the fewest bucket lengths, ascending, that keep padding below a target.

    For each number of buckets the best boundaries are found exactly by dynamic programming over
    the distinct rounded lengths.

    Examples:
        >>> bucket_boundaries(np.array([10, 11, 99]), multiple=10)
        (10, 20, 100)
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if lengths.size == 0:
        raise ValueError("no lengths to choose bucket boundaries from")
    rounded = -(-lengths // multiple) * multiple
    candidates, counts = np.unique(rounded, return_counts=True)
    if len(candidates) > 256:
        # The search is quadratic: thin very long tails out, keeping the largest.
        keep = np.unique(np.linspace(0, len(candidates) - 1, 256).round().astype(int))
        counts = np.array([part.sum() for part in np.split(counts, keep[:-1] + 1)])
        candidates = candidates[keep]
    useful, number = int(lengths.sum()), len(candidates)
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    cost = cumulative[1:] * candidates.astype(np.float64)
    previous: list[np.ndarray] = [np.full(number, -1)]
    for _ in range(1, min(max_buckets, number)):
        if 1 - useful / cost[-1] < padding_target:
            break
        # table[i, j]: the first buckets end at candidate i, one more holds i+1..j.
        table = cost[:, None] + (cumulative[None, 1:] - cumulative[1:, None]) * candidates[None, :]
        table[np.tril_indices(number)] = np.inf
        best = np.argmin(table, axis=0)
        improved = table[best, np.arange(number)]
        best[~np.isfinite(improved)] = -1
        cost = np.where(np.isfinite(improved), improved, np.inf)
        previous.append(best)
    boundaries, position = [], number - 1
    for choice in reversed(previous):
        boundaries.append(int(candidates[position]))
        position = int(choice[position])
    return tuple(reversed(boundaries))


@dataclass(frozen=True)
class BatchSpec:
    """What one batch consists of: windows of segments, padded to one length (all in frames)."""

    indices: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    padded_length: int


class BatchPlan:
    """The batches of every epoch, as a pure function of seed and epoch.

    An epoch holds every segment at least once. All batches have the same number of segments;
    the few places left over in an epoch are filled with segments drawn again at random, of each
    bucket the same number in every epoch, so that all epochs have batches of the same shapes.
    A bucket's leftovers move on into the next longer bucket, so no segment is dropped. With
    `min_steps` an epoch repeats the segments until it has so many batches.

    Examples:
        >>> plan = BatchPlan(np.array([30, 30, 90]), DataConfig(batch_size=2), seed=0)
        >>> plan.steps_per_epoch, [batch.padded_length for batch in plan.epoch(0)]
        (2, [40, 100])
    """

    def __init__(
        self, lengths: np.ndarray, config: DataConfig, seed: int = 0, *, min_steps: int = 1
    ) -> None:
        self._lengths = np.asarray(lengths, dtype=np.int64)
        if self._lengths.size == 0:
            raise ValueError("no segments to make batches of")
        self._crop = config.max_frames or int(self._lengths.max())
        window = np.minimum(self._lengths, self._crop)
        self.boundaries = bucket_boundaries(window, max_buckets=config.max_lengths or MAX_BUCKETS)
        self._bucket = np.searchsorted(np.asarray(self.boundaries), window)
        self._seed = seed
        self._batch_size = config.batch_size
        self.steps_per_epoch = max(min_steps, -(-len(self._lengths) // config.batch_size))
        self._passes, left = divmod(self.steps_per_epoch * config.batch_size, len(self._lengths))
        # As the corpus is spread over the buckets, so are those that fill the places left.
        spread = ((np.arange(left) + 0.5) * len(self._lengths) / max(1, left)).astype(int)
        self._fill = np.unique(np.sort(self._bucket)[spread], return_counts=True)

    def epoch(self, epoch: int) -> list[BatchSpec]:
        """List the `steps_per_epoch` batches of one epoch, counted from 0, in order."""
        rng = np.random.default_rng([0x626174, self._seed, epoch])
        drawn = np.concatenate(
            [rng.permutation(len(self._lengths)) for _ in range(self._passes)]
            + [
                rng.permutation(np.flatnonzero(self._bucket == bucket))[:count]
                for bucket, count in zip(*self._fill, strict=True)
            ]
        )
        # Stable: the random order survives within a bucket, and leftovers of one bucket
        # become the first of the next.
        drawn = drawn[np.argsort(self._bucket[drawn], kind="stable")]
        batches = drawn.reshape(self.steps_per_epoch, self._batch_size)
        batches = batches[rng.permutation(self.steps_per_epoch)]
        return [self._spec(rng.permutation(indices), rng) for indices in batches]

    def _spec(self, indices: np.ndarray, rng: np.random.Generator) -> BatchSpec:
        full = self._lengths[indices]
        lengths = np.minimum(full, self._crop)
        return BatchSpec(
            indices=indices,
            starts=rng.integers(0, full - lengths + 1),
            lengths=lengths,
            padded_length=self.boundaries[int(self._bucket[indices].max())],
        )


def evaluation_batches(
    lengths: np.ndarray, indices: np.ndarray, config: DataConfig
) -> Iterator[BatchSpec]:
    """Batches of whole segments in order, none larger than `batch_size` times `max_frames`."""
    windows = lengths[indices]
    if config.max_lengths and len(windows):
        bounds = np.asarray(bucket_boundaries(windows, max_buckets=config.max_lengths))
        padded = bounds[np.searchsorted(bounds, windows)].tolist()
    else:
        padded = [_round_up(length) for length in windows.tolist()]
    room = config.batch_size * (config.max_frames or int(windows.max(initial=1)))
    start = 0
    while start < len(indices):
        stop, longest = start, 0
        while stop < len(indices) and stop - start < config.batch_size:
            candidate = max(longest, padded[stop])
            if stop > start and candidate * (stop + 1 - start) > room:
                break
            stop, longest = stop + 1, candidate
        part = indices[start:stop]
        yield BatchSpec(part, np.zeros(len(part), np.int64), windows[start:stop], longest)
        start = stop


def _round_up(length: int) -> int:
    """Round up to one of few lengths: multiples, coarser (an eighth) for longer segments."""
    step = LENGTH_MULTIPLE
    while step * 8 < length:
        step *= 2
    return -(-length // step) * step
