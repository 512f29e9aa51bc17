"""Scores of what is served: the SavedModel itself over a dataset."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mosei_ssl.data import DataConfig, load_segments
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
        (whether it is made up) and `trained_on`.

    Raises:
        UserError: no such model or split, no labelled segment, or the model was changed since it
            was exported.

    Example:
        >>> scores = evaluate_saved_model("saved_models/emotion/1", DataConfig(data_dir="data"))
        >>> scores["predictors"]["model"]["overall"]["mae"]  # doctest: +SKIP
    """
    served = LocalModel(model)
    trained_on = served.manifest.get("dataset", {})
    if data.dataset is None:
        data = dataclasses.replace(data, dataset=_own_dataset(data.data_dir, trained_on))
    segments = load_segments(data, split).labelled()
    if not len(segments):
        raise UserError(f"split {split!r} of {segments.name} has no labelled segment to score.")

    def report(done: int) -> None:
        if progress:
            progress(done, len(segments))

    rows = [segments.rows(index)[: data.eval_max_frames] for index in range(len(segments))]
    return {
        "segments": len(segments),
        "predictors": {
            "model": evaluate_predictions(segments.emotions, served.predict(rows, report)),
            # The one predictor beside it that needs no labels.
            "all_zero": evaluate_predictions(segments.emotions, all_zero(len(segments))),
        },
        "dataset": segments.metadata.get("fingerprint"),
        "synthetic": bool(segments.metadata.get("synthetic")),
        "trained_on": trained_on.get("fingerprint"),
    }


def _own_dataset(data_dir: str, trained_on: dict[str, Any]) -> str | None:
    """Name of the dataset that a model was trained on, if it is prepared here."""
    import tfds_mosei

    name = str(trained_on.get("name", "")).split("/")[0]
    return name if name in tfds_mosei.list_prepared(data_dir) else None
