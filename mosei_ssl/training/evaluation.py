"""Scores of a fine-tuned run beside what it must beat."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.config import FinetuneConfig
from mosei_ssl.data import (
    DataConfig,
    Segments,
    load_segments,
    make_evaluation_dataset,
    split_names,
)
from mosei_ssl.metrics import (
    classical_predictions,
    evaluate_predictions,
    pooled_features,
    write_json,
)
from mosei_ssl.models import EmotionModel
from mosei_ssl.training.hparams import write_scores
from mosei_ssl.training.run_directory import RunDirectory, read
from mosei_ssl.training.saved_models import load_model
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import storage_errors_told, write_bytes


def evaluate(
    run: str | Path,
    split: str = "test",
    *,
    data_dir: str | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Score a finished fine-tuning run on a split, and write the result to its metrics.json.

    The model is compared, on the same labelled segments, with the all-zero predictor, the median
    of the labelled subset, and ridge and SVR on pooled features.

    Args:
        run: directory of a finished fine-tuning run.
        split: split of the run's dataset that has labels.
        data_dir: folder that the dataset has moved to; None: where the run found it.
        dataset: name of the dataset there; None: as the run named it.

    Returns:
        What metrics.json holds for the split: `segments`, and per predictor the scores of
        `evaluate_predictions`. The predictions themselves are kept in `predictions-SPLIT.npz`.

    Raises:
        UserError: no such run or split, a damaged file in the run, or the dataset is no longer the
            one it was trained on.

    Example:
        >>> evaluate("runs/ssl100")["predictors"]["model"]["overall"]["mae"]  # doctest: +SKIP
    """
    directory = RunDirectory(run).open("finetune").require_finished()
    # Read before the work, so that a damaged file costs none.
    file = directory / "metrics.json"
    metrics = read(file, json.loads, dict, "delete it") if file.exists() else {}
    known = directory.options(FinetuneConfig)
    config = replace(known, data_dir=data_dir or known.data_dir, dataset=dataset or known.dataset)
    split = "+".join(split_names(split))
    segments = load_segments(config, split).labelled()
    if not len(segments):
        raise UserError(f"split {split!r} of {segments.name} has no labelled segment to score.")
    labelled = _labelled_subset(directory, config, segments)
    model = load_model(directory / "model.keras")

    predictions = predict_segments(model, segments, config)
    mean = segments.statistics["mean"]
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
    metrics.setdefault("splits", {})[split] = result
    with storage_errors_told(directory.path, lambda: "Its earlier scores are kept"):
        write_bytes(directory / f"predictions-{split}.npz", packed.getvalue())
        write_json(file, metrics)
    if split != "validation":  # of which training itself has written its own
        scores = result["predictors"]["model"]["overall"]
        write_scores(directory.path, split, scores, directory.info["result"]["epoch"])
    return result


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
    sorted_predictions = model.to_predictor().predict(batches, verbose=0)
    predictions = {}
    for name, values in sorted_predictions.items():
        predictions[name] = np.empty_like(values)
        predictions[name][order] = values
    return predictions


def _labelled_subset(run: RunDirectory, config: DataConfig, split: Segments) -> Segments:
    if split.metadata.get("fingerprint") != run.info["dataset"]["fingerprint"]:
        raise UserError(
            f"the dataset in {config.data_dir} is not the one that {run.path} was trained on "
            f"({run.info['dataset']['name']}): build that one again, or repeat the run."
        )
    file = run / "labels.json"
    names = read(file, json.loads, list)
    train = load_segments(config, "train")
    keys = zip(train.video_ids.tolist(), train.segment_ids.tolist(), strict=True)
    where = {key: index for index, key in enumerate(keys)}
    try:
        return train.subset([where[name["video_id"], name["segment_id"]] for name in names])
    except (KeyError, TypeError):
        raise UserError(
            f"{file} is damaged: it names segments that the dataset does not have. Repeat the run."
        ) from None
