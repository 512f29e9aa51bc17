"""One way to train both tasks: Keras `fit`, resumable at any step."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mosei_ssl.data import TrainingData
from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.training.callbacks import History, ProgressLine, Scalars
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.config import OptimizerConfig, Precision
from mosei_ssl.training.devices import Devices
from mosei_ssl.training.monitoring import GradientNorm, Profile, StopOnNaN, Throughput
from mosei_ssl.training.replicated import ReplicatedLoop
from mosei_ssl.training.run_directory import RunDirectory


@dataclasses.dataclass
class Plan:
    """What `train` is to do.

    Args:
        run: where state, history and logs go.
        title: shown beside the progress bar.
        batches: (epoch, step, index, count) -> endless batches that begin with that one; of each,
            the share of one replica out of so many. A pure function.
        steps_per_epoch: batches in an epoch.
        epochs: epochs in all.
        checkpoint_steps: extra saves within an epoch.
        first: callbacks that run before history and logs are written.
        stateful: those callbacks that belong to the training state, by name.
        hparams: for TensorBoard's HParams dashboard.
        profile_steps: steps to profile, see `Profile`; None for none.
    """

    run: RunDirectory
    title: str
    batches: Callable[[int, int, int, int], TrainingData]
    steps_per_epoch: int
    epochs: int
    checkpoint_steps: int = 0
    first: list[keras.callbacks.Callback] = dataclasses.field(default_factory=list)
    stateful: dict[str, Any] = dataclasses.field(default_factory=dict)
    hparams: dict[str, Any] = dataclasses.field(default_factory=dict)
    profile_steps: str | None = None


def prepare(precision: Precision, seed: int) -> None:
    """Set the dtype policy and every seed; a run starts from here, whatever ran before it."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        # Take memory as it is needed, so that others can use the device too. Refused once the
        # device is in use, by which time it is settled.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)


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


def train(model: keras.Model, plan: Plan, devices: Devices | None = None) -> None:
    """Train a compiled, built model; go on from a saved state if the run has one.

    Args:
        model: what is trained, made under the scope of `devices`.
        plan: what to do.
        devices: the replicas; None means one device.

    Raises:
        Interrupted: stopped by a signal, with the state saved.
        UserError: the loss is not a number, or the state cannot be saved or read.
    """
    devices = devices or Devices()
    with devices.scope():
        model.optimizer.build(model.trainable_variables)
    loop = ReplicatedLoop(model, devices) if devices.strategy else None
    history = History(plan.run / "history.csv")
    stateful = {"replicas": loop} if loop else {}
    if devices.chief:
        stateful |= {"history": history, **plan.stateful}
    checkpoint = Checkpoint(
        plan.run.checkpoints,
        plan.checkpoint_steps,
        stateful,
        writes=devices.chief,
        metrics=loop is None,
    )
    progress = ProgressLine(plan.title, plan.epochs, plan.steps_per_epoch)
    throughput = Throughput()
    profile = [Profile(plan.run / "train", plan.profile_steps)] if plan.profile_steps else []
    written = [
        GradientNorm(),
        *plan.first,
        history,
        throughput,
        Scalars(plan.run.path, plan.hparams, lambda: throughput.values),
        *profile,
        progress,
    ]
    callbacks = [
        StopOnNaN(checkpoint, _batch_names(plan), plan.run / "not_a_number.json"),
        *(written if devices.chief else [GradientNorm()]),
        checkpoint,
    ]
    # A run cut off after its last epoch never gets to fit(), which would do this.
    for callback in callbacks:
        callback.set_model(model)
    with devices.scope():
        epoch, step = checkpoint.restore(model)
    try:
        if loop:
            loop.diversify()
            shares = [
                plan.batches(epoch, step, devices.first + i, devices.replicas)
                for i in range(devices.local)
            ]
            throughput.watch(shares[0], step)
            if epoch < plan.epochs and not checkpoint.stopped:
                loop.fit(shares, callbacks, epoch, step, plan.epochs, plan.steps_per_epoch)
            return
        if step:
            # The rest of the interrupted epoch is an epoch of its own to Keras.
            _fit(model, plan, callbacks, throughput, epoch, step, until=epoch + 1)
            epoch += 1
        if epoch < plan.epochs and not checkpoint.stopped:
            _fit(model, plan, callbacks, throughput, epoch, 0, until=plan.epochs)
    finally:
        progress.close()
        for callback in profile:
            callback.close()


def _batch_names(plan: Plan) -> Callable[[int, int], list[str]]:
    return lambda epoch, step: plan.batches(epoch, step, 0, 1).batch_names(epoch, step)


def _fit(
    model: keras.Model,
    plan: Plan,
    callbacks: list,
    throughput: Throughput,
    epoch: int,
    step: int,
    until: int,
) -> None:
    data = plan.batches(epoch, step, 0, 1)
    throughput.watch(data, step)
    model.fit(
        data.dataset,
        initial_epoch=epoch,
        epochs=until,
        steps_per_epoch=plan.steps_per_epoch - step,
        callbacks=callbacks,
        shuffle=False,  # the dataset is shuffled already
        verbose=0,
    )
