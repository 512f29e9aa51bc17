"""Scores of a fine-tuned run beside what it must beat."""

import io
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfds_mosei
from mosei_ssl.config import FinetuneConfig
from mosei_ssl.data import (
    DataConfig,
    Segments,
    load_segments,
    make_evaluation_dataset,
    refuse_other_period,
    split_names,
)
from mosei_ssl.data.recognition import named, recognise
from mosei_ssl.metrics import (
    classical_predictions,
    evaluate_predictions,
    pooled_features,
    write_json,
)
from mosei_ssl.models import EmotionModel
from mosei_ssl.training.hparams import write_scores
from mosei_ssl.training.pretraining import videos_seen
from mosei_ssl.training.run_directory import RunDirectory, read
from mosei_ssl.training.saved_models import load_model
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import storage_errors_reported, write_bytes
from mosei_ssl.utils.progress import progress

_log = logging.getLogger(__name__)


def evaluate(
    run: str | Path,
    split: str = "test",
    *,
    data_dir: str | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Score a finished fine-tuning run on a split, and write the result to its metrics.json.

    The model is compared, on the same labelled segments, with the all-zero predictor, the median
    of the labelled subset, and ridge and SVR on pooled features. On another dataset than the run's
    these are trained on the run's labelled subset, too.

    Args:
        run: directory of a finished fine-tuning run.
        split: split that has labels.
        data_dir: folder of the dataset, where that is not where the run found its own.
        dataset: name of the dataset to score on, which may be another than the run's, with a test
            split at least; None: the run's.

    Returns:
        What metrics.json holds for the split: `segments`, and per predictor the scores of
        `evaluate_predictions`; of another dataset (there under `datasets` and its name) also
        `dataset` and `trained_on`, both names, and whether either is `synthetic`. Besides,
        `predictions_file`, the run's file that keeps them: `predictions-[DATASET-]SPLIT.npz`.

    Raises:
        UserError: no such run or split, a damaged file in the run, the run's dataset is no longer
            there, or the other one has another row period or videos that the run has learned from.

    Examples:
        >>> evaluate("runs/ssl100")["predictors"]["model"]["overall"]["mae"]  # doctest: +SKIP
    """
    directory = RunDirectory(run).open("finetune").require_finished()
    # Read before the work, so that a damaged file costs none.
    file = directory / "metrics.json"
    metrics = read(file, json.loads, dict, "delete it") if file.exists() else {}
    known = directory.options(FinetuneConfig)
    config = replace(known, data_dir=data_dir or known.data_dir, dataset=dataset or known.dataset)
    split = "+".join(split_names(split))
    model = load_model(directory / "model.keras")
    center = keras.ops.convert_to_numpy(model.backbone.standardize.center)
    segments = load_segments(config, split, center).labelled()
    if not len(segments):
        raise UserError(f"split {split!r} of {segments.name} has no labelled segment to score.")
    trained_on = directory.info["dataset"]
    own = segments.metadata["fingerprint"] == trained_on["fingerprint"]
    foreign = not own and dataset is not None
    if foreign:
        name = str(trained_on["name"]).split("/")[0]
        # Both may have moved to the same folder.
        moved = data_dir is not None and name in tfds_mosei.list_prepared(data_dir)
        place = data_dir if data_dir and moved else known.data_dir
        train = load_segments(replace(known, data_dir=place, dataset=name), "train")
        own = train.metadata["fingerprint"] == trained_on["fingerprint"]
    if not own:
        raise UserError(
            f"the dataset in {config.data_dir} is not the one that {directory.path} was trained on "
            f"({trained_on['name']}): build that one again, or repeat the run. To score another, "
            "name it (dataset)."
        )
    if foreign:
        alone = replace(config, context=False)
        raw = load_segments(alone, split).labelled() if config.context else segments
        _refuse_what_was_learned(directory, train, raw)
        del raw
    else:
        train = load_segments(config, "train")
    labelled = _labelled_subset(directory, train)

    predictions = predict_segments(model, segments, config)
    mean = train.statistics["mean"]
    predictors = {
        "model": predictions,
        **classical_predictions(
            pooled_features(labelled, mean), labelled.emotions, pooled_features(segments, mean)
        ),
    }
    result: dict[str, Any] = {
        "segments": len(segments),
        "predictors": {
            name: evaluate_predictions(segments.emotions, values)
            for name, values in predictors.items()
        },
    }
    kept: dict[str, Any] = {
        "video_ids": segments.video_ids,
        "speakers": segments.speaker_ids,
        "segment_ids": segments.segment_ids,
        "labels": segments.emotions,
        **predictions,
    }
    packed = io.BytesIO()
    np.savez(packed, **kept)
    metrics.update(
        {key: directory.info[key] for key in ("dataset", "seed", "backend")},
        **directory.info["result"],
    )
    stem, scores = split, metrics
    if foreign:
        other = segments.name.split("/")[0]
        synthetic = segments.synthetic or train.synthetic
        result |= {"dataset": other, "trained_on": name, "synthetic": synthetic}
        stem, scores = f"{other}-{split}", metrics.setdefault("datasets", {}).setdefault(other, {})
    scores.setdefault("splits", {})[split] = result
    predictions_file = f"predictions-{stem}.npz"
    with storage_errors_reported(directory.path, lambda: "Its earlier scores are kept"):
        write_bytes(directory / predictions_file, packed.getvalue())
        write_json(file, metrics)
    if split != "validation" and not foreign:  # of validation, training has written its own
        overall = result["predictors"]["model"]["overall"]
        write_scores(directory.path, split, overall, directory.info["result"]["epoch"])
    return {**result, "predictions_file": predictions_file}


def predict_segments(
    model: EmotionModel, segments: Segments, config: DataConfig
) -> dict[str, np.ndarray]:
    """Predict every segment of a split.

    Args:
        model: the emotion model.
        segments: N segments.
        config: batch size and the like.

    Returns:
        Arrays [N, 6] `intensity`, `class`, `present`, `expected`, in the order of `segments`.
    """
    order = segments.length_order()
    batches = make_evaluation_dataset(segments, config, indices=order, with_labels=False)
    with progress("predicting", len(batches)) as advance:
        told = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: advance())
        sorted_predictions = model.to_predictor().predict_once(batches, verbose=0, callbacks=[told])
    predictions = {}
    for name, values in sorted_predictions.items():
        predictions[name] = np.empty_like(values)
        predictions[name][order] = values
    return predictions


def _refuse_what_was_learned(run: RunDirectory, train: Segments, scored: Segments) -> None:
    """Raise a UserError if raw segments do not compare, or hold what the run has seen."""
    than = f"{run.path} was trained on"
    refuse_other_period(scored.row_period, train.row_period, scored.name, than)
    found = recognise(videos_seen(run), zip(scored.video_ids, scored.frames, strict=True))
    if found:
        raise UserError(
            f"{scored.name} holds {len(found)} video(s) that {run.path} has learned from, "
            f"{named(found)}: score it on other videos."
        )


def _labelled_subset(run: RunDirectory, train: Segments) -> Segments:
    file = run / "labels.json"
    names = read(file, json.loads, list)
    try:
        return train.named((name["video_id"], name["segment_id"]) for name in names)
    except (KeyError, TypeError):
        raise UserError(
            f"{file} is damaged: it names segments that the dataset does not have. Repeat the run."
        ) from None
