"""Every option of every stage, with its real default; free of Keras, so that `--help` is fast.

The paper does not publish its hyper-parameters: every default here is our own choice.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from mosei_ssl.utils.options import OptionError, Options, ranged

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Budget = int | Literal["all"]


@dataclass(kw_only=True)
class BackboneConfig(Options):
    """What every backbone has; a new one derives from this and is added to `BACKBONES`.

    Attributes:
        model: where its class is, as `module:Class`. Called with the columns' means and standard
            deviations, the options below (but `kind`) by name, and `seed`.
        kind: name of the backbone.
        hidden_dim: width of its output.
        pooling_factor: frames, 10 ms each, per timestep of the encoder (mean and standard
            deviation of each window).
    """

    group: ClassVar[str] = "backbone."
    discriminator: ClassVar[str] = "kind"
    registry: ClassVar[dict[str, type["BackboneConfig"]]]
    model: ClassVar[str]

    kind: str
    hidden_dim: int = ranged(64, 1)
    pooling_factor: int = ranged(10, 1)


@dataclass(kw_only=True)
class TransformerConfig(BackboneConfig):
    """Options of the transformer backbone.

    Args:
        num_layers: transformer blocks.
        num_heads: attention heads; divides hidden_dim.
        feedforward_dim: width inside the feed-forward networks.
        dropout: dropout rate inside the encoder.
    """

    model: ClassVar[str] = "mosei_ssl.models.transformer_backbone:TransformerBackbone"

    kind: Literal["transformer"] = "transformer"
    num_layers: int = ranged(2, 1)
    num_heads: int = ranged(4, 1)
    feedforward_dim: int = ranged(128, 1)
    dropout: float = ranged(0.1, 0, 1, below=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_dim % self.num_heads:
            problem = f"{self.hidden_dim} is not a multiple of num_heads {self.num_heads}"
            raise OptionError(self.group, "hidden_dim", problem)


@dataclass(kw_only=True)
class CodebookConfig(BackboneConfig):
    """Options of the codebook backbone.

    Args:
        hidden_dim: entries of the codebook.
        code_dim: width of the space in which timesteps and entries are compared.
        context: timesteps that are looked at together, odd.
    """

    model: ClassVar[str] = "mosei_ssl.models.codebook_backbone:CodebookBackbone"

    kind: Literal["codebook"] = "codebook"
    hidden_dim: int = ranged(256, 1)
    code_dim: int = ranged(60, 1)
    context: int = ranged(5, 1)


BACKBONES = BackboneConfig.registry = {"transformer": TransformerConfig, "codebook": CodebookConfig}
"""Options of each backbone, by `backbone.kind`."""


@dataclass(kw_only=True)
class TaskConfig(Options):
    """What every pretraining task has; a new one derives from this and is added to `TASKS`.

    Attributes:
        model: where its class is, as `module:Class`. Called with the backbone, the options below
            (but `name`) by name, and `seed`.
        name: name of the task.
    """

    group: ClassVar[str] = "task."
    discriminator: ClassVar[str] = "name"
    registry: ClassVar[dict[str, type["TaskConfig"]]]
    model: ClassVar[str]

    name: str


@dataclass(kw_only=True)
class MaskedTimestepConfig(TaskConfig):
    """Options of the paper's task: reconstruct masked timesteps.

    Args:
        mask_ratio: share of masked timesteps.
        mask_span: length of a masked span in timesteps.
    """

    model: ClassVar[str] = "mosei_ssl.models.masked_timestep_model:MaskedTimestepModel"

    name: Literal["masked_timestep"] = "masked_timestep"
    mask_ratio: float = ranged(0.3, 0, 1, above=True, below=True)
    mask_span: int = ranged(5, 1)


@dataclass(kw_only=True)
class CodebookTaskConfig(TaskConfig):
    """Options of the codebook task: k-means units, and a metric for the utterance summary.

    Args:
        strength: weight of differences within segments in the summary's metric; 0 for none.
    """

    model: ClassVar[str] = "mosei_ssl.models.codebook_model:CodebookModel"

    name: Literal["codebook"] = "codebook"
    strength: float = ranged(200.0, 0)


TASKS = TaskConfig.registry = {
    "masked_timestep": MaskedTimestepConfig,
    "codebook": CodebookTaskConfig,
}
"""Options of each pretraining task, by `task.name`."""


@dataclass(kw_only=True)
class HeadConfig(Options):
    """Options of the emotion head.

    Args:
        dropout: dropout on the pooled statistics, twice.
        weight_penalty: squared weights of the distribution's dense layer times this are added to
            the loss. With few labels it decides more than any other option.
    """

    group: ClassVar[str] = "head."

    dropout: float = ranged(0.2, 0, 1, below=True)
    weight_penalty: float = ranged(0.1, 0)


@dataclass(kw_only=True)
class OptimizerConfig(Options):
    """AdamW with linear warm-up and cosine decay (Loshchilov & Hutter, 2017, 2019).

    Args:
        learning_rate: the peak, reached at the end of the warm-up.
        weight_decay: decoupled weight decay.
        warmup_fraction: share of all steps spent warming up.
        clip_norm: global gradient norm above which gradients are scaled down.
        layer_decay: fine-tuning only: each stage of the encoder, from the head down, learns with
            this share of the rate of the one above it; below 1 the pooled states also stay
            standardised as they were before.
    """

    group: ClassVar[str] = "optimizer."

    learning_rate: float = ranged(1e-3, 0, above=True)
    weight_decay: float = ranged(0.01, 0)
    warmup_fraction: float = ranged(0.1, 0, 1)
    clip_norm: float = ranged(1.0, 0, above=True)
    layer_decay: float = ranged(1.0, 0, 1)


@dataclass(kw_only=True)
class DataConfig(Options):
    """Which prepared dataset to read, and how its segments become batches.

    Args:
        data_dir: folder that `mosei-ssl build` or `tfds build` prepared datasets in.
        dataset: name of one prepared dataset there, such as "covarep-1a2b3c4d5e"; None takes
            the only one.
        extra_datasets: further prepared datasets, of which what is not held out is added to
            pretraining, their rows mapped to the first dataset's feature statistics.
        batch_size: segments per batch.
        context: whether rows are taken relative to their speaker: half of the way to the train
            split's means if there are 25 s of the speaker in the split. `predict` does so, too.
        max_frames: longest training window in frames of 10 ms; a longer segment gives a random
            one in each epoch. 1660 is MOSEI's 95th percentile. None (null) never crops.
        max_lengths: most lengths that batches are padded to: more waste less, but where XLA
            compiles the step, it does so once for each. None (null) takes 4 there, else 12.
    """

    data_dir: str = "data"
    dataset: str | None = None
    extra_datasets: list[str] = field(default_factory=list)
    batch_size: int = ranged(32, 1)
    context: bool = True
    max_frames: int | None = ranged(1660, 1)
    max_lengths: int | None = ranged(None, 1)


@dataclass(kw_only=True)
class TrainingConfig(DataConfig):
    """What pretraining and fine-tuning have in common.

    Args:
        run: run directory to write (and to resume from, if it was interrupted).
        backbone: the encoder, shared by both arms.
        optimizer: optimizer and schedule.
        epochs: passes over the segments, at most.
        precision: Keras dtype policy of the computation; weights and losses stay float32.
        jit_compile: whether to compile the step with XLA, anew for each length of a batch. "auto"
            does so on JAX and, in a long run, on TensorFlow with a GPU; on CPUs it is slower there.
        deterministic: whether the same command is to give the same numbers on a GPU, too, where
            that costs speed and, on TensorFlow, rules out XLA. On CPUs it does so anyway, unless
            jit_compile is true.
        seed: fixes labelled subset, data order, masks and initial weights.
    """

    run: str
    backbone: BackboneConfig = field(default_factory=TransformerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int = ranged(30, 1)
    precision: Precision = "float32"
    jit_compile: bool | Literal["auto"] = "auto"
    deterministic: bool = False
    seed: int = ranged(0, 0, 2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deterministic and self.jit_compile is True:
            raise OptionError("", "deterministic", "rules out jit_compile: true")


@dataclass(kw_only=True)
class PretrainConfig(TrainingConfig):
    """Self-supervised pretraining of a backbone on unlabelled segments.

    Args:
        splits: splits to pretrain on; None (null) takes all that is not held out: unlabelled, which
            has the train recordings whole, or train where it is missing. Splits that hold
            validation or test speakers are refused.
        task: the pretraining task.

    Examples:
        >>> PretrainConfig(run="runs/pre", task=CodebookTaskConfig()).epochs
        30
    """

    common: ClassVar[tuple[str, ...]] = (
        *("run", "data_dir", "dataset", "epochs", "batch_size", "precision"),
        *("seed", "backbone.kind", "task.name"),
    )

    splits: list[str] | None = None
    task: TaskConfig = field(default_factory=MaskedTimestepConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.splits is None:
            return
        if not self.splits:
            raise OptionError("", "splits", "is empty: name what to pretrain on, such as [train]")
        self.splits = list(dict.fromkeys(part.strip() for part in "+".join(self.splits).split("+")))
        held_out = {"validation", "test"} & set(self.splits)
        if held_out:
            problem = f"would show held-out speakers: leave out {', '.join(sorted(held_out))}"
            raise OptionError("", "splits", problem)


@dataclass(kw_only=True)
class FinetuneConfig(TrainingConfig):
    """Training of the emotion model on few labels, from a pretrained run or from scratch.

    Without a `dataset`, and with none in the default `data_dir`, that of `pretrained` is read.

    Args:
        labels: label budget: a number of labelled segments, or `all`; 0 only adapts an emotion
            model to the corpus.
        label_selection: which segments these are: drawn at random, or those that `mosei-ssl select`
            would choose.
        pretrained: run of a finished pretraining, whose backbone is used, not `backbone`; or of a
            fine-tuning, or a preset's name, to start from its head, too.
        from_scratch: the baseline: the same backbone with fresh weights.
        freeze_backbone: fit the head only, at once: no epochs, no optimizer, no dropout.
        head: the emotion head.
        also_alone: a head that is fitted at once learns each labelled segment in context and
            without: for clips of which no more of the speaker is known, and for other corpora.
        weight_prior: if above 0, head.weight_penalty is set to this divided by the number of
            labelled segments: a prior of fixed strength, against which more labels weigh more.
        min_steps_per_epoch: with few labels they are repeated until an epoch has so many steps.
        patience: stop after so many epochs without a better validation score; 0 never stops
            early.
        keep_best: keep the weights of the best epoch; false trains all epochs and keeps the last,
            so that validation labels decide nothing.
        cautious: answer 0 as long as answers above it do not lower the MAE, by cross-validation on
            the labelled segments (with keep_best, by validation). Probabilities keep their order.
        monitor: the validation score to watch.

    Examples:
        >>> FinetuneConfig(run="runs/base100", labels=100, from_scratch=True).patience
        8
    """

    common: ClassVar[tuple[str, ...]] = (
        *("run", "labels", "pretrained", "from_scratch", "freeze_backbone", "data_dir", "dataset"),
        *("epochs", "seed"),
    )

    labels: Budget = ranged("all", 0)
    label_selection: Literal["random", "select"] = "random"
    pretrained: str | None = None
    from_scratch: bool = False
    freeze_backbone: bool = False
    also_alone: bool = False
    head: HeadConfig = field(default_factory=HeadConfig)
    weight_prior: float = ranged(0.0, 0)
    min_steps_per_epoch: int = ranged(32, 1)
    patience: int = ranged(8, 0)
    keep_best: bool = True
    cautious: bool = True
    monitor: str = "val_loss"
