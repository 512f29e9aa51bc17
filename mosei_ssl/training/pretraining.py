"""Self-supervised pretraining of a backbone."""

import json
import logging
from collections.abc import Callable

import keras
import numpy as np

from mosei_ssl.config import BackboneConfig, PretrainConfig
from mosei_ssl.data import (
    BatchPlan,
    DataConfig,
    Segments,
    load_pretraining_segments,
    load_segments,
    make_evaluation_dataset,
)
from mosei_ssl.data.loading import has_split
from mosei_ssl.data.recognition import Content, merge_content
from mosei_ssl.models import (
    Backbone,
    EmotionModel,
    PretrainingModel,
    build_backbone,
    build_pretraining_model,
)
from mosei_ssl.training.devices import (
    Scope,
    Strategy,
    compiled,
    is_deterministic,
    memory_errors_reported,
    one_device,
    open_devices,
)
from mosei_ssl.training.hparams import write_trial
from mosei_ssl.training.optimizer import make_optimizer
from mosei_ssl.training.reconstruction import ReconstructionImages
from mosei_ssl.training.resumable_fit import fit, parse_profile_steps, prepare
from mosei_ssl.training.run_directory import RunDirectory, read
from mosei_ssl.training.saved_models import save_model
from mosei_ssl.utils.files import storage_errors_reported, write_text
from mosei_ssl.utils.signals import stop_politely

_log = logging.getLogger(__name__)

_ADAPT_SEGMENTS = 2000


def pretrain(
    config: PretrainConfig, *, strategy: Strategy = "none", profile_steps: str | None = None
) -> RunDirectory:
    """Pretrain a backbone without labels; validation speakers are only scored.

    A finished run is returned as it is; an interrupted one resumes after its last whole epoch, on
    the same devices or on others.

    Args:
        config: all options; see `PretrainConfig`.
        strategy: `"mirrored"` shares each batch among all devices of this machine, `"none"` uses
            one.
        profile_steps: `"FIRST,LAST"`: profile these steps, counted from 1, for TensorBoard.

    Returns:
        The finished run, with `backbone.keras` (float32), `history.csv` and TensorBoard logs.

    Raises:
        UserError: bad options, data that is missing or empty, a loss that is not finite.
        Interrupted: stopped by a signal, with the state saved.

    Examples:
        >>> run = pretrain(PretrainConfig(run="runs/pre", epochs=20))  # doctest: +SKIP

    References:
        Nimitsurachat & Washington, "Audio-Based Emotion Recognition Using Self-Supervised
        Learning on an Engineered Feature Space", AI 5(1), 2024.
    """
    if profile_steps:
        parse_profile_steps(profile_steps)
    with (
        stop_politely() as stop,
        open_devices(strategy, config.batch_size, config.precision, config.deterministic) as scope,
        memory_errors_reported(config.batch_size),
    ):
        segments = load_pretraining_segments(config, config.splits)
        stop.check()
        return _pretrain(config, segments, scope, profile_steps)


def _pretrain(
    config: PretrainConfig, segments: Segments, scope: Scope, profile_steps: str | None
) -> RunDirectory:
    prepare(config.precision, config.seed, deterministic=is_deterministic(config))
    # Before the run is begun: options that do not fit together then leave nothing behind.
    with scope():
        backbone = backbone_for(config.backbone, segments, config.seed)
        model = build_pretraining_model(config.task, backbone, config.seed)
    run = RunDirectory(config.run)
    with run.begun("pretrain", config, describe_dataset(segments)):
        if run.finished:
            keras.config.set_dtype_policy("float32")
            _log.info("%s has finished already", run.path)
            return run
        note_videos(run, segments.content)
        validation = None  # a corpus of speech without labels holds nothing out
        if has_split(config, "validation"):
            validation = load_segments(config, "validation")
        else:
            _log.warning("%s has no validation split: nothing is scored", segments.name)
        steps = BatchPlan(segments.lengths, config).steps_per_epoch * config.epochs
        with scope():
            config = compiled(config, steps)
            adapt(model, segments, config, config.seed)
            model.compile(
                optimizer=make_optimizer(config.optimizer, steps), jit_compile=config.jit_compile
            )
            model.optimizer.build(model.trainable_variables)
        # Keras averages a batch over replicas to build a model from it, which fails on booleans;
        # this model is built.
        model._maybe_symbolic_build = lambda *args, **kwargs: None
        fit(
            model,
            run,
            segments,
            config,
            title="pretraining",
            score=_validation_score(model, validation, config) if validation else dict,
            callbacks=[
                ReconstructionImages(run.path, validation or segments, config, config.epochs)
            ],
            with_labels=False,
            profile_steps=profile_steps,
        )
        with storage_errors_reported(run.path, lambda: f"Its state is in {run.checkpoints}"):
            _save(config, segments, model, run)
    return run


def _save(
    config: PretrainConfig, segments: Segments, model: PretrainingModel, run: RunDirectory
) -> None:
    hparams = {
        "task": config.task.name,
        "backbone": config.backbone.kind,
        "hidden_dim": config.backbone.hidden_dim,
        "pooling_factor": config.backbone.pooling_factor,
        "learning_rate": config.optimizer.learning_rate,
        "seed": config.seed,
    }
    write_trial(run.path, hparams, run.history()[-1], config.epochs)
    save_model(model, run / "task.keras")
    keras.config.set_dtype_policy("float32")
    final = backbone_for(config.backbone, segments, config.seed)
    final.set_weights(model.backbone.get_weights())
    save_model(final, run / "backbone.keras")
    run.finish()
    _log.info("pretrained backbone: %s", run / "backbone.keras")


def _validation_score(
    model: PretrainingModel, segments: Segments, config: DataConfig
) -> Callable[[], dict[str, float]]:
    batches = make_evaluation_dataset(
        segments, config, indices=segments.length_order(), with_labels=False
    )

    def score() -> dict[str, float]:
        with one_device():
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
        "fingerprint": segments.metadata["fingerprint"],
        "synthetic": segments.synthetic,
        "row_period": segments.row_period,
        "sampling_rates": segments.metadata["sampling_rates"],
    }


def note_videos(run: RunDirectory, *videos: Content) -> None:
    """Keep the ids and the content of all videos that a run learns from, for `videos_seen`."""
    merged = merge_content(videos)
    content = {
        video: " ".join(f"{value:016x}" for value in sorted(merged[video]))
        for video in sorted(merged)
    }
    write_text(run / "videos.json", json.dumps(content) + "\n")


def videos_seen(run: RunDirectory) -> Content:
    """The videos that a run has learned from."""
    known = read(run / "videos.json", json.loads, dict)
    return {video: frozenset(int(h, 16) for h in known[video].split()) for video in known}


def backbone_for(config: BackboneConfig, segments: Segments, seed: int) -> Backbone:
    """A fresh backbone that standardises with the dataset's train statistics."""
    return build_backbone(config, **segments.normalization, seed=seed)
