"""One way to train both tasks: Keras `fit`, resumable after every epoch."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from mosei_ssl.config import FinetuneConfig, Precision, PretrainConfig
from mosei_ssl.data import BatchPlan, Segments, make_training_dataset
from mosei_ssl.training.callbacks import (
    BestEpoch,
    GradientNorm,
    History,
    Progress,
    SparseCallbackList,
    StopOnNonFinite,
    Validation,
)
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.devices import steps_between_looks
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import storage_errors_reported
from mosei_ssl.utils.progress import progress
from mosei_ssl.utils.signals import stop_politely


def prepare(precision: Precision, seed: int, deterministic: bool = True) -> None:
    """Set the dtype policy and every seed; a run starts from here, whatever ran before it.

    `deterministic` restricts TensorFlow, for the rest of the process, to operations that give the
    same numbers twice, and so rules out XLA for the whole step.
    """
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def fit(
    model: keras.Model,
    run: RunDirectory,
    segments: Segments,
    config: PretrainConfig | FinetuneConfig,
    *,
    title: str,
    score: Callable[[], dict[str, float]],
    best: BestEpoch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    min_steps: int = 1,
    with_labels: bool = True,
    profile_steps: str | None = None,
) -> None:
    """Train a compiled model, its optimizer built, to the end, from where the run stands.

    `score` gives the validation scores by name, after each epoch; `best` leaves the weights of the
    best epoch in the model and may stop early; with `min_steps` an epoch repeats the segments;
    `profile_steps` is `"FIRST,LAST"`, counted from 1.

    Raises:
        Interrupted: stopped by a signal, with the state saved.
        UserError: a loss is not finite, or the state cannot be saved or read.
    """
    plan = BatchPlan(segments.lengths, config, config.seed, min_steps=min_steps)
    with stop_politely() as stop, stop.held():
        checkpoint = Checkpoint(run.checkpoints / "state.npz", stop, best)
        checkpoint.restore(model)
        if checkpoint.stopped or checkpoint.epoch >= config.epochs:
            # It was cut off after its last epoch; fit() would have done this.
            if best:
                best.on_train_end()
            return
        dataset = make_training_dataset(
            segments,
            config,
            seed=config.seed,
            epoch=lambda: checkpoint.epoch,
            min_steps=min_steps,
            with_labels=with_labels,
        )
        tensorboard = keras.callbacks.TensorBoard(
            str(run.path),
            write_graph=False,
            write_steps_per_second=True,
            profile_batch=parse_profile_steps(profile_steps) if profile_steps else 0,
        )
        steps = plan.steps_per_epoch
        with (
            storage_errors_reported(run.path, lambda: checkpoint.last_saved),
            progress(title, config.epochs * steps, checkpoint.epoch * steps) as advance,
        ):
            model.fit(
                dataset,
                initial_epoch=checkpoint.epoch,
                epochs=config.epochs,
                shuffle=False,  # the dataset is shuffled already
                verbose=0,
                callbacks=SparseCallbackList(
                    [
                        StopOnNonFinite(checkpoint, plan, segments, run / "not_a_number.json"),
                        GradientNorm(),
                        Validation(score),
                        *([best] if best else []),
                        *callbacks,
                        History(run / "history.csv", checkpoint.epoch),
                        tensorboard,
                        Progress(advance, config.epochs),
                        checkpoint,
                    ],
                    # A profile begins and ends at the steps asked for.
                    every=1 if profile_steps else steps_between_looks(),
                    model=model,
                    epochs=config.epochs,
                    steps=steps,
                ),
            )


def parse_profile_steps(steps: str) -> tuple[int, int]:
    """First and last step of `"FIRST,LAST"`, or a UserError."""
    try:
        first, last = (int(part) for part in steps.split(","))
    except ValueError:
        first = last = 0
    if not 1 <= first <= last:
        raise UserError(
            f"--profile-steps {steps!r}: give the first and the last step, such as 10,20"
        )
    return first, last
