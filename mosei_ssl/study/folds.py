"""The folds of a study: prepared datasets, checked against each other."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.config import DataConfig
from mosei_ssl.study.cells import ExtraDataset, Fold, budget_size
from mosei_ssl.study.config import pretrain_options
from mosei_ssl.study.options import DEFAULT_BUDGETS, StudyConfig
from mosei_ssl.utils.errors import UserError
from tfds_mosei import find_prepared

logger = logging.getLogger(__name__)


def prepare_folds(config: StudyConfig) -> list[Fold]:
    """Find (or build) each fold's dataset and its size; a UserError names what does not fit."""
    from mosei_ssl.data import load_segments

    names: list[str | None] = [*(_built(config) if config.manual_dir else config.datasets)]
    folds: list[Fold] = []
    seen: dict[str, str] = {}
    heard: set[str] = set()
    for number, name in enumerate(names or [None], start=1):
        # The full name, so that a dataset prepared later cannot change what is meant.
        dataset = find_prepared(config.data.data_dir, name).parent.name
        data = dataclasses.replace(config.data, dataset=dataset, context=False)
        train = load_segments(data, "train")
        parts = {"train": train.labelled()}
        parts |= {s: load_segments(data, s).labelled() for s in ("validation", "test")}
        videos = {split: np.unique(part.video_ids).tolist() for split, part in parts.items()}
        for split, part in parts.items():
            if not len(part):
                raise UserError(f"dataset {dataset}: split {split!r} has no labelled segments")
        shared = [video for video in videos["test"] if video in seen]
        if shared:
            raise UserError(
                f"folds {seen[shared[0]]} and {dataset} both test on video {shared[0]!r}: every "
                "test video may be in one fold of a study only"
            )
        seen.update(dict.fromkeys(videos["test"], dataset))
        voices = set(parts["test"].speaker_ids.tolist())
        if heard & voices:
            logger.warning(
                "%d speakers of the test split of %s are in that of another fold, too: intervals "
                "take them for others",
                *(len(heard & voices), dataset),
            )
        heard |= voices
        folds.append(
            Fold(
                name=str(number),
                dataset=dataset,
                fingerprint=train.metadata["fingerprint"],
                synthetic=train.synthetic or _pretrains_on_synthetic(config, dataset),
                train=len(parts["train"]),
                validation=len(parts["validation"]),
                test=len(parts["test"]),
                test_videos=tuple(videos["test"]),
                train_frames=int(train.lengths.sum()),
                fit_videos=tuple(sorted({*videos["train"], *videos["validation"]})),
            )
        )
    extras = _extras(config)
    return [dataclasses.replace(fold, extras=extras) for fold in folds]


def _pretrainings(config: StudyConfig, dataset: str = "") -> dict[str, dict[str, Any]]:
    """Resolved options of each arm that is pretrained."""
    return {
        a.name: pretrain_options(config, a, dataset) for a in config.arms if a.pretrained is True
    }


def _extras(config: StudyConfig) -> tuple[ExtraDataset, ...]:
    """Find the extra datasets of all pretrainings, which are known to exist by now."""
    from mosei_ssl.data.loading import read_metadata

    options = _pretrainings(config).values()
    found = []
    for name in dict.fromkeys(name for each in options for name in each["extra_datasets"]):
        dataset = find_prepared(config.data.data_dir, name).parent.name
        metadata = read_metadata(config.data.data_dir, dataset)
        found.append(ExtraDataset(name, dataset, metadata["fingerprint"]))
    return tuple(found)


def _pretrains_on_synthetic(config: StudyConfig, dataset: str) -> bool:
    """Load what the arms pretrain on beyond the train split; whether any of it is synthetic."""
    from mosei_ssl.data import load_pretraining_segments

    seen: list[tuple[DataConfig, list[str] | None]] = []
    synthetic = False
    for arm, options in _pretrainings(config, dataset).items():
        extras, splits = options["extra_datasets"], options["splits"]
        data = dataclasses.replace(config.data, dataset=dataset, extra_datasets=extras)
        if (data, splits) in seen:
            continue
        seen.append((data, splits))
        try:
            synthetic |= load_pretraining_segments(data, splits).synthetic
        except UserError as error:
            raise UserError(
                f"arm {arm!r} cannot pretrain on {splits or 'its dataset'} with "
                f"extra_datasets {extras}: {error}"
            ) from None
    return synthetic


def _built(config: StudyConfig) -> list[str]:
    """Build a dataset of each fold; their names."""
    import tensorflow_datasets as tfds

    import tfds_mosei
    from tfds_mosei.folds import Folds, load_cross_validation

    tfds.disable_progress_bar()  # the builder logs its progress
    assert config.manual_dir is not None
    files = [Path(config.manual_dir) / name for name in config.folds]
    found: list[Folds | None] = [folds for file in files for folds in load_cross_validation(file)]
    names = []
    for folds in found or [None]:
        logger.info("dataset of %s", folds.source if folds else "the folder's own folds")
        builder = tfds_mosei.build(
            "covarep",
            data_dir=config.data.data_dir,
            manual_dir=config.manual_dir,
            folds=folds.videos if folds else None,
        )
        names.append(builder.builder_config.name)
    return names


def resolve_budgets(config: StudyConfig, folds: list[Fold]) -> list[int | str]:
    """Budgets in ascending order, "all" last; a UserError if one is beyond a fold's train split."""
    least = min(fold.train for fold in folds)
    wanted: list[int | str] = [*(config.budgets or ())]
    if config.budgets is None:
        wanted = [b for b in DEFAULT_BUDGETS if b == "all" or int(b) < least]
    keys = [("budgets", b) for b in wanted]
    if config.search.trials:
        keys.append(("search.labels", config.search.labels))
    for key, budget in keys:
        if budget != "all" and int(budget) > least:
            raise UserError(
                f"{key}: budget {budget} is impossible, the smallest train split has {least} "
                f"labelled segments; allowed: 1 to {least}, or all"
            )
    return sorted(wanted, key=budget_size)
