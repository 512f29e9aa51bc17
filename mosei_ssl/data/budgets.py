"""Which segments are labelled when only some may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mosei_ssl.utils.errors import UserError


def label_order(
    emotions: np.ndarray, seed: int, groups: Sequence[str] | np.ndarray | None = None
) -> np.ndarray:
    """Order all segments so that every prefix is a sensible labelled subset.

    First come, rarest emotion first, segments that make every emotion occur; then random
    segments, taking turns over the groups (videos or speakers) as long as they last.

    Examples:
        >>> sorted(label_order(np.eye(6), seed=0).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    import pandas

    emotions = np.asarray(emotions)
    count = len(emotions)
    rng = np.random.default_rng([0x6C6162, seed])
    shuffled = rng.permutation(count)
    codes = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)[1]
    turn = pandas.Series(codes[shuffled]).groupby(codes[shuffled]).cumcount()
    # A stable sort keeps the random order among segments of the same turn.
    order = shuffled[np.argsort(turn, kind="stable")]
    present = emotions > 0
    first: list[int] = []
    for emotion in np.argsort(present.sum(axis=0), kind="stable"):
        candidates = order[present[order, emotion]]
        if len(candidates) == 0 or any(present[index, emotion] for index in first):
            continue
        used = {int(codes[index]) for index in first}
        fresh = [index for index in candidates if int(codes[index]) not in used]
        first.append(int(fresh[0] if fresh else candidates[0]))
    rest = order[~np.isin(order, first)]
    return np.concatenate([np.asarray(first, dtype=np.int64), rest]).astype(np.int64)


def draw_label_budget(
    emotions: np.ndarray,
    budget: int | str,
    seed: int,
    groups: Sequence[str] | np.ndarray | None = None,
) -> np.ndarray:
    """Draw the labelled subset of a budget.

    Subsets of one seed are nested: the 50 are among the 100. Every emotion that occurs in the
    data occurs in the subset (as far as the budget has room), and speakers take turns.

    Args:
        emotions: [N, 6] float labels of the train split.
        budget: Number of labelled segments, or "all".
        seed: Seed of the draw.
        groups: [N] video or speaker of each segment.

    Returns:
        int64 sorted indices of the labelled segments.

    Raises:
        UserError: If the budget is not in 1..N.

    Examples:
        >>> len(draw_label_budget(np.eye(6), 3, seed=0))
        3
    """
    count = len(emotions)
    if budget == "all":
        return np.arange(count, dtype=np.int64)
    if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)):
        raise UserError(f"label budget must be a whole number or 'all', not {budget!r}")
    check_label_budget(budget, count)
    return np.sort(label_order(emotions, seed, groups)[:budget])


def check_label_budget(budget: int | str, count: int) -> None:
    """Raise a UserError for a label budget that `count` labelled segments cannot give."""
    if budget != "all" and not 1 <= int(budget) <= count:
        raise UserError(
            f"label budget {budget} is impossible: the train split has {count} labelled segments; "
            f"choose 1 to {count}, or 'all'"
        )
