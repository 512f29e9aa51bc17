"""Scores of what is served: the SavedModel itself over a dataset."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tfds_mosei
from mosei_ssl.config import DataConfig
from mosei_ssl.data import load_segments, refuse_other_period
from mosei_ssl.metrics import all_zero, evaluate_predictions
from mosei_ssl.serving.local import LocalModel
from mosei_ssl.utils.errors import UserError


def evaluate_saved_model(
    model: str | Path,
    data: DataConfig,
    split: str = "test",
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Score an export on a split of a prepared dataset, through its signature alone.

    Args:
        model: `saved_models/NAME/VERSION`, or `saved_models/NAME` for its highest version.
        data: where the dataset is. Where several are prepared and none is named, the one that
            the export was trained on is taken.
        split: split that has labels.
        progress: called with segments done since the last call, and how many there are.

    Returns:
        As `mosei_ssl.evaluate` gives for a run: `segments`, and `predictors` with the scores of
        `model` and `all_zero`; besides, `dataset` (the fingerprint scored on), `synthetic`
        (whether the dataset is) and `trained_on` (the export's fingerprint).

    Raises:
        UserError: no such model or split, no labelled segment, or the model was changed since it
            was exported.

    Examples:
        >>> data = DataConfig(data_dir=str(synthetic_data))
        >>> scores = evaluate_saved_model(saved_model, data)
        >>> 0 <= scores["predictors"]["model"]["overall"]["mae"] <= 3
        True
    """
    served = LocalModel(model)
    trained_on = served.manifest.get("dataset", {})
    if data.dataset is None:
        own = str(trained_on.get("name", "")).split("/")[0]
        if own in tfds_mosei.list_prepared(data.data_dir):
            data = dataclasses.replace(data, dataset=own)
    mean = served.feature_mean
    data = dataclasses.replace(data, context=mean is not None)
    segments = load_segments(data, split, mean).labelled()
    than = f"{served.directory} was trained on"
    refuse_other_period(segments.row_period, served.row_period, segments.name, than)
    count = len(segments)
    if not count:
        raise UserError(f"split {split!r} of {segments.name} has no labelled segment to score.")
    answers = served.predict(
        list(segments), progress=lambda done: progress and progress(done, count)
    )
    return {
        "segments": count,
        "predictors": {
            "model": evaluate_predictions(segments.emotions, answers),
            # The only trivial predictor that needs no labels.
            "all_zero": evaluate_predictions(segments.emotions, all_zero(count)),
        },
        "dataset": segments.metadata.get("fingerprint"),
        "synthetic": segments.synthetic,
        "trained_on": trained_on.get("fingerprint"),
    }
