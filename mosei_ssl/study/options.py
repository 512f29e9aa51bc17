"""Options of studies, with their defaults."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mosei_ssl.config import Budget, DataConfig
from mosei_ssl.utils.options import Options, ranged

DEFAULT_BUDGETS: tuple[Budget, ...] = (25, 50, 100, 200, 400, 800, 1600, "all")
MAX_TRIALS = 8


@dataclass(kw_only=True)
class ArmConfig(Options):
    """One way to train, compared at every budget.

    Args:
        name: name in files and figures.
        pretrained: whether to start from the pretraining of the fold and seed; or a run or preset.
        against: arm that this one is compared with, such as one that differs in nothing but the
            pretraining; by default the study's `baseline`.
        early_stopping: whether the epoch is chosen by `finetune.monitor`, for which validation
            labels are needed unless it is `loss`; False trains all epochs and keeps the last.
        backbone: what differs from the study's `backbone`.
        pretrain: what differs from the study's `pretrain`, for instance another task.
        finetune: what differs from the study's `finetune`, such as `freeze_backbone: true`.
    """

    name: str
    pretrained: bool | str = False
    against: str | None = None
    early_stopping: bool = True
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class SearchConfig(Options):
    """The small search for fine-tuning options, the same for every arm.

    Args:
        trials: options to try, each a mapping of dotted keys of `finetune` to values, such as
            `{optimizer.learning_rate: 0.001}`. At most 8; none means no search.
        labels: label budget of the trials.
        metric: overall validation score that decides.
    """

    group: ClassVar[str] = "search."

    trials: list[dict[str, Any]] = field(default_factory=list)
    labels: Budget = ranged(100, 1)
    metric: str = "mae"


@dataclass(kw_only=True)
class StatisticsConfig(Options):
    """How results are analysed.

    Args:
        primary: metric whose comparisons need no adjustment for multiple testing.
        samples: bootstrap samples.
        level: coverage of the intervals.
        seed: seed of the bootstrap.
    """

    group: ClassVar[str] = "statistics."

    primary: str = "mae"
    samples: int = ranged(2000, 100)
    level: float = ranged(0.95, 0.5, 1, below=True)
    seed: int = ranged(0, 0)


@dataclass(kw_only=True)
class StudyConfig(Options):
    """A label-efficiency study.

    Args:
        name: title of the report.
        data: where prepared datasets are and how they become batches; see `datasets` below.
        datasets: prepared datasets, one per fold; empty takes the only one in `data.data_dir`,
            or those built from `manual_dir`.
        manual_dir: folder of .csd files to build the datasets from.
        folds: files of folds in `manual_dir`, such as `mosei-ssl folds` writes; each fold becomes a
            dataset; empty takes the folder's folds.json.
        budgets: numbers of labelled segments, or "all"; 0 is for arms that start from emotion
            models. None takes 25, 50, 100, 200, 400, 800,
            1600 as far as every fold reaches, and all.
        seeds: seeds of pretraining, labelled subset, data order and initial weights.
        arms: what is compared.
        baseline: name of the arm that the others are compared with, unless they say another.
        backbone: options of the backbone shared by all arms.
        pretrain: options of `mosei-ssl pretrain`.
        finetune: options of `mosei-ssl finetune`.
        search: hyper-parameter search before the grid.
        statistics: bootstrap and primary metric.
        threads: threads of each worker; fixed, so that results do not depend on the workers.

    Examples:
        >>> StudyConfig(seeds=[0, 1, 2]).baseline
        'baseline'
    """

    name: str = "Label efficiency of self-supervised pretraining"
    data: DataConfig = field(default_factory=DataConfig)
    datasets: list[str] = field(default_factory=list)
    manual_dir: str | None = None
    folds: list[str] = field(default_factory=list)
    budgets: list[Budget] | None = None
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    arms: list[ArmConfig] = field(
        default_factory=lambda: [ArmConfig(name="ssl", pretrained=True), ArmConfig(name="baseline")]
    )
    baseline: str = "baseline"
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    search: SearchConfig = field(default_factory=SearchConfig)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    threads: int = ranged(1, 1)
