"""The folds of a study: prepared datasets, checked against each other."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np

from mosei_ssl.study.cells import ExtraDataset, Fold
from mosei_ssl.study.config import DEFAULT_BUDGETS, StudyConfig, pretrain_options
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)


def prepare_folds(config: StudyConfig) -> list[Fold]:
    """Find (or build) the dataset of each fold and note its size.

    Args:
        config: The study.

    Returns:
        The folds.

    Raises:
        UserError: If folds share test videos, a split has no labels, or an arm would pretrain on
            a split or dataset that is not there or on held-out videos.
        tfds_mosei.CorpusError: If a dataset is missing or cannot be built.

    Example:
        >>> [fold.name for fold in prepare_folds(config)]  # doctest: +SKIP
        ['1', '2', '3', '4', '5', '6']
    """
    from mosei_ssl.data import find_dataset, load_segments

    names: list[str | None] = [*(_built(config) if config.manual_dir else config.datasets)]
    folds: list[Fold] = []
    seen: dict[str, str] = {}
    for number, name in enumerate(names or [None], start=1):
        # The full name, so that a dataset prepared later cannot change what is meant.
        dataset = find_dataset(config.data.data_dir, name).parent.name
        data = dataclasses.replace(config.data, dataset=dataset)
        splits = {s: load_segments(data, s) for s in ("train", "validation", "test")}
        labelled = {split: len(segments.labelled()) for split, segments in splits.items()}
        for split, count in labelled.items():
            if count == 0:
                raise UserError(f"dataset {dataset}: split {split!r} has no labelled segments")
        videos = tuple(np.unique(splits["test"].labelled().video_ids).tolist())
        shared = [video for video in videos if video in seen]
        if shared:
            raise UserError(
                f"folds {seen[shared[0]]} and {dataset} both test on video {shared[0]!r}: every "
                "test video may be in one fold of a study only"
            )
        seen.update(dict.fromkeys(videos, dataset))
        metadata = splits["train"].metadata
        folds.append(
            Fold(
                name=str(number),
                dataset=dataset,
                fingerprint=str(metadata.get("fingerprint")),
                # Also if what makes the difference is made up.
                synthetic=splits["train"].synthetic or _made_up(config, dataset),
                train=labelled["train"],
                validation=labelled["validation"],
                test=labelled["test"],
                test_videos=videos,
                train_frames=int(splits["train"].lengths.sum()),
                fit_videos=tuple(
                    np.unique(
                        np.concatenate(
                            [splits[s].labelled().video_ids for s in ("train", "validation")]
                        )
                    ).tolist()
                ),
            )
        )
    extras = _extras(config)
    return [dataclasses.replace(fold, extras=extras) for fold in folds]


def _extras(config: StudyConfig) -> tuple[ExtraDataset, ...]:
    """Find the extra datasets of all pretrainings; that they are there is known by now."""
    from mosei_ssl.data import find_dataset, load_prepared

    given: list[str] = []
    for arm in config.arms:
        if arm.pretrained:
            given += pretrain_options(config, arm, "", 0)["data"]["extra_datasets"]
    found = []
    for name in dict.fromkeys(given):
        directory = find_dataset(config.data.data_dir, name)
        metadata = load_prepared(directory, "train", config.data).metadata
        dataset = directory.parent.name
        found.append(ExtraDataset(name, dataset, str(metadata.get("fingerprint"))))
    return tuple(found)


def _made_up(config: StudyConfig, dataset: str) -> bool:
    """Load what the arms pretrain on beyond the train split; tell whether any of it is made up."""
    from mosei_ssl.data import DataConfig, load_pretraining_segments
    from mosei_ssl.study.parsing import build
    from tfds_mosei import CorpusError

    seen: list[tuple[DataConfig, list[str]]] = []
    synthetic = False
    for arm in config.arms:
        if not arm.pretrained:
            continue
        options = pretrain_options(config, arm, dataset, 0)
        data, splits = build(DataConfig, options["data"]), options["splits"]
        usual = not data.extra_datasets and splits in ([], ["train"])
        if usual or (data, splits) in seen:
            continue
        seen.append((data, splits))
        try:
            synthetic |= load_pretraining_segments(data, splits).synthetic
        except (CorpusError, UserError) as error:
            raise UserError(
                f"arm {arm.name!r} cannot pretrain on splits {', '.join(splits)} with "
                f"data.extra_datasets {data.extra_datasets}: {error}"
            ) from None
    return synthetic


def _built(config: StudyConfig) -> list[str]:
    import tfds_mosei

    assert config.manual_dir is not None
    manual = Path(config.manual_dir)
    names = []
    files: list[str | None] = [*config.folds]
    for folds in files or [None]:
        path = None if folds is None else str(manual / folds)
        logger.info("dataset of %s", folds or "the folder's own folds")
        builder = tfds_mosei.build(
            "covarep", data_dir=config.data.data_dir, manual_dir=str(manual), folds=path
        )
        names.append(builder.builder_config.name)
    return names


def resolve_budgets(config: StudyConfig, folds: list[Fold]) -> list[int | str]:
    """Settle the budgets against what every fold has.

    Args:
        config: The study.
        folds: Its folds.

    Returns:
        Budgets in ascending order, "all" last.

    Raises:
        UserError: If a budget of the configuration is beyond a fold's train split.

    Example:
        >>> resolve_budgets(StudyConfig(), folds)  # doctest: +SKIP
        [25, 50, 100, 200, 400, 'all']
    """
    least = min(fold.train for fold in folds)
    if config.budgets is None:
        wanted = [b for b in DEFAULT_BUDGETS if b == "all" or int(b) < least]
    else:
        wanted = list(config.budgets)
    for key, budget in [
        *(("budgets", b) for b in wanted),
        *([("search.labels", config.search.labels)] if config.search.trials else []),
    ]:
        if budget != "all" and int(budget) > least:
            raise UserError(
                f"{key}: budget {budget} is impossible, the smallest train split has {least} "
                f"labelled segments; allowed: 1 to {least}, or all"
            )
    return sorted(wanted, key=lambda b: float("inf") if b == "all" else float(b))
