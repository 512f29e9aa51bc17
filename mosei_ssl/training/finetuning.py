"""Training of the emotion model on a label budget: the SSL arm and its baseline."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np

from mosei_ssl import presets
from mosei_ssl.config import FinetuneConfig
from mosei_ssl.data import (
    BatchPlan,
    Segments,
    concatenate_segments,
    draw_label_budget,
    load_segments,
    make_evaluation_dataset,
    refuse_other_period,
)
from mosei_ssl.data.budgets import check_label_budget
from mosei_ssl.data.selection import select_segments
from mosei_ssl.metrics import (
    EMOTIONS,
    METRICS,
    emotion_threshold,
    evaluate_predictions,
    pooled_features,
)
from mosei_ssl.models import (
    EmotionModel,
    emotion_predictions,
    learning_rate_multipliers,
)
from mosei_ssl.training.callbacks import BestEpoch
from mosei_ssl.training.caution import answers_pay, cross_validated_intensity
from mosei_ssl.training.devices import (
    compiled,
    is_deterministic,
    memory_errors_reported,
    share_gpus,
)
from mosei_ssl.training.head_fit import fit_head
from mosei_ssl.training.hparams import write_trial
from mosei_ssl.training.optimizer import make_optimizer
from mosei_ssl.training.pretraining import (
    adapt,
    backbone_for,
    describe_dataset,
    note_videos,
    videos_seen,
)
from mosei_ssl.training.resumable_fit import fit, prepare
from mosei_ssl.training.run_directory import RunDirectory, is_finished
from mosei_ssl.training.saved_models import save_model
from mosei_ssl.training.starting_point import (
    completed,
    not_learned,
    refuse_known_speakers,
    take_over,
)
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import storage_errors_reported, write_text
from mosei_ssl.utils.signals import stop_politely

_log = logging.getLogger(__name__)

_ZERO_SHARE = 0.5
"""The least share with which every median is 0."""

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
            that is missing, unfinished or damaged, a loss that is not finite.
        Interrupted: stopped by a signal, with the state saved.

    Examples:
        >>> run = finetune(  # doctest: +SKIP
        ...     FinetuneConfig(run="runs/ssl100", labels=100, pretrained="runs/pre")
        ... )
    """
    if (config.pretrained is None) == (not config.from_scratch):
        raise UserError(
            "choose the arm: --pretrained RUN for the self-supervised one, or --from-scratch for "
            "the baseline."
        )
    at_once = config.freeze_backbone or config.optimizer.layer_decay < 1
    if config.also_alone and not (config.context and at_once):
        raise UserError("also_alone needs context, and freeze_backbone or a layer_decay below 1.")
    if config.monitor not in MONITORS:
        raise UserError(
            f"monitor: there is no score named {config.monitor!r}; there are {', '.join(MONITORS)}"
        )
    with stop_politely(), memory_errors_reported(config.batch_size):
        share_gpus(config.deterministic)
        return _finetune(config, hparams or {})


def _finetune(config: FinetuneConfig, hparams: Mapping[str, Any]) -> RunDirectory:
    pretrained = None
    if config.pretrained:
        config = replace(config, pretrained=str(presets.find(config.pretrained)))
        pretrained = RunDirectory(str(config.pretrained)).open().require_finished()
        config = completed(config, pretrained)
    if config.labels == 0 and not (pretrained and pretrained.info["kind"] == "finetune"):
        raise UserError(
            "without labels there is nothing to learn from but an emotion model: --pretrained "
            "takes a finished fine-tuning or a preset, such as emotion-small."
        )
    segments = load_segments(config, "train").labelled()
    if pretrained:
        needed = pretrained.info["dataset"]["row_period"]
        than = f"{pretrained.path} was pretrained on"
        refuse_other_period(segments.row_period, needed, segments.name, than)
    labelled = segments.subset(_choose(config, segments))

    prepare(config.precision, config.seed, deterministic=is_deterministic(config))
    # Before the run is begun: options that do not fit together then leave nothing behind.
    model = _build(config, segments, len(labelled))
    if pretrained:
        take_over(pretrained, model)
        if not is_finished(config.run):
            refuse_known_speakers(pretrained, config, segments)

    run = RunDirectory(config.run)
    with run.begun("finetune", config, describe_dataset(segments)):
        if run.finished:
            keras.config.set_dtype_policy("float32")
            _log.info("%s has finished already", run.path)
        else:
            _train(config, hparams, segments, labelled, model, run)
    return run


def _train(
    config: FinetuneConfig,
    hparams: Mapping[str, Any],
    segments: Segments,
    labelled: Segments,
    model: EmotionModel,
    run: RunDirectory,
) -> None:
    """Train to the end, from wherever the run stands, and save the result."""
    names = [
        {"video_id": str(video), "segment_id": int(segment)}
        for video, segment in zip(labelled.video_ids, labelled.segment_ids, strict=True)
    ]
    write_text(run / "labels.json", json.dumps(names, indent=1) + "\n")
    adapt(model, segments, config, config.seed)
    arm = "ssl" if config.pretrained else "baseline"
    trained = config.epochs if labelled and not config.freeze_backbone else 0
    best = BestEpoch(config.monitor, config.patience) if config.keep_best and trained else None
    validation = load_segments(config, "validation").labelled()
    before = videos_seen(RunDirectory(config.pretrained)) if config.pretrained else {}
    note_videos(run, segments.content, validation.content, before)
    validation = validation.subset(validation.length_order())
    pays = not config.cautious
    if labelled:
        pays |= _learn(config, labelled, validation, model, run, best)
    kept = best.best_epoch + 1 if best else trained
    logits, predictions = _predict(model.predict_once, validation, config)
    threshold = emotion_threshold(validation.emotions, predictions["present"])
    if best and config.cautious:
        pays = answers_pay(validation.emotions, predictions["intensity"], validation.group_ids)
    if not pays:
        _log.info("the model answers 0 (cautious): nothing shows so far that others lower the MAE")
    zero_share = 0.0 if pays else _ZERO_SHARE
    run.info["result"] = {
        "arm": arm,
        "labels": len(labelled),
        "epoch": kept,
        "threshold": round(threshold * (1 - zero_share), 6),
        "zero_share": zero_share,
        "not_learned": not_learned(config, labelled),
    }
    own = {f"val_{k}": v for k, v in _scores(model, validation, logits, predictions).items()}
    scores = run.history()[kept - 1] if kept else own
    shown = {
        "arm": arm,
        "labels": len(labelled),
        "backbone": config.backbone.kind,
        "learning_rate": config.optimizer.learning_rate,
        "seed": config.seed,
        **hparams,
    }
    keras.config.set_dtype_policy("float32")
    final = _build(config, segments, len(labelled), zero_share)
    final.set_weights(model.get_weights())
    with storage_errors_reported(run.path, lambda: f"Its state is in {run.checkpoints}"):
        write_trial(run.path, shown, scores, kept)
        save_model(final, run / "model.keras")
        run.finish()
    which = f" (of epoch {kept}/{config.epochs})" if kept else ""
    _log.info("emotion model: %s%s", run / "model.keras", which)


def _learn(
    config: FinetuneConfig,
    labelled: Segments,
    validation: Segments,
    model: EmotionModel,
    run: RunDirectory,
    best: BestEpoch | None,
) -> bool:
    """Train on the labelled segments; whether they say that answers above 0 pay.

    A head is best fitted at once where the backbone stays, or nearly stays, as it is. Then the rest
    follows from there.
    """
    head = model.distribution
    model.set_prior(labelled.emotions)
    slow = config.optimizer.layer_decay < 1
    if config.freeze_backbone:
        model.freeze_backbone()
    elif slow:
        model.keep_standardization()
    fitted = labelled
    if config.also_alone:
        raw = load_segments(replace(config, context=False), "train")
        names = zip(labelled.video_ids.tolist(), labelled.segment_ids.tolist(), strict=True)
        fitted = concatenate_segments([labelled, raw.named(names)])
    fitted = fitted.subset(fitted.length_order())
    batches = make_evaluation_dataset(fitted, config, with_labels=False)
    embeddings = np.concatenate([keras.ops.convert_to_numpy(model.embedding(b)) for b in batches])
    # The loss is a mean over segments and emotions.
    strength = head.weight_penalty * fitted.emotions.size
    given = (embeddings, fitted.emotions)
    pays = False
    if config.cautious and not best:
        groups = fitted.group_ids
        answers = cross_validated_intensity(*given, groups, strength, head.anchor)
        pays = answers_pay(fitted.emotions, answers, groups)
    if config.freeze_backbone or slow:
        head.dense.set_weights(fit_head(*given, strength, head.anchor))
    if config.freeze_backbone:
        return pays
    min_steps = config.min_steps_per_epoch
    plan = BatchPlan(labelled.lengths, config, min_steps=min_steps)
    steps = plan.steps_per_epoch * config.epochs
    config = compiled(config, steps)
    model.compile(
        optimizer=make_optimizer(
            config.optimizer,
            steps,
            learning_rate_multipliers(model, config.optimizer.layer_decay),
        ),
        metrics=None,
        jit_compile=config.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    fit(
        model,
        run,
        labelled,
        config,
        title=f"fine-tuning ({'SSL' if config.pretrained else 'baseline'})",
        score=lambda: _scores(model, validation, *_predict(model.predict, validation, config)),
        best=best,
        min_steps=min_steps,
    )
    return pays


def _choose(config: FinetuneConfig, segments: Segments) -> np.ndarray:
    """Indices of the segments whose labels may be used."""
    if config.labels == 0:
        return np.zeros(0, dtype=np.int64)
    if config.label_selection == "random" or config.labels == "all":
        emotions, groups = segments.emotions, segments.group_ids
        return draw_label_budget(emotions, config.labels, config.seed, groups=groups)
    check_label_budget(config.labels, len(segments))
    pooled = pooled_features(segments, segments.statistics["mean"])
    return np.sort(select_segments(pooled, int(config.labels), seed=config.seed))


def _build(
    config: FinetuneConfig, segments: Segments, labels: int, zero_share: float = 0.0
) -> EmotionModel:
    backbone = backbone_for(config.backbone, segments, config.seed)
    head = asdict(config.head)
    if config.weight_prior > 0:
        head["weight_penalty"] = config.weight_prior / max(labels, 1)
    return EmotionModel(backbone, head, config.seed, zero_share=zero_share)


def _predict(
    predict: Callable[..., np.ndarray], segments: Segments, config: FinetuneConfig
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits and predictions of segments that are sorted by length."""
    batches = make_evaluation_dataset(segments, config, with_labels=False)
    logits = predict(batches, verbose=0)
    predictions = emotion_predictions(logits)
    return logits, {k: keras.ops.convert_to_numpy(value) for k, value in predictions.items()}


def _scores(
    model: EmotionModel,
    segments: Segments,
    logits: np.ndarray,
    predictions: dict[str, np.ndarray],
) -> dict[str, float]:
    scores = evaluate_predictions(segments.emotions, predictions)
    values = {"loss": float(model.loss_function(segments.emotions, logits))}
    for name, value in scores["overall"].items():
        values[name] = np.nan if value is None else value
    for emotion, row in scores["per_emotion"].items():
        values[f"mae_{emotion}"] = row["mae"]
        values[f"accuracy_{emotion}"] = row["accuracy"]
    return values
