"""The cells of a study: what runs, where, and after what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mosei_ssl.study.config import ArmConfig, StudyConfig, finetune_options, pretrain_options

FORMAT = 3
"""Version of a study folder's layout and of the way cells compute their numbers."""

CELL_FILE = "cell.json"

_PLACES = ("data_dir", "cache", "cache_dir", "memory_limit_mb", "prefetch")


def without_places(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out where data lies and how it is read, which cannot change a result.

    Args:
        options: Nested options of a cell or a study.

    Returns:
        A copy without those keys, at any depth.

    Example:
        >>> without_places({"data": {"data_dir": "here", "batch_size": 8}})
        {'data': {'batch_size': 8}}
    """
    return {
        key: without_places(value) if isinstance(value, dict) else value
        for key, value in options.items()
        if key not in _PLACES
    }


@dataclass(frozen=True)
class ExtraDataset:
    """A dataset that arms pretrain on beside the fold's own.

    Args:
        given: What `data.extra_datasets` calls it, which may be the beginning of its name.
        dataset: Its whole name.
        fingerprint: Its fingerprint.
    """

    given: str
    dataset: str
    fingerprint: str


@dataclass(frozen=True)
class Fold:
    """One fold of the corpus: a prepared dataset.

    Args:
        name: Short name in paths and tables.
        dataset: Name of the prepared dataset.
        fingerprint: Its fingerprint.
        synthetic: Whether it is made up.
        train: Labelled train segments.
        validation: Labelled validation segments.
        test: Labelled test segments.
        test_videos: Ids of test videos.
        train_frames: Frames of the train split.
        fit_videos: Ids of labelled train and validation videos.
        extras: Datasets that arms pretrain on beside this one.
    """

    name: str
    dataset: str
    fingerprint: str
    synthetic: bool
    train: int
    validation: int
    test: int
    test_videos: tuple[str, ...]
    train_frames: int
    fit_videos: tuple[str, ...] = ()
    extras: tuple[ExtraDataset, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One piece of work: finished or not at all.

    Args:
        kind: "features", "pretrain", "search", "train" or "classical".
        path: Folder below the study's.
        options: All that its result depends on, and where its data lies.
        requires: Paths of the cells it needs.
        arm: Arm, for "search" and "train".
        fold: Name of the fold.
        budget: Label budget, as text.
        seed: Seed.
        trial: Number of the trial, for "search".
    """

    kind: str
    path: str
    options: dict[str, Any]
    requires: tuple[str, ...] = ()
    arm: str = ""
    fold: str = ""
    budget: str = ""
    seed: int = 0
    trial: int = -1
    key: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        options = without_places(self.options)
        content = {"format": FORMAT, "kind": self.kind, "options": options}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        object.__setattr__(self, "key", digest[:16])

    def finished(self, study: Path) -> dict[str, Any] | None:
        """Read the cell's result.

        Args:
            study: The study's folder.

        Returns:
            What it wrote when it finished; None if it did not, or with other options.
        """
        try:
            result = json.loads((study / self.path / CELL_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return result if result.get("key") == self.key else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, to send to a worker."""
        return asdict(self)


def preparation_cells(config: StudyConfig, folds: list[Fold]) -> list[Cell]:
    """List what comes before the grid: pooled features, pretrainings, the search.

    Args:
        config: The study.
        folds: Its folds.

    Returns:
        The cells, those that others need first.

    Example:
        >>> preparation_cells(StudyConfig(arms=[ArmConfig("baseline")]), [])
        []
    """
    cells = [_features(config, fold) for fold in folds]
    seen: dict[str, Cell] = {}
    for arm in config.arms:
        for fold in folds:
            for seed in config.seeds:
                if arm.pretrained:
                    cell = _pretraining(config, arm, fold, seed)
                    same = seen.setdefault(cell.path, cell)
                    assert same.key == cell.key, f"two pretrainings in {cell.path}"
    cells += seen.values()
    if folds:
        for arm in config.arms:
            cells += [
                _training(config, arm, folds[0], config.search.labels, config.seeds[0], number)
                for number in range(len(config.search.trials))
            ]
    return cells


def grid_cells(
    config: StudyConfig,
    folds: list[Fold],
    budgets: list[int | str],
    chosen: dict[str, int],
) -> list[Cell]:
    """List the grid: arms, classical predictors, budgets, folds, seeds.

    Args:
        config: The study.
        folds: Its folds.
        budgets: Label budgets.
        chosen: Number of the trial that the search chose for each arm; empty without search.

    Returns:
        The cells, seed by seed, so that a first complete answer comes early; of each seed the
        longest first.

    Example:
        >>> grid_cells(StudyConfig(), [], [25, "all"], {})
        []
    """
    cells = []
    for seed in config.seeds:
        for budget in sorted(budgets, key=_size, reverse=True):
            for fold in folds:
                for arm in config.arms:
                    trial = chosen.get(arm.name, -1)
                    cells.append(_training(config, arm, fold, budget, seed, trial, grid=True))
                cells.append(_classical(config, fold, budget, seed))
    return cells


def _size(budget: int | str) -> float:
    return float("inf") if budget == "all" else float(budget)


def _features(config: StudyConfig, fold: Fold) -> Cell:
    options = {"dataset": fold.dataset, "fingerprint": fold.fingerprint, "data": _data(config)}
    return Cell("features", f"cells/features/{fold.name}", options, fold=fold.name)


def _data(config: StudyConfig) -> dict[str, Any]:
    return asdict(config.data)


def _pretraining(config: StudyConfig, arm: ArmConfig, fold: Fold, seed: int) -> Cell:
    options = pretrain_options(config, arm, fold.dataset, seed)
    known = {extra.given: extra for extra in fold.extras}
    extras = [known[name] for name in options["data"]["extra_datasets"]]
    # The whole names, so that a dataset prepared later cannot change what is meant.
    options["data"]["extra_datasets"] = [extra.dataset for extra in extras]
    # Arms that pretrain alike share the pretraining, so the folder is named by its options. Seed
    # and dataset differ within an arm and have folders of their own.
    content = {k: v for k, v in without_places(options).items() if k != "seed"}
    content["data"] = {k: v for k, v in content["data"].items() if k != "dataset"}
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return Cell(
        "pretrain",
        f"cells/pretrain/{options['task']['name']}-{name}/fold-{fold.name}/seed-{seed}",
        {
            "run": options,
            "fingerprint": fold.fingerprint,
            "extra_fingerprints": [extra.fingerprint for extra in extras],
            "threads": config.threads,
        },
        fold=fold.name,
        seed=seed,
    )


def _training(
    config: StudyConfig,
    arm: ArmConfig,
    fold: Fold,
    budget: int | str,
    seed: int,
    trial: int,
    *,
    grid: bool = False,
) -> Cell:
    tried = config.search.trials[trial] if trial >= 0 else {}
    options = finetune_options(config, arm, fold.dataset, budget, seed, tried)
    content: dict[str, Any] = {
        "run": options,
        "fingerprint": fold.fingerprint,
        "threads": config.threads,
        "split": "test" if grid else "validation",
    }
    requires: tuple[str, ...] = ()
    if arm.pretrained:
        pretraining = _pretraining(config, arm, fold, seed)
        requires = (pretraining.path,)
        content["pretraining"] = {"path": pretraining.path, "key": pretraining.key}
    if grid:
        path = f"cells/train/{arm.name}/labels-{budget}/fold-{fold.name}/seed-{seed}"
    else:
        path = f"cells/search/{arm.name}/trial-{trial}"
    return Cell(
        "train" if grid else "search",
        path,
        content,
        requires,
        arm=arm.name,
        fold=fold.name,
        budget=str(budget),
        seed=seed,
        trial=trial,
    )


def _classical(config: StudyConfig, fold: Fold, budget: int | str, seed: int) -> Cell:
    features = _features(config, fold)
    options = {
        "budget": budget,
        "seed": seed,
        "per_speaker": config.per_speaker,
        "features": {"path": features.path, "key": features.key},
        "threads": config.threads,
    }
    path = f"cells/classical/labels-{budget}/fold-{fold.name}/seed-{seed}"
    return Cell(
        "classical",
        path,
        options,
        (features.path,),
        fold=fold.name,
        budget=str(budget),
        seed=seed,
    )
