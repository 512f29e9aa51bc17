"""Train, validation and test folds that keep each speaker on one side."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mosei_ssl.corpus.label_table import LabelTable
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import LABELLED_SPLITS

logger = logging.getLogger(__name__)

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
    groups = speaker_groups(table, recordings)
    labelled = sum(map(len, groups))
    if labelled < len(_SHARES):
        raise UserError(
            f"{table.path}: {labelled} labelled recording(s), at least 3 are needed, one each for "
            "train, validation and test (cut long ones into several files)"
        )
    if len(groups) < len(_SHARES):
        logger.warning("%s: %s", table.path, _shortage(table, groups))
    if len(groups) == 2:
        divided, kept = sorted(groups, key=len)
        if len(divided) < 2:
            divided, kept = kept, divided
        halves = {"validation": 0.5, "test": 0.5}
        folds = {"train": kept} | _deal([[path] for path in divided], halves, table, seed)
    else:
        units = groups if len(groups) > 1 else [[path] for path in groups[0]]
        folds = _deal(units, _SHARES, table, seed)
    position = {recording: index for index, recording in enumerate(recordings)}
    return {split: sorted(paths, key=position.__getitem__) for split, paths in folds.items()}


def speaker_groups(table: LabelTable, recordings: Sequence[Path]) -> list[list[Path]]:
    """Labelled recordings that must stay together as they share a speaker, in the given order."""
    groups: list[tuple[set[str], list[Path]]] = []
    for recording in recordings:
        if recording not in table.segments:
            continue
        speakers = set(table.speakers[recording])
        together = [group for group in groups if group[0] & speakers]
        apart = [group for group in groups if not group[0] & speakers]
        members = [path for _, paths in together for path in paths] + [recording]
        groups = [*apart, (speakers.union(*(names for names, _ in together)), members)]
    position = {recording: index for index, recording in enumerate(recordings)}
    ordered = [sorted(paths, key=position.__getitem__) for _, paths in groups]
    return sorted(ordered, key=lambda paths: position[paths[0]])


def _deal(
    units: Sequence[list[Path]], shares: Mapping[str, float], table: LabelTable, seed: int
) -> dict[str, list[Path]]:
    """Deals units out in random order, each to the split that lacks the most segments."""
    order = np.random.default_rng(seed).permutation(len(units))
    weights = [sum(len(table.segments[path]) for path in unit) for unit in units]
    folds: dict[str, list[Path]] = {split: [] for split in shares}
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
        why = "two speakers only" if len(speakers) == 2 else f"{shared}them into two groups"
        return f"{why}: one is for training, the other for both validation and test"
    why = "a single speaker" if len(speakers) == 1 else f"{shared}all of them"
    return (
        f"{why}: the same voice is in train, validation and test, so scores will say nothing about "
        "other voices"
    )
