"""The model card of an export: what it is, how well it does, what it must not be used for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.metrics import METRICS, all_zero, format_score
from mosei_ssl.metrics.comparison import RESAMPLES, read_predictions, score_cell
from mosei_ssl.metrics.video_sums import with_intervals
from mosei_ssl.serving.deployment import render
from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.utils.files import write_text
from tfds_mosei.schema import EMOTIONS

MODEL_CARD = f"{EXTRA_ASSETS}/model_card.md"
LABELS = f"{EXTRA_ASSETS}/labels.txt"


def write_model_card(
    directory: Path,
    name: str,
    manifest: Mapping[str, Any],
    predictions: Path | None = None,
    licence: str | None = None,
) -> Path:
    """Write the model card and the list of labels into a SavedModel.

    `predictions` is the run's `predictions-SPLIT.npz`, None if it has not been evaluated.
    """
    scores = {"rows": []} if predictions is None else _scores(predictions)
    text = render(
        "model_card.md",
        name=name,
        **{"run": {}, "dataset": {}, "model": {}, **manifest},
        licence=licence,
        emotions=EMOTIONS,
        resamples=RESAMPLES,
        **scores,
    )
    write_text(directory / MODEL_CARD, text)
    write_text(directory / LABELS, "\n".join(EMOTIONS) + "\n")
    return directory / MODEL_CARD


def _scores(file: Path) -> dict[str, Any]:
    kept = read_predictions(file)
    return {
        "split": file.stem.removeprefix("predictions-"),
        "segments": len(kept.labels),
        "units": len(np.unique(kept.units)),
        "over": kept.over,
        "rows": score_rows(kept.units, kept.labels, kept.values),
    }


def score_rows(
    units: np.ndarray, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
) -> list[list[str]]:
    """Scores per emotion with bootstrap intervals over units [N], as text.

    Rows of name, five scores with their 95 % interval, and the all-zero predictor's MAE and
    accuracy; the last row is the mean over emotions.
    """
    found = with_intervals(units, labels, predictions, RESAMPLES)
    zero = with_intervals(units, labels, all_zero(len(labels)), 1)
    return [
        [name, *(score_cell(found[metric][:, row]) for metric in METRICS)]
        + [format_score(zero[metric][0, row]) for metric in ("mae", "accuracy")]
        for row, name in enumerate((*EMOTIONS, "all"))
    ]
