"""A study's YAML file, checked before anything runs, and the options of each of its trainings."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from mosei_ssl import presets
from mosei_ssl.config import BackboneConfig, DataConfig, FinetuneConfig, PretrainConfig
from mosei_ssl.metrics import METRICS, PREDICTOR_LABELS
from mosei_ssl.study.options import MAX_TRIALS, ArmConfig, StudyConfig
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.parsing import from_mapping, merge, nested, read_yaml

_SET_BY_STUDY = {"run", "data_dir", "dataset", "backbone", "seed"}
_SET_BY_ARM = _SET_BY_STUDY | {"labels", "pretrained", "from_scratch", "keep_best"}


def load_study_config(path: str | os.PathLike[str]) -> StudyConfig:
    """Read and check a study's YAML file.

    Args:
        path: the file.

    Returns:
        The configuration.

    Raises:
        UserError: the file cannot be read, or a key or value is not allowed; the message names
            the key and the allowed values.

    Examples:
        >>> load_study_config("mosei_paper").baseline
        'baseline'
    """
    values = read_yaml(path)
    try:
        config = from_mapping(StudyConfig, values)
        check(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return config


def check(config: StudyConfig) -> None:
    """Raise a UserError for what can be found wrong without data; it names the key."""
    names = [arm.name for arm in config.arms]
    for number, name in enumerate(names):
        where = f"arms[{number}].name {name!r}"
        if not name or not all(c.isalnum() or c in "_-" for c in name):
            raise UserError(f"{where} may hold letters, digits, _ and - only")
        if name in names[:number]:
            raise UserError(f"{where} occurs twice")
        if name in PREDICTOR_LABELS:
            raise UserError(f"{where} is the name of a built-in predictor")
    if config.baseline not in names:
        raise UserError(f"baseline {config.baseline!r} is not an arm; arms: {', '.join(names)}")
    for number, arm in enumerate(config.arms):
        if arm.against == arm.name or arm.against not in (None, *names):
            raise UserError(f"arms[{number}].against {arm.against!r} is not another arm")
    for key, metric in (
        ("statistics.primary", config.statistics.primary),
        ("search.metric", config.search.metric),
    ):
        if metric not in METRICS:
            raise UserError(f"{key} {metric!r} is not a metric; allowed: {', '.join(METRICS)}")
    for key, values in (("budgets", config.budgets), ("seeds", config.seeds)):
        if values is not None and (not values or len(set(values)) != len(values)):
            raise UserError(f"{key} must be a list of different values")
    for budget in config.budgets or []:
        if budget != "all" and int(budget) < 0:
            raise UserError(f"budget {budget} is impossible: whole numbers from 0, or all")
    if 0 in (config.budgets or []) and not any(map(knows_emotions, config.arms)):
        raise UserError("budget 0 is for arms that start from an emotion model, and none does")
    if any(seed < 0 for seed in config.seeds):
        raise UserError("seeds must not be negative")
    if len(config.search.trials) > MAX_TRIALS:
        raise UserError(f"search.trials has {len(config.search.trials)}, at most {MAX_TRIALS}")
    if config.datasets and config.manual_dir:
        raise UserError("give either datasets or manual_dir, not both")
    if config.folds and not config.manual_dir:
        raise UserError("folds needs manual_dir")
    if config.data.dataset is not None:
        raise UserError("name datasets under 'datasets', not under data.dataset")
    _check_arms(config)


def _check_arms(config: StudyConfig) -> None:
    from mosei_ssl.training.finetuning import MONITORS

    for number, arm in enumerate(config.arms):
        where = f"arms[{number}]"
        options = pretrain_options(config, arm, where=where)
        task, kind = options["task"]["name"], options["backbone"]["kind"]
        if arm.pretrained is True and task == "codebook" != kind:
            raise UserError(f"{where}: pretrain.task.name codebook does not go with a {kind}")
        for trial in config.search.trials or [{}]:
            options = finetune_options(config, arm, trial=trial, where=where)
            if options["monitor"] not in MONITORS:
                raise UserError(
                    f"finetune.monitor {options['monitor']!r} is not a score; allowed: "
                    f"{', '.join(MONITORS)}"
                )


def pretrain_options(
    config: StudyConfig, arm: ArmConfig, dataset: str = "", seed: int = 0, where: str = ""
) -> dict[str, Any]:
    """Resolve an arm's pretraining to plain values; `where` is the arm's place, for messages."""
    values = merge(config.pretrain, arm.pretrain)
    place = f"{where}.pretrain" if where and arm.pretrain else "pretrain"
    _refuse(values, _SET_BY_STUDY, place)
    given = {"dataset": dataset, "seed": seed}
    return _resolve(PretrainConfig, config, arm, values | given, place, where)


def finetune_options(
    config: StudyConfig,
    arm: ArmConfig,
    dataset: str = "",
    labels: int | str = "all",
    seed: int = 0,
    trial: dict[str, Any] | None = None,
    where: str = "",
) -> dict[str, Any]:
    """Resolve one fine-tuning to plain values; `trial` has dotted options of the search."""
    values = merge(config.finetune, arm.finetune, nested(trial or {}))
    place = f"{where}.finetune" if where and arm.finetune else "finetune"
    _refuse(values, _SET_BY_ARM, place)
    given = {
        "dataset": dataset,
        "labels": labels,
        "seed": seed,
        "from_scratch": not arm.pretrained,
        "pretrained": _place(arm.pretrained),
        "keep_best": arm.early_stopping,
        **({} if arm.early_stopping else {"patience": 0}),
    }
    return _resolve(FinetuneConfig, config, arm, values | given, place, where)


def _refuse(values: dict[str, Any], keys: set[str], place: str) -> None:
    for key in keys & set(values):
        raise UserError(f"{place}.{key} is set by the study itself: leave it out")


def _resolve(
    kind: type[DataConfig],
    config: StudyConfig,
    arm: ArmConfig,
    values: dict[str, Any],
    place: str,
    where: str,
) -> dict[str, Any]:
    backbone = merge(config.backbone, arm.backbone)
    from_mapping(BackboneConfig, backbone, f"{where}.backbone" if arm.backbone else "backbone")
    shared = dataclasses.asdict(config.data)
    options = dataclasses.asdict(
        from_mapping(kind, {**shared, **values, "run": "", "backbone": backbone}, place)
    )
    unset = {"run", "data_dir"} if options.get("pretrained") else {"run", "data_dir", "pretrained"}
    return {k: v for k, v in options.items() if k not in unset}


def knows_emotions(arm: ArmConfig) -> bool:
    """Whether an arm starts from an emotion model, which answers without labels, too."""
    if not isinstance(arm.pretrained, str):
        return False
    return RunDirectory(presets.find(arm.pretrained)).open().info["kind"] == "finetune"


def _place(pretrained: bool | str) -> str | None:
    """A run to start from as workers with another working directory find it, or a preset."""
    if isinstance(pretrained, bool):
        return None
    return str(Path(pretrained).absolute()) if Path(pretrained).exists() else pretrained


def absolute_data_dir(config: StudyConfig) -> str:
    """The folder of prepared datasets as workers with another working directory find it."""
    place = config.data.data_dir
    return place if "://" in place else str(Path(place).absolute())
