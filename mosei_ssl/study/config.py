"""What a study is made of, read from YAML and checked before anything runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from mosei_ssl.config import DataConfig
from mosei_ssl.metrics import METRICS
from mosei_ssl.study.feasible import check_feasible
from mosei_ssl.study.parsing import build, merge, nested
from mosei_ssl.utils.errors import UserError

MAX_TRIALS = 8
DEFAULT_BUDGETS: tuple[int | str, ...] = (25, 50, 100, 200, 400, 800, 1600, "all")


@dataclass
class ArmConfig:
    """One way to train, compared at every budget.

    Args:
        name: Name in files and figures.
        pretrained: Whether to start from the pretraining of the same fold and seed.
        early_stopping: Whether the epoch is chosen by `finetune.monitor`, for which validation
            labels are needed unless it is `loss`; False trains all epochs and keeps the last.
        backbone: What differs from the study's `backbone`.
        pretrain: What differs from the study's `pretrain`, for instance another task.
        finetune: What differs from the study's `finetune`, for instance
            ``freeze_backbone: true`` for a linear probe.
    """

    name: str
    pretrained: bool = False
    early_stopping: bool = True
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


@dataclass
class SearchConfig:
    """The small search for fine-tuning options, the same for every arm.

    Args:
        trials: Options to try, each a mapping of dotted keys of `finetune` to values, for
            instance ``{optimizer.learning_rate: 0.001}``. At most 8; none means no search.
        labels: Label budget of the trials.
        metric: Overall validation score that decides.
    """

    trials: list[dict[str, Any]] = field(default_factory=list)
    labels: int | Literal["all"] = 100
    metric: str = "mae"


@dataclass
class StatisticsConfig:
    """How results are analysed.

    Args:
        primary: Metric whose comparisons need no adjustment for multiple testing.
        samples: Bootstrap samples.
        level: Coverage of the intervals.
        seed: Seed of the bootstrap.
    """

    primary: str = "mae"
    samples: int = 2000
    level: float = 0.95
    seed: int = 0


def _default_arms() -> list[ArmConfig]:
    return [ArmConfig("ssl", pretrained=True), ArmConfig("baseline")]


@dataclass
class StudyConfig:
    """A label-efficiency study.

    Args:
        name: Title of the report.
        data: Where prepared datasets are and how they become batches; `dataset` is set by
            `datasets` below.
        datasets: Prepared datasets, one per fold; empty takes the only one in `data.data_dir`,
            or those built from `manual_dir`.
        manual_dir: Folder of .csd files to build the datasets from.
        folds: Folds files for `manual_dir`, one dataset each; relative ones lie in `manual_dir`.
            Empty takes the folder's own.
        budgets: Numbers of labelled segments, or "all". None takes 25, 50, 100, 200, 400, 800,
            1600 as far as every fold reaches, and all.
        seeds: Seeds of pretraining, labelled subset, data order and initial weights.
        arms: What is compared.
        baseline: Name of the arm that the others are compared with.
        backbone: Options of the backbone shared by all arms.
        pretrain: Options of `mosei-ssl pretrain`.
        finetune: Options of `mosei-ssl finetune`.
        search: Hyper-parameter search before the grid.
        statistics: Bootstrap and primary metric.
        per_speaker: Whether to add the SVR on features standardised per test speaker.
        threads: Threads of each worker; fixed, so that results do not depend on the workers.

    Example:
        >>> StudyConfig(seeds=[0, 1, 2]).baseline
        'baseline'
    """

    name: str = "Label efficiency of self-supervised pretraining"
    data: DataConfig = field(default_factory=DataConfig)
    datasets: list[str] = field(default_factory=list)
    manual_dir: str | None = None
    folds: list[str] = field(default_factory=list)
    budgets: list[int | Literal["all"]] | None = None
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    arms: list[ArmConfig] = field(default_factory=_default_arms)
    baseline: str = "baseline"
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    search: SearchConfig = field(default_factory=SearchConfig)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    per_speaker: bool = True
    threads: int = 1


def load_study_config(path: str | os.PathLike[str]) -> StudyConfig:
    """Read and check a study's YAML file.

    Args:
        path: The file.

    Returns:
        The configuration.

    Raises:
        UserError: If the file cannot be read, or a key or value is not allowed; the message
            names the key and the allowed values.

    Example:
        >>> load_study_config("configs/mosei_paper.yaml").baseline  # doctest: +SKIP
        'baseline'
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    try:
        config = build(StudyConfig, values)
        check(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return config


def check(config: StudyConfig) -> None:
    """Check what can be checked without data.

    Args:
        config: The study.

    Raises:
        UserError: Naming the key and the allowed values.

    Example:
        >>> check(StudyConfig())
    """
    names = [arm.name for arm in config.arms]
    for number, name in enumerate(names):
        if not name or not all(c.isalnum() or c in "_-" for c in name):
            raise UserError(f"arms[{number}].name {name!r} may hold letters, digits, _ and - only")
        if name in names[:number]:
            raise UserError(f"arms[{number}].name {name!r} occurs twice")
        if name in ("all_zero", "train_median", "ridge", "svr", "svr_per_speaker"):
            raise UserError(f"arms[{number}].name {name!r} is the name of a built-in predictor")
    if config.baseline not in names:
        raise UserError(f"baseline {config.baseline!r} is no arm; arms: {', '.join(names)}")
    for key, metric in (
        ("statistics.primary", config.statistics.primary),
        ("search.metric", config.search.metric),
    ):
        if metric not in METRICS:
            raise UserError(f"{key} {metric!r} is no metric; allowed: {', '.join(METRICS)}")
    if config.statistics.samples < 100:
        raise UserError("statistics.samples must be at least 100")
    if not 0.5 <= config.statistics.level < 1:
        raise UserError("statistics.level must lie in [0.5, 1)")
    if config.statistics.seed < 0:
        raise UserError("statistics.seed must not be negative")
    for key, values in (("budgets", config.budgets), ("seeds", config.seeds)):
        if values is not None and (not values or len(set(values)) != len(values)):
            raise UserError(f"{key} must be a list of different values")
    for budget in [*(config.budgets or []), config.search.labels]:
        if budget != "all" and int(budget) < 1:
            raise UserError(f"budget {budget} is impossible: whole numbers from 1, or all")
    if any(seed < 0 for seed in config.seeds):
        raise UserError("seeds must not be negative")
    if len(config.search.trials) > MAX_TRIALS:
        raise UserError(f"search.trials has {len(config.search.trials)}, at most {MAX_TRIALS}")
    if config.threads < 1:
        raise UserError("threads must be at least 1")
    if config.datasets and config.manual_dir:
        raise UserError("give either datasets or manual_dir, not both")
    if config.folds and not config.manual_dir:
        raise UserError("folds needs manual_dir")
    if config.data.dataset is not None:
        raise UserError("name datasets under 'datasets', not under data.dataset")
    for number, arm in enumerate(config.arms):
        where = f"arms[{number}]"
        # Unknown keys mean nothing of an arm that is not pretrained either.
        options = pretrain_options(config, arm, "checked", 0, where)
        if arm.pretrained:
            check_feasible(options, _where(arm.pretrain or arm.backbone, where, "pretrain"))
        for trial in config.search.trials or [{}]:
            options = finetune_options(config, arm, "checked", 1, 0, trial, where)
            check_feasible(options, _where(arm.finetune or arm.backbone, where, "finetune"))


def pretrain_options(
    config: StudyConfig, arm: ArmConfig, dataset: str, seed: int, where: str = ""
) -> dict[str, Any]:
    """Resolve the options of an arm's pretraining; `run` is left for the cell to set.

    Args:
        config: The study.
        arm: The arm.
        dataset: Prepared dataset of the fold.
        seed: Seed.
        where: Place in the file, for messages.

    Returns:
        Options of `PretrainConfig` as plain values.

    Raises:
        UserError: If a key or value is not allowed.

    Example:
        >>> pretrain_options(StudyConfig(), ArmConfig("ssl", True), "covarep", 3)["seed"]
        3
    """
    from mosei_ssl.config import PretrainConfig

    values = merge(config.pretrain, arm.pretrain)
    where = _where(arm.pretrain, where, "pretrain")
    data = _data(config, dataset, values.pop("data", {}), where)
    fixed = {"run": "", "data": data, "seed": seed}
    return _resolve(PretrainConfig, values, merge(config.backbone, arm.backbone), where, fixed)


def finetune_options(
    config: StudyConfig,
    arm: ArmConfig,
    dataset: str,
    labels: int | str,
    seed: int,
    trial: dict[str, Any] | None = None,
    where: str = "",
) -> dict[str, Any]:
    """Resolve the options of one fine-tuning; `run` and `pretrained` are left for the cell.

    Args:
        config: The study.
        arm: The arm.
        dataset: Prepared dataset of the fold.
        labels: Label budget.
        seed: Seed.
        trial: Dotted options of the search.
        where: Place in the file, for messages.

    Returns:
        Options of `FinetuneConfig` as plain values.

    Raises:
        UserError: If a key or value is not allowed.

    Example:
        >>> finetune_options(StudyConfig(), ArmConfig("ssl", True), "covarep", 25, 0)["labels"]
        25
    """
    from mosei_ssl.config import FinetuneConfig

    values = merge(config.finetune, arm.finetune, nested(trial or {}))
    where = _where(arm.finetune, where, "finetune")
    fixed = {
        "run": "",
        "data": _data(config, dataset, values.pop("data", {}), where),
        "labels": labels,
        "pretrained": None,
        "from_scratch": not arm.pretrained,
        "seed": seed,
        "keep_best": arm.early_stopping,
    }
    if not arm.early_stopping:
        values["patience"] = 0
    return _resolve(FinetuneConfig, values, merge(config.backbone, arm.backbone), where, fixed)


def _where(own: dict[str, Any], arm: str, stage: str) -> str:
    """Where a stage's options are to be found: with the arm if it has some, else for all arms."""
    return f"{arm}.{stage}" if own and arm else stage


def _data(config: StudyConfig, dataset: str, own: Any, where: str) -> DataConfig:
    """The study's data options with a stage's own laid over them; the dataset is the fold's."""
    own = {} if own is None else own
    if not isinstance(own, Mapping):
        raise UserError(f"{where}.data must be a mapping of keys to values, not {own!r}")
    shared = dataclasses.asdict(config.data)
    fixed = {"data_dir": shared.pop("data_dir"), "dataset": dataset}
    shared.pop("dataset")
    return build(DataConfig, merge(shared, own), f"{where}.data", fixed=fixed)


def _resolve(
    kind: type, values: dict[str, Any], backbone: dict[str, Any], where: str, fixed: dict[str, Any]
) -> dict[str, Any]:
    from mosei_ssl.models.backbone_config import BackboneConfig

    known = {f.name for f in dataclasses.fields(kind)}
    fixed = {key: value for key, value in fixed.items() if key in known}
    fixed["backbone"] = build(BackboneConfig, backbone, "backbone")
    # `run` has no default, so it counts among the fixed fields.
    options = dataclasses.asdict(build(kind, values, where, fixed=fixed))
    for key in ("run", "pretrained"):
        options.pop(key, None)
    return options
