"""Self-supervised pretraining of a backbone."""

import contextlib
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mosei_ssl.config import BackboneConfig, PretrainConfig
from mosei_ssl.data import (
    DataConfig,
    Segments,
    load_pretraining_segments,
    load_segments,
    make_evaluation_dataset,
    make_training_dataset,
)
from mosei_ssl.models import (
    Backbone,
    EmotionModel,
    PretrainingModel,
    build_backbone,
    build_pretraining_model,
)
from mosei_ssl.training.callbacks import Validation
from mosei_ssl.training.devices import Devices, Strategy, one_device, open_devices
from mosei_ssl.training.loop import Plan, make_optimizer, prepare, train
from mosei_ssl.training.monitoring import parse_profile_steps
from mosei_ssl.training.reconstruction import ReconstructionImages
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.utils.files import put_in_place, storage_errors_told
from mosei_ssl.utils.signals import stop_politely

_log = logging.getLogger(__name__)

_ADAPT_SEGMENTS = 2000


def pretrain(
    config: PretrainConfig, *, strategy: Strategy = "none", profile_steps: str | None = None
) -> RunDirectory:
    """Pretrain a backbone without labels; validation speakers are only looked at, test not.

    A finished run is returned as it is; an interrupted one goes on with the very next batch, on
    the same devices or on others.

    Args:
        config: all options; see `PretrainConfig`.
        strategy: devices that share each batch, see `open_devices`.
        profile_steps: `"FIRST,LAST"`: profile these steps, counted from 1, for TensorBoard.

    Returns:
        The finished run, with `backbone.keras` (float32), `history.csv` and TensorBoard logs.

    Raises:
        UserError: bad options, data that is missing or empty, a loss that is not a number, a
            worker that has gone.
        Interrupted: stopped by a signal, with the state saved.

    Example:
        >>> run = pretrain(PretrainConfig(run="runs/pre", epochs=20))  # doctest: +SKIP

    References:
        Nimitsurachat & Washington, "Audio-Based Emotion Recognition Using Self-Supervised
        Learning on an Engineered Feature Space", AI 5(1), 2024.
    """
    if profile_steps:
        parse_profile_steps(profile_steps)
    with (
        stop_politely() as stop,
        open_devices(strategy, config.batch_size, config.precision) as devices,
    ):
        stop.release()  # if a signal came while nobody let it through
        return _pretrain(config, devices, profile_steps)


def _pretrain(config: PretrainConfig, devices: Devices, profile_steps: str | None) -> RunDirectory:
    segments = load_pretraining_segments(config, config.splits)
    prepare(config.precision, config.seed, deterministic=config.jit_compile is not True)
    # Before the run is begun: options that do not fit together then leave nothing behind.
    with devices.scope():
        backbone = backbone_for(config.backbone, segments, config.seed)
        model = build_pretraining_model(config.task, backbone, config.seed)

    run = RunDirectory(config.run)
    # The workers of one training share a directory, which the chief keeps for them.
    begun = (
        run.begun("pretrain", config, describe_dataset(segments))
        if devices.chief
        else contextlib.nullcontext()
    )
    with begun:
        devices.wait()
        run.open("pretrain")
        if run.finished:
            keras.config.set_dtype_policy("float32")
            _log.info("%s has finished already", run.path)
        else:
            _complete(config, segments, model, run, devices, profile_steps)
    return run.open("pretrain")


def _complete(
    config: PretrainConfig,
    segments: Segments,
    model: PretrainingModel,
    run: RunDirectory,
    devices: Devices,
    profile_steps: str | None,
) -> None:
    """Train to the end, from wherever the run stands, and save what it gave."""
    with devices.scope():
        adapt(model, segments, config, config.seed)
        steps = make_training_dataset(
            segments, config, seed=config.seed, with_labels=False
        ).steps_per_epoch
        model.compile(
            optimizer=make_optimizer(config.optimizer, steps * config.epochs),
            jit_compile=config.jit_compile,
        )
    train(
        model,
        Plan(
            run=run,
            title="pretraining",
            batches=lambda epoch, step, index, count: make_training_dataset(
                segments,
                config,
                seed=config.seed,
                start_epoch=epoch,
                start_step=step,
                with_labels=False,
                shard_index=index,
                shard_count=count,
            ),
            steps_per_epoch=steps,
            epochs=config.epochs,
            profile_steps=profile_steps,
            first=_callbacks(model, config, run, devices),
            hparams={
                "task": config.task.name,
                "backbone": config.backbone.kind,
                "hidden_dim": config.backbone.hidden_dim,
                "pooling_factor": config.backbone.pooling_factor,
                "learning_rate": config.optimizer.learning_rate,
                "seed": config.seed,
            },
        ),
        devices,
    )
    if devices.chief:
        with storage_errors_told(run.path, lambda: f"Its state is in {run.checkpoints}"):
            _save(config, segments, model, run)
    devices.wait()


def _save(
    config: PretrainConfig, segments: Segments, model: PretrainingModel, run: RunDirectory
) -> None:
    save_model(model, run / "task.keras")
    keras.config.set_dtype_policy("float32")
    final = backbone_for(config.backbone, segments, config.seed)
    final.set_weights(model.backbone.get_weights())
    save_model(final, run / "backbone.keras")
    run.finish()
    _log.info("pretrained backbone: %s", run / "backbone.keras")


def _callbacks(
    model: PretrainingModel, config: PretrainConfig, run: RunDirectory, devices: Devices
) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = [
        Validation(_validation_score(model, config, devices))
    ]
    if not devices.strategy:  # replicas' variables are no plain ones to draw a picture with
        callbacks.append(ReconstructionImages(run.path, config, config.epochs))
    return callbacks


def _validation_score(model: keras.Model, config: DataConfig, devices: Devices):
    segments = load_segments(config, "validation")

    def batches() -> tf.data.Dataset:
        return make_evaluation_dataset(
            segments, config, indices=segments.length_order(), with_labels=False
        )

    def score() -> dict[str, float]:
        with one_device():
            results = model.evaluate(batches(), verbose=0, return_dict=True)
        return {name: float(value) for name, value in results.items()}

    return score


def adapt(
    model: PretrainingModel | EmotionModel, segments: Segments, config: DataConfig, seed: int
) -> None:
    """Standardise a model's utterance statistics on segments, labels unused; a sample will do."""
    rng = np.random.default_rng([0x61646170, seed])
    sample = rng.permutation(len(segments))[:_ADAPT_SEGMENTS]
    sample = sample[np.argsort(segments.lengths[sample], kind="stable")]
    model.adapt(make_evaluation_dataset(segments, config, indices=sample, with_labels=False))


def describe_dataset(segments: Segments) -> dict[str, object]:
    """What a run directory notes about its dataset."""
    return {
        "name": segments.name,
        "fingerprint": segments.metadata.get("fingerprint"),
        "synthetic": segments.synthetic,
    }


def backbone_for(config: BackboneConfig, segments: Segments, seed: int) -> Backbone:
    """A fresh backbone that standardises with the dataset's train statistics."""
    statistics = segments.statistics
    return build_backbone(config, statistics["mean"], statistics["std"], seed)


def save_model(model: keras.Model, path: Path) -> None:
    """Save as `.keras`, whole or not at all, also after a loss of power."""
    temporary = path.with_name(f"partial-{path.name}")
    model.save(temporary)
    put_in_place(temporary, path)
