"""One way to train both tasks: Keras `fit`, resumable at any step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.training.callbacks import History, ProgressLine, Scalars, StopOnNaN
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.config import OptimizerConfig, Precision
from mosei_ssl.training.run_directory import RunDirectory


@dataclasses.dataclass
class Plan:
    """What `train` is to do.

    Args:
        run: where state, history and logs go.
        title: shown beside the progress bar.
        batches: (epoch, step) -> endless dataset that begins with that batch; a pure function.
        steps_per_epoch: batches in an epoch.
        epochs: epochs in all.
        checkpoint_steps: extra saves within an epoch.
        first: callbacks that run before history and logs are written.
        stateful: those callbacks that belong to the training state, by name.
        hparams: for TensorBoard's HParams dashboard.
    """

    run: RunDirectory
    title: str
    batches: Callable[[int, int], tf.data.Dataset]
    steps_per_epoch: int
    epochs: int
    checkpoint_steps: int = 0
    first: list[keras.callbacks.Callback] = dataclasses.field(default_factory=list)
    stateful: dict[str, Any] = dataclasses.field(default_factory=dict)
    hparams: dict[str, Any] = dataclasses.field(default_factory=dict)


def prepare(precision: Precision, seed: int) -> None:
    """Set the dtype policy and every seed; a run starts from here, whatever ran before it."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def make_optimizer(
    config: OptimizerConfig, steps: int, multipliers: dict[str, float] | None = None
) -> keras.optimizers.Optimizer:
    """AdamW with linear warm-up and cosine decay to zero over `steps` steps.

    Args:
        config: peak learning rate, warm-up and the rest.
        steps: steps in all.
        multipliers: of the learning rate, by variable path.

    References:
        Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """
    warmup = int(config.warmup_fraction * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = LayerwiseAdamW(
        multipliers,
        learning_rate=schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale", "token"])
    return optimizer


def train(model: keras.Model, plan: Plan) -> None:
    """Train a compiled, built model; go on from a saved state if the run has one.

    Raises:
        Interrupted: stopped by a signal, with the state saved.
        UserError: the loss is not a number, or the state cannot be saved or read.
    """
    model.optimizer.build(model.trainable_variables)
    history = History(plan.run / "history.csv")
    checkpoint = Checkpoint(
        plan.run.checkpoints, plan.checkpoint_steps, {"history": history, **plan.stateful}
    )
    progress = ProgressLine(plan.title, plan.epochs, plan.steps_per_epoch)
    callbacks = [
        StopOnNaN(plan.run.checkpoints),
        *plan.first,
        history,
        Scalars(plan.run.path, plan.hparams),
        progress,
        checkpoint,
    ]
    # A run cut off after its last epoch never gets to fit(), which would do this.
    for callback in callbacks:
        callback.set_model(model)
    epoch, step = checkpoint.restore(model)
    try:
        if step:
            # The rest of the interrupted epoch is an epoch of its own to Keras.
            _fit(model, plan, callbacks, epoch, step, until=epoch + 1)
            epoch += 1
        if epoch < plan.epochs and not checkpoint.stopped:
            _fit(model, plan, callbacks, epoch, 0, until=plan.epochs)
    finally:
        progress.close()


def _fit(model: keras.Model, plan: Plan, callbacks: list, epoch: int, step: int, until: int):
    model.fit(
        plan.batches(epoch, step),
        initial_epoch=epoch,
        epochs=until,
        steps_per_epoch=plan.steps_per_epoch - step,
        callbacks=callbacks,
        shuffle=False,  # the dataset is shuffled already
        verbose=0,
    )
