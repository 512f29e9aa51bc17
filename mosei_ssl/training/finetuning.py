"""Training of the emotion model on a label budget: the SSL arm and its baseline."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfds_mosei
from mosei_ssl.config import BACKBONES, FinetuneConfig, TransformerConfig
from mosei_ssl.data import (
    DataConfig,
    Segments,
    draw_label_budget,
    load_segments,
    make_evaluation_dataset,
    make_training_dataset,
    pretraining_videos,
    refuse_held_out,
)
from mosei_ssl.metrics import EMOTIONS, METRICS, evaluate_predictions
from mosei_ssl.models import (
    EmotionModel,
    emotion_predictions,
    learning_rate_multipliers,
)
from mosei_ssl.training.callbacks import BestWeights, Validation
from mosei_ssl.training.devices import share_gpus
from mosei_ssl.training.loop import Plan, make_optimizer, prepare, train
from mosei_ssl.training.pretraining import adapt, backbone_for, describe_dataset, save_model
from mosei_ssl.training.run_directory import RunDirectory, is_finished
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import is_whole, storage_errors_told, write_text
from mosei_ssl.utils.signals import stop_politely

_log = logging.getLogger(__name__)

MONITORS = (
    "val_loss",
    *(f"val_{metric}" for metric in METRICS),
    *(f"val_{metric}_{emotion}" for metric in ("mae", "accuracy") for emotion in EMOTIONS),
    "loss",
)
"""Scores that fine-tuning can watch."""


def finetune(config: FinetuneConfig, *, hparams: Mapping[str, Any] | None = None) -> RunDirectory:
    """Train the emotion model on few labels, from a pretrained backbone or from scratch.

    Both arms get the same labelled subset, data order, head and schedule for the same seed; only
    the backbone's initial weights differ.

    Args:
        config: all options; see `FinetuneConfig`.
        hparams: what TensorBoard's HParams dashboard shows beside options of the run or instead
            of them, such as the name of a study's arm.

    Returns:
        The finished run, with `model.keras` (float32), `labels.json`, `history.csv`
        and TensorBoard logs.

    Raises:
        UserError: bad options, data that is missing, an impossible label budget, a pretrained run
            that is missing, unfinished or damaged, a loss that is not a number.
        Interrupted: stopped by a signal, with the state saved.

    Example:
        >>> run = finetune(  # doctest: +SKIP
        ...     FinetuneConfig(run="runs/ssl100", labels=100, pretrained="runs/pre")
        ... )
    """
    if (config.pretrained is None) == (not config.from_scratch):
        raise UserError(
            "choose the arm: --pretrained RUN for the self-supervised one, or --from-scratch for "
            "the baseline."
        )
    if config.monitor not in MONITORS:
        raise UserError(
            f"monitor: there is no score named {config.monitor!r}; there are {', '.join(MONITORS)}"
        )
    with stop_politely() as stop:
        stop.release()  # if a signal came while nobody let it through
        share_gpus()
        return _finetune(config, hparams or {})


def _finetune(config: FinetuneConfig, hparams: Mapping[str, Any]) -> RunDirectory:
    pretrained = _open_pretrained(config.pretrained) if config.pretrained else None
    if pretrained:
        options = pretrained.config()["backbone"]
        its_own = BACKBONES[options["kind"]](**options)
        if config.backbone not in (TransformerConfig(), its_own):
            _log.warning("the backbone is that of %s: options of it do not apply", pretrained.path)
        config.backbone = its_own
        config = _data_or_that_of(pretrained, config)
    segments = load_segments(config, "train").labelled()
    chosen = draw_label_budget(
        segments.emotions, config.labels, config.seed, groups=segments.video_ids
    )
    labelled = segments.subset(chosen)
    validation = load_segments(config, "validation").labelled()

    prepare(config.precision, config.seed, deterministic=config.jit_compile is not True)
    # Before the run is begun: options that do not fit together then leave nothing behind.
    model = _build(config, segments, len(labelled))
    if pretrained:
        _take_over(pretrained / "backbone.keras", model)
        if not is_finished(config.run):
            _refuse_known_speakers(pretrained, config, segments)

    run = RunDirectory(config.run)
    with run.begun("finetune", config, describe_dataset(segments)):
        if run.finished:
            keras.config.set_dtype_policy("float32")
            _log.info("%s has finished already", run.path)
        else:
            _complete(config, hparams, segments, labelled, validation, model, run)
    return run


def _complete(
    config: FinetuneConfig,
    hparams: Mapping[str, Any],
    segments: Segments,
    labelled: Segments,
    validation: Segments,
    model: EmotionModel,
    run: RunDirectory,
) -> None:
    """Train to the end, from wherever the run stands, and save what it gave."""
    arm = "ssl" if config.pretrained else "baseline"
    write_text(run / "labels.json", json.dumps(_names(labelled), indent=1) + "\n")

    adapt(model, segments, config, config.seed)
    model.set_prior(labelled.emotions)
    if config.freeze_backbone:
        model.freeze_backbone()
    first = _batches(labelled, config, 0, 0)
    steps = first.steps_per_epoch * config.epochs
    multipliers = _multipliers(model, config)
    model.compile(
        optimizer=make_optimizer(config.optimizer, steps, multipliers),
        loss=model.loss_function,
        jit_compile=config.jit_compile,
    )
    best = BestWeights(run.checkpoints / "best.npz", config.monitor, config.patience)
    keepers = {"best": best} if config.keep_best else {}
    train(
        model,
        Plan(
            run=run,
            title=f"fine-tuning ({'SSL' if config.pretrained else 'baseline'})",
            batches=lambda epoch, step, *_: _batches(labelled, config, epoch, step),
            steps_per_epoch=first.steps_per_epoch,
            epochs=config.epochs,
            first=[Validation(_validation_score(model, validation, config)), *keepers.values()],
            stateful=keepers,
            hparams={
                "arm": arm,
                "labels": len(labelled),
                "backbone": config.backbone.kind,
                "learning_rate": config.optimizer.learning_rate,
                "seed": config.seed,
                **hparams,
            },
            kept=lambda epoch: not config.keep_best or epoch == best.best_epoch,
        ),
    )
    kept = config.epochs
    if config.keep_best:
        best.restore()
        kept = best.best_epoch + 1
    run.info["result"] = {"arm": arm, "labels": len(labelled), "epoch": kept}
    keras.config.set_dtype_policy("float32")
    final = _build(config, segments, len(labelled))
    final.set_weights(model.get_weights())
    with storage_errors_told(run.path, lambda: f"Its state is in {run.checkpoints}"):
        save_model(final, run / "model.keras")
        run.finish()
    _log.info("emotion model: %s (of epoch %d/%d)", run / "model.keras", kept, config.epochs)


def _open_pretrained(path: str) -> RunDirectory:
    return RunDirectory(path).open("pretrain").require_finished()


def _refuse_known_speakers(pretrained: RunDirectory, data: DataConfig, train: Segments) -> None:
    """Raise a UserError if the pretraining has seen videos that this dataset holds out."""
    before = {"name": "no named dataset", "fingerprint": None} | pretrained.info.get("dataset", {})
    if before["fingerprint"] == train.metadata.get("fingerprint"):
        return
    try:
        options = pretrained.config()
        # By its whole name: there may be others by now.
        known = {
            "data_dir": options["data_dir"],
            "extra_datasets": options["extra_datasets"],
            "dataset": before["name"].split("/")[0],
        }
        fingerprint, seen = pretraining_videos(DataConfig(**known), options["splits"])
        if fingerprint != before["fingerprint"]:
            raise UserError(f"what is in {known['data_dir']} is another dataset")
    except (UserError, tfds_mosei.CorpusError, KeyError, TypeError) as error:
        _log.warning(
            "%s was pretrained on %s, which cannot be read now (%s): whether it has seen videos of "
            "the validation or test split is not known",
            *(pretrained.path, before["name"], error),
        )
        return
    refuse_held_out(
        seen,
        data,
        f"{pretrained.path} was pretrained on another dataset, {before['name']}",
        "pretrain on this dataset, or fine-tune on that one",
    )


def _data_or_that_of(pretrained: RunDirectory, data: DataConfig) -> DataConfig:
    """The pretraining's dataset, where none is named and none lies in the default place."""
    default = DataConfig()
    named = (data.data_dir, data.dataset) != (default.data_dir, default.dataset)
    if named or tfds_mosei.list_prepared(data.data_dir):
        return data
    known = pretrained.config()
    if "data_dir" not in known:
        return data
    _log.info(
        "no dataset in %s: taking that of %s, in %s",
        data.data_dir,
        pretrained.path,
        known["data_dir"],
    )
    return replace(data, data_dir=known["data_dir"], dataset=known.get("dataset"))


def _build(config: FinetuneConfig, segments: Segments, labels: int) -> EmotionModel:
    backbone = backbone_for(config.backbone, segments, config.seed)
    head = asdict(config.head)
    if config.weight_prior > 0:
        head["weight_penalty"] = config.weight_prior / labels
    return EmotionModel(backbone, head, config.seed)


def _multipliers(model: EmotionModel, config: FinetuneConfig) -> dict[str, float]:
    try:
        return learning_rate_multipliers(model, config.optimizer.layer_decay)
    except ValueError as error:
        raise UserError(f"optimizer.{error}") from error


def _batches(labelled: Segments, config: FinetuneConfig, epoch: int, step: int):
    return make_training_dataset(
        labelled,
        config,
        seed=config.seed,
        start_epoch=epoch,
        start_step=step,
        min_steps=config.min_steps_per_epoch,
    )


def load_model(path: Path) -> keras.Model:
    """Load a `.keras` file in safe mode.

    Raises:
        UserError: the file is missing, cut short, or not what it should be.
    """
    import mosei_ssl.layers
    import mosei_ssl.models  # noqa: F401  (registers what the file names)

    if not path.is_file():
        raise UserError(f"{path} is missing: repeat the run that writes it.")
    if not is_whole(path):
        raise UserError(
            f"{path} cannot be read (damaged or cut short): repeat the run that writes it."
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # zipfile, h5py, json and Keras each have their own way to say that a file is damaged.
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]}): the "
            "file is damaged or from another version; repeat the run that writes it."
        ) from error


def _take_over(path: Path, model: EmotionModel) -> None:
    """Copy what was learned; standardisation stays that of the dataset at hand."""
    source = load_model(path).learned_variables
    for target, value in zip(model.backbone.learned_variables, source, strict=True):
        target.assign(value)


def _validation_score(model: EmotionModel, segments: Segments, config: FinetuneConfig):
    order = segments.length_order()
    labels = segments.emotions[order]

    def score() -> dict[str, float]:
        batches = make_evaluation_dataset(segments, config, indices=order, with_labels=False)
        logits = model.predict(batches, verbose=0)
        predictions = {
            name: keras.ops.convert_to_numpy(value)
            for name, value in emotion_predictions(logits).items()
        }
        scores = evaluate_predictions(labels, predictions)
        values = {"loss": float(model.loss_function(labels, logits))}
        for name, value in scores["overall"].items():
            values[name] = np.nan if value is None else value
        for emotion, row in scores["per_emotion"].items():
            values[f"mae_{emotion}"] = row["mae"]
            values[f"accuracy_{emotion}"] = row["accuracy"]
        return values

    return score


def _names(segments: Segments) -> list[dict[str, object]]:
    return [
        {"video_id": str(video), "segment_id": int(segment)}
        for video, segment in zip(segments.video_ids, segments.segment_ids, strict=True)
    ]
