"""Self-supervised pretraining of a backbone."""

import logging
import os
from pathlib import Path

import keras
import numpy as np

from mosei_ssl.data import (
    DataConfig,
    Segments,
    load_pretraining_segments,
    load_segments,
    make_evaluation_dataset,
    make_training_dataset,
)
from mosei_ssl.errors import UserError
from mosei_ssl.models import (
    Backbone,
    BackboneConfig,
    EmotionModel,
    PretrainingModel,
    build_backbone,
    build_pretraining_model,
)
from mosei_ssl.training.callbacks import Validation
from mosei_ssl.training.config import PretrainConfig
from mosei_ssl.training.loop import Plan, make_optimizer, prepare, train
from mosei_ssl.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)

_ADAPT_SEGMENTS = 2000


def pretrain(config: PretrainConfig) -> RunDirectory:
    """Pretrain a backbone without labels; validation speakers are only looked at, test not.

    A finished run is returned as it is; an interrupted one goes on with the very next batch.

    Args:
        config: all options; see `PretrainConfig`.

    Returns:
        The finished run, with `backbone.keras` (float32), `history.csv` and TensorBoard logs.

    Raises:
        UserError: bad options, data that is missing or empty, a loss that is not a number.
        Interrupted: stopped by a signal, with the state saved.

    Example:
        >>> run = pretrain(PretrainConfig(run="runs/pre", epochs=20))  # doctest: +SKIP

    References:
        Nimitsurachat & Washington, "Audio-Based Emotion Recognition Using Self-Supervised
        Learning on an Engineered Feature Space", AI 5(1), 2024.
    """
    held_out = {"validation", "test"} & set("+".join(config.splits).split("+"))
    if held_out:
        raise UserError(
            f"splits: pretraining on {', '.join(sorted(held_out))} would let held-out speakers "
            "into the model; choose among train, unlabelled and unassigned."
        )
    segments = load_pretraining_segments(config.data, config.splits)
    run = RunDirectory(config.run).start("pretrain", config, describe_dataset(segments))
    if run.finished:
        _log.info("%s has finished already", run.path)
        return run

    prepare(config.precision, config.seed)
    backbone = backbone_for(config.backbone, segments, config.seed)
    model = build_pretraining_model(config.task, backbone, config.seed)
    adapt(model, segments, config.data, config.seed)
    first = make_training_dataset(segments, config.data, seed=config.seed, with_labels=False)
    steps = first.steps_per_epoch * config.epochs
    model.compile(optimizer=make_optimizer(config.optimizer, steps))
    train(
        model,
        Plan(
            run=run,
            title="pretraining",
            batches=lambda epoch, step: (
                make_training_dataset(
                    segments,
                    config.data,
                    seed=config.seed,
                    start_epoch=epoch,
                    start_step=step,
                    with_labels=False,
                ).dataset
            ),
            steps_per_epoch=first.steps_per_epoch,
            epochs=config.epochs,
            checkpoint_steps=config.checkpoint_steps,
            first=[Validation(_validation_score(model, config.data))],
            hparams={
                "task": config.task.name,
                "backbone": config.backbone.kind,
                "hidden_dim": config.backbone.hidden_dim,
                "pooling_factor": config.backbone.pooling_factor,
                "learning_rate": config.optimizer.learning_rate,
                "seed": config.seed,
            },
        ),
    )
    save_model(model, run / "task.keras")
    keras.config.set_dtype_policy("float32")
    final = backbone_for(config.backbone, segments, config.seed)
    final.set_weights(backbone.get_weights())
    save_model(final, run / "backbone.keras")
    run.finish()
    _log.info("pretrained backbone: %s", run / "backbone.keras")
    return run


def _validation_score(model: keras.Model, config: DataConfig):
    segments = load_segments(config, "validation")

    def score() -> dict[str, float]:
        batches = make_evaluation_dataset(
            segments, config, indices=segments.length_order(), with_labels=False
        )
        results = model.evaluate(batches, verbose=0, return_dict=True)
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
    """Save as `.keras`, whole or not at all."""
    temporary = path.with_name(f"partial-{path.name}")
    model.save(temporary)
    os.replace(temporary, path)
