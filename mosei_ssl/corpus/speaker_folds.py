"""Folds that keep each speaker on one side: train, validation and test, or k of them in turn."""

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy.sparse.csgraph

from mosei_ssl.corpus.label_table import LabelTable
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import LABELLED_SPLITS

logger = logging.getLogger(__name__)

T = TypeVar("T", Path, str)

# Of the segments.
_SHARES = dict(zip(LABELLED_SPLITS, (0.6, 0.2, 0.2), strict=True))


def speaker_disjoint_folds(
    table: LabelTable, recordings: Sequence[Path], seed: int = 0
) -> dict[str, list[Path]]:
    """Divides labelled recordings into train, validation and test, no speaker in two of them.

    The splits get about 60, 20 and 20 % of the segments. With two speakers, one is for training and
    the other for validation and test; one speaker's recordings are divided into all three. So are
    those of more speakers if shared recordings link all of them. The log warns of either.
    """
    sizes = {path: len(table.segments[path]) for path in recordings if path in table.segments}
    groups = speaker_groups(table.speakers, list(sizes))
    if len(sizes) < len(_SHARES):
        raise UserError(
            f"{table.path}: {len(sizes)} labelled recording(s), at least 3 are needed, one each "
            "for train, validation and test (cut long ones into several files)"
        )
    if len(groups) < len(_SHARES):
        logger.warning("%s: %s", table.path, _shortage(table, groups))
    if len(groups) == 2:
        divided, kept = sorted(groups, key=len)
        if len(divided) < 2:
            divided, kept = kept, divided
        halves = {"validation": 0.5, "test": 0.5}
        folds = {"train": kept} | _deal([[path] for path in divided], halves, sizes, seed)
    else:
        units = groups if len(groups) > 1 else [[path] for path in groups[0]]
        folds = _deal(units, _SHARES, sizes, seed)
    position = {recording: index for index, recording in enumerate(recordings)}
    return {split: sorted(paths, key=position.__getitem__) for split, paths in folds.items()}


def cross_validation_folds(
    sizes: Mapping[str, int], speakers: Mapping[str, AbstractSet[str]], k: int, seed: int = 0
) -> list[dict[str, list[str]]]:
    """Divides labelled videos into k >= 3 parts, each of which is for testing in one of k folds.

    The part after it is for validation then, and the others for training. No speaker is in two
    parts, which have about the same number of segments; a video without speakers counts as one, and
    the seed is that of the order in which speakers are dealt out. `sizes` are numbers of labelled
    segments by video; the folds are ids by split. Raises a UserError if there are fewer than k
    groups of speakers.

    Examples:
        >>> sizes = {"a1": 2, "a2": 2, "b": 3, "c": 3}
        >>> speakers = {"a1": {"anna"}, "a2": {"anna"}}
        >>> [fold["test"] for fold in cross_validation_folds(sizes, speakers, 3)]
        [['c'], ['a1', 'a2'], ['b']]
    """
    groups = speaker_groups(speakers, list(sizes))
    if len(groups) < k:
        raise UserError(
            f"{k} folds need {k} groups of speakers that share no recording, and there are "
            f"{len(groups)}: give a smaller --k, at least 3, or more speakers"
        )
    names = [str(number) for number in range(k)]
    parts = _deal(groups, dict.fromkeys(names, 1 / k), sizes, seed)
    folds = []
    for number in range(k):
        test, validation = names[number], names[(number + 1) % k]
        train = [name for name in names if name not in (test, validation)]
        chosen = {"train": train, "validation": [validation], "test": [test]}
        folds.append(
            {split: sorted(v for n in chosen[split] for v in parts[n]) for split in chosen}
        )
    return folds


def speaker_groups(speakers: Mapping[T, AbstractSet[str]], items: Sequence[T]) -> list[list[T]]:
    """Recordings that must stay together as they share a speaker, in the given order."""
    pairs = [(row, name) for row, item in enumerate(items) for name in speakers.get(item, ())]
    column = {name: len(items) + n for n, name in enumerate(dict.fromkeys(n for _, n in pairs))}
    edges = np.array([(row, column[name]) for row, name in pairs], int).reshape(-1, 2).T
    size = len(items) + len(column)
    graph = scipy.sparse.coo_array((np.ones(len(pairs)), tuple(edges)), shape=(size, size))
    groups: dict[int, list[T]] = {}
    _, numbers = scipy.sparse.csgraph.connected_components(graph, directed=False)
    for item, number in zip(items, numbers, strict=False):
        groups.setdefault(number, []).append(item)
    return list(groups.values())


def free_for_training(
    folds: Mapping[str, Sequence[T]],
    speakers: Mapping[T, AbstractSet[str]],
    others: Sequence[T],
) -> list[T]:
    """Those of other recordings, without labels, whose speaker is neither validated nor tested."""
    held_out = {
        speaker
        for split in ("validation", "test")
        for recording in folds[split]
        for speaker in speakers.get(recording, ())
    }
    return [recording for recording in others if not held_out & speakers.get(recording, set())]


def _deal(
    units: Sequence[list[T]], shares: Mapping[str, float], sizes: Mapping[T, int], seed: int
) -> dict[str, list[T]]:
    """Deals units out in random order, each to the split that lacks the most segments."""
    order = np.random.default_rng(seed).permutation(len(units))
    weights = [sum(sizes[path] for path in unit) for unit in units]
    folds: dict[str, list[T]] = {split: [] for split in shares}
    filled = dict.fromkeys(shares, 0.0)
    for rank, index in enumerate(order):
        empty = [split for split in shares if not folds[split]]
        # Whatever the weights, the last units go to splits that have none yet.
        choices = empty if len(empty) >= len(order) - rank else list(shares)
        split = max(choices, key=lambda name: shares[name] - filled[name] / sum(weights))
        folds[split] += units[index]
        filled[split] += weights[index]
    return folds


def _shortage(table: LabelTable, groups: list[list[Path]]) -> str:
    """Why there are only one or two groups, and what follows."""
    speakers = {name for group in groups for path in group for name in table.speakers[path]}
    shared = f"{len(speakers)} speakers, but recordings they share link "
    if len(groups) == 2:
        why = "only two speakers" if len(speakers) == 2 else f"{shared}them into two groups"
        return f"{why}: one is for training, the other for both validation and test"
    why = "a single speaker" if len(speakers) == 1 else f"{shared}all of them"
    return (
        f"{why}: the same voice is in train, validation and test, so scores will say nothing about "
        "other voices"
    )
