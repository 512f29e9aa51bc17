"""One way to train both tasks: Keras `fit`, resumable at any step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mosei_ssl.config import OptimizerConfig, Precision
from mosei_ssl.data import TrainingData
from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.training.callbacks import History, ProgressLine, Scalars
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.devices import Devices, ahead_on_gpu
from mosei_ssl.training.hparams import Trial
from mosei_ssl.training.monitoring import GradientNorm, Profile, StopOnNaN, Throughput
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.utils.files import storage_errors_told
from mosei_ssl.utils.signals import Interrupted, StopRequest, stop_politely


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
        first: callbacks that run before history and logs are written.
        stateful: those callbacks that belong to the training state, by name.
        hparams: for TensorBoard's HParams dashboard.
        kept: whether the weights of an epoch are those that the run keeps so far.
        profile_steps: steps to profile, see `Profile`; None for none.
    """

    run: RunDirectory
    title: str
    batches: Callable[[int, int, int, int], TrainingData]
    steps_per_epoch: int
    epochs: int
    first: list[keras.callbacks.Callback] = dataclasses.field(default_factory=list)
    stateful: dict[str, Any] = dataclasses.field(default_factory=dict)
    hparams: dict[str, Any] = dataclasses.field(default_factory=dict)
    kept: Callable[[int], bool] = lambda epoch: True
    profile_steps: str | None = None


def prepare(precision: Precision, seed: int, deterministic: bool = True) -> None:
    """Set the dtype policy and every seed; a run starts from here, whatever ran before it.

    Args:
        precision: the dtype policy.
        seed: of everything.
        deterministic: whether TensorFlow may use nothing but operations that give the same numbers
            twice, and so no XLA for the whole step. Once that is settled a process keeps to it.
    """
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    if deterministic:
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
    with stop_politely() as stop:
        stop.hold()
        stop.listen()
        try:
            _train(model, plan, devices, stop)
        finally:
            stop.held = False


def _train(model: keras.Model, plan: Plan, devices: Devices, stop: StopRequest) -> None:
    with devices.scope():
        model.optimizer.build(model.trainable_variables)
    loop: Any = None
    history = History(plan.run / "history.csv")
    stateful = {"replicas": loop} if loop else {}
    if devices.chief:
        stateful |= {"history": history, **plan.stateful}
    checkpoint = Checkpoint(
        plan.run.checkpoints,
        plan.steps_per_epoch,
        0,
        stateful,
        writes=devices.chief,
        metrics=loop is None,
        stop=stop,
        stopping=(lambda: loop.stopping) if loop else None,
    )
    progress = ProgressLine(plan.title, plan.epochs, plan.steps_per_epoch)
    throughput = Throughput()
    profile = [Profile(plan.run / "train", plan.profile_steps)] if plan.profile_steps else []
    written = [
        GradientNorm(),
        *plan.first,
        history,
        throughput,
        Scalars(plan.run.path, lambda: throughput.values),
        Trial(plan.run.path, plan.hparams, plan.kept),
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
    progress.skip(step % plan.steps_per_epoch)
    try:
        with storage_errors_told(plan.run.path, lambda: checkpoint.last_saved):
            if step == plan.steps_per_epoch:
                _end_epoch(model, callbacks, epoch)
                epoch, step = epoch + 1, 0
            if step:
                # The rest of the interrupted epoch is an epoch of its own to Keras.
                _fit(model, plan, callbacks, throughput, epoch, step, until=epoch + 1)
                epoch += 1
            if epoch < plan.epochs and not checkpoint.stopped:
                _fit(model, plan, callbacks, throughput, epoch, 0, until=plan.epochs)
    except KeyboardInterrupt:
        stop.hold()
        if stop.asked:
            checkpoint.save_last_step()
            raise Interrupted("stopped at the end of an epoch; state saved") from None
        raise
    finally:
        progress.close()
        for callback in profile:
            callback.close()


def _end_epoch(model: keras.Model, callbacks: list, epoch: int) -> None:
    """Do what comes after the last step of an epoch, as `fit` does."""
    calls = keras.callbacks.CallbackList(callbacks, model=model)
    model.stop_training = False
    calls.on_train_begin()
    calls.on_epoch_begin(epoch)
    calls.on_epoch_end(epoch, dict(model.get_metrics_result()))
    calls.on_train_end()


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
        ahead_on_gpu(data.dataset),
        initial_epoch=epoch,
        epochs=until,
        steps_per_epoch=plan.steps_per_epoch - step,
        callbacks=callbacks,
        shuffle=False,  # the dataset is shuffled already
        verbose=0,
    )
