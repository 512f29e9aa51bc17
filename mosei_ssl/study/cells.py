"""The cells of a study: units of work, each finished or not at all, and what each needs."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mosei_ssl.study.config import (
    absolute_data_dir,
    finetune_options,
    knows_emotions,
    pretrain_options,
)
from mosei_ssl.study.options import ArmConfig, StudyConfig

FORMAT = 4  # version of a study folder's layout and of the way cells compute their numbers
CELL_FILE = "cell.json"


@dataclass(frozen=True)
class ExtraDataset:
    """A dataset that arms pretrain on in addition to the fold's."""

    given: str  # in `extra_datasets`, which may be the beginning of its name
    dataset: str
    fingerprint: str


@dataclass(frozen=True)
class Fold:
    """One fold of the corpus: a prepared dataset, its labelled segments counted by split."""

    name: str
    dataset: str
    fingerprint: str
    synthetic: bool  # whether any of its data is
    train: int
    validation: int
    test: int
    test_videos: tuple[str, ...]
    train_frames: int
    fit_videos: tuple[str, ...] = ()  # labelled train and validation videos
    extras: tuple[ExtraDataset, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One piece of work, finished or not at all, whose key digests its kind and options."""

    kind: str
    path: str
    options: dict[str, Any]
    data_dir: str = ""  # the result does not depend on it
    requires: tuple[str, ...] = ()  # paths of cells of earlier waves
    arm: str = ""
    fold: str = ""
    budget: str = ""
    seed: int = 0
    trial: int = -1
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        content = {"format": FORMAT, "kind": self.kind, "options": self.options}
        object.__setattr__(self, "key", _digest(content)[:16])

    def finished(self, study: Path) -> dict[str, Any] | None:
        """What the cell wrote when it finished; None if it did not, or with other options."""
        try:
            result = json.loads((study / self.path / CELL_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return result if result.get("key") == self.key else None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def preparation_cells(config: StudyConfig, folds: list[Fold]) -> list[Cell]:
    """List the first wave: pretrainings and pooled features."""
    cells = {
        cell.path: cell
        for arm in config.arms
        if arm.pretrained is True
        for fold in folds
        for seed in config.seeds
        for cell in [_pretraining(config, arm, fold, seed)]
    }
    return [*cells.values(), *(_features(config, fold) for fold in folds)]


def search_cells(config: StudyConfig, folds: list[Fold]) -> list[Cell]:
    """List the second wave: each arm's trials, on the first fold and seed."""
    return [
        _training(config, arm, folds[0], config.search.labels, config.seeds[0], number)
        for arm in config.arms
        for number in range(len(config.search.trials))
    ]


def grid_cells(
    config: StudyConfig,
    folds: list[Fold],
    budgets: list[int | str],
    chosen: dict[str, int],
) -> list[Cell]:
    """List the third wave: arms and classical predictors at all budgets, folds and seeds."""
    # Seed by seed, so that a first complete answer comes early; of each seed the longest first.
    cells = []
    for seed in config.seeds:
        for budget in sorted(budgets, key=budget_size, reverse=True):
            for fold in folds:
                for arm in config.arms:
                    if budget == 0 and not knows_emotions(arm):
                        continue
                    trial = chosen.get(arm.name, -1)
                    cells.append(_training(config, arm, fold, budget, seed, trial, grid=True))
                if budget != 0:
                    cells.append(_classical(config, fold, budget, seed))
    return cells


def budget_size(budget: int | str) -> float:
    """A number to sort budgets by."""
    return float("inf") if budget == "all" else float(budget)


def _features(config: StudyConfig, fold: Fold) -> Cell:
    options = {
        "data": {**asdict(config.data), "data_dir": "", "dataset": fold.dataset},
        "fingerprint": fold.fingerprint,
        "threads": config.threads,
    }
    path = f"cells/features/{fold.name}"
    return Cell("features", path, options, absolute_data_dir(config), fold=fold.name)


def _pretraining(config: StudyConfig, arm: ArmConfig, fold: Fold, seed: int) -> Cell:
    run = pretrain_options(config, arm, fold.dataset, seed)
    known = {extra.given: extra for extra in fold.extras}
    extras = [known[name] for name in run["extra_datasets"]]
    # The whole names, so that a dataset prepared later cannot change what is meant.
    run["extra_datasets"] = [extra.dataset for extra in extras]
    # Arms that pretrain alike share the pretraining, so the folder is named by its options. Seed
    # and dataset differ within an arm and have their own folders.
    name = _digest({k: v for k, v in run.items() if k not in ("seed", "dataset")})[:8]
    return Cell(
        "pretrain",
        f"cells/pretrain/{run['task']['name']}-{name}/fold-{fold.name}/seed-{seed}",
        {
            "run": run,
            "fingerprint": fold.fingerprint,
            "extra_fingerprints": [extra.fingerprint for extra in extras],
            "threads": config.threads,
        },
        absolute_data_dir(config),
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
    options: dict[str, Any] = {
        "run": finetune_options(config, arm, fold.dataset, budget, seed, tried),
        "fingerprint": fold.fingerprint,
        "threads": config.threads,
        "split": "test" if grid else "validation",
    }
    requires: tuple[str, ...] = ()
    if arm.pretrained is True:
        pretraining = _pretraining(config, arm, fold, seed)
        requires = (pretraining.path,)
        options["pretraining"] = {"path": pretraining.path, "key": pretraining.key}
    path = f"cells/search/{arm.name}/trial-{trial}"
    if grid:
        path = f"cells/train/{arm.name}/labels-{budget}/fold-{fold.name}/seed-{seed}"
    return Cell(
        "train" if grid else "search",
        path,
        options,
        absolute_data_dir(config),
        requires,
        arm=arm.name,
        fold=fold.name,
        budget=str(budget),
        seed=seed,
        trial=trial,
    )


def _classical(config: StudyConfig, fold: Fold, budget: int | str, seed: int) -> Cell:
    features = _features(config, fold)
    return Cell(
        "classical",
        f"cells/classical/labels-{budget}/fold-{fold.name}/seed-{seed}",
        {
            "budget": budget,
            "seed": seed,
            "features": {"path": features.path, "key": features.key},
            "threads": config.threads,
        },
        requires=(features.path,),
        fold=fold.name,
        budget=str(budget),
        seed=seed,
    )
