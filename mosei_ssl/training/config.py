"""What a user may set for pretraining and fine-tuning, with our defaults.

The paper does not publish its hyper-parameters: every default here is our own choice.
"""

from dataclasses import dataclass, field
from typing import Literal

from mosei_ssl.data import DataConfig
from mosei_ssl.errors import UserError
from mosei_ssl.model_config import BackboneConfig, HeadConfig, PretrainingTaskConfig
from mosei_ssl.ranges import check_range

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

_LARGEST_SEED = 2**32 - 1


@dataclass
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay (Loshchilov & Hutter, 2017, 2019).

    Args:
        learning_rate: the peak, reached at the end of the warm-up.
        weight_decay: decoupled weight decay.
        warmup_fraction: share of all steps spent warming up, 0 to 1.
        clip_norm: global gradient norm above which gradients are scaled down.
        layer_decay: fine-tuning only: each stage of the encoder, from the head down, learns with
            this share of the rate of the one above it, see `learning_rate_multipliers`.

    Raises:
        UserError: If a value is out of range; the message names the key.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    clip_norm: float = 1.0
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        check_range("optimizer.learning_rate", self.learning_rate, 0, above=True)
        check_range("optimizer.weight_decay", self.weight_decay, 0)
        check_range("optimizer.warmup_fraction", self.warmup_fraction, 0, 1)
        check_range("optimizer.clip_norm", self.clip_norm, 0, above=True)
        check_range("optimizer.layer_decay", self.layer_decay, 0, 1)


@dataclass
class PretrainConfig:
    """Self-supervised pretraining of a backbone on unlabelled segments.

    Args:
        run: run directory to write (and to resume from, if it was interrupted).
        data: which dataset, and how it becomes batches.
        splits: splits to pretrain on. Splits that hold validation or test speakers are refused.
        backbone: the encoder, shared by both arms.
        task: the pretraining task.
        optimizer: optimizer and schedule.
        epochs: passes over the data.
        precision: Keras dtype policy of the computation; weights and losses stay float32.
        jit_compile: whether to compile the step with XLA, anew for each length of a batch. "auto"
            does so on JAX, and not on TensorFlow: there it was measured to be slower on CPUs, and
            the same command need not give the same numbers twice. Several replicas of TensorFlow
            do without.
        seed: fixes data order, masks and initial weights.
        checkpoint_steps: also save the training state every so many steps (0: per epoch only).

    Raises:
        UserError: If a value is out of range; the message names the key.
    """

    run: str
    data: DataConfig = field(default_factory=DataConfig)
    splits: list[str] = field(default_factory=lambda: ["train"])
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    task: PretrainingTaskConfig = field(default_factory=PretrainingTaskConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int = 30
    precision: Precision = "float32"
    jit_compile: bool | Literal["auto"] = "auto"
    seed: int = 0
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        if not self.splits:
            raise UserError("splits is empty: name what to pretrain on, [train] for instance")
        self.splits = list(dict.fromkeys(part.strip() for part in "+".join(self.splits).split("+")))
        held_out = {"validation", "test"} & set(self.splits)
        if held_out:
            raise UserError(
                f"splits: pretraining on {', '.join(sorted(held_out))} would let held-out speakers "
                "into the model; choose among train, unlabelled and unassigned"
            )
        check_range("epochs", self.epochs, 1)
        check_range("seed", self.seed, 0, _LARGEST_SEED)
        check_range("checkpoint_steps", self.checkpoint_steps, 0)


@dataclass
class FinetuneConfig:
    """Training of the emotion model on few labels, from a pretrained run or from scratch.

    Args:
        run: run directory to write (and to resume from, if it was interrupted).
        labels: label budget: a number of labelled segments, or `all`.
        pretrained: run directory of a finished pretraining; its backbone is taken over.
        from_scratch: the baseline: the same backbone with fresh weights.
        freeze_backbone: train the head only (a linear probe of the backbone).
        data: which dataset, and how it becomes batches. With `pretrained`, that run's dataset if
            none is named and there is none in the default place.
        backbone: the encoder of the baseline. With `pretrained`, that run's own is used.
        head: the emotion head.
        weight_prior: if above 0, head.weight_penalty is set to this divided by the number of
            labelled segments: a prior of fixed strength, against which more labels weigh more.
        optimizer: optimizer and schedule.
        epochs: passes over the labelled segments, at most.
        min_steps_per_epoch: with few labels they are repeated until an epoch has so many steps.
        patience: stop after so many epochs without a better validation score; 0 never stops
            early.
        keep_best: keep the weights of the best epoch; false trains all epochs and keeps the last,
            so that validation labels decide nothing.
        monitor: the validation score to watch.
        precision: Keras dtype policy of the computation; weights and losses stay float32.
        jit_compile: whether to compile the step with XLA, anew for each length of a batch. "auto"
            does so on JAX, and not on TensorFlow: there it was measured to be slower on CPUs, and
            the same command need not give the same numbers twice. Several replicas of TensorFlow
            do without.
        seed: fixes the labelled subset, data order and initial weights.
        checkpoint_steps: also save the training state every so many steps (0: per epoch only).

    Raises:
        UserError: If a value is out of range; the message names the key.
    """

    run: str
    labels: int | Literal["all"] = "all"
    pretrained: str | None = None
    from_scratch: bool = False
    freeze_backbone: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    weight_prior: float = 0.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int = 30
    min_steps_per_epoch: int = 32
    patience: int = 8
    keep_best: bool = True
    monitor: str = "val_loss"
    precision: Precision = "float32"
    jit_compile: bool | Literal["auto"] = "auto"
    seed: int = 0
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        if self.labels != "all":
            check_range("labels", self.labels, 1)
        check_range("weight_prior", self.weight_prior, 0)
        check_range("epochs", self.epochs, 1)
        check_range("min_steps_per_epoch", self.min_steps_per_epoch, 1)
        check_range("patience", self.patience, 0)
        check_range("seed", self.seed, 0, _LARGEST_SEED)
        check_range("checkpoint_steps", self.checkpoint_steps, 0)
