"""The model card of an export: what it is, how well it does, what it must not be used for."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.metrics import METRICS, all_zero, evaluate_predictions, format_score
from mosei_ssl.serving.deployment import render
from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text
from tfds_mosei.schema import EMOTIONS

MODEL_CARD = f"{EXTRA_ASSETS}/model_card.md"
LABELS = f"{EXTRA_ASSETS}/labels.txt"
RESAMPLES = 500


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
    try:
        with np.load(file, allow_pickle=False) as stored:
            videos, labels = stored["video_ids"], stored["labels"]
            predictions = {name: stored[name] for name in OUTPUTS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged ({error}): evaluate the run again.") from None
    return {
        "split": file.stem.removeprefix("predictions-"),
        "segments": len(labels),
        "speakers": len(np.unique(videos)),
        "rows": score_rows(videos, labels, predictions),
    }


def score_rows(
    videos: np.ndarray, labels: np.ndarray, predictions: Mapping[str, np.ndarray]
) -> list[list[str]]:
    """Scores per emotion with bootstrap intervals over recordings, as text.

    Rows of name, five scores with their 95 % interval, and the all-zero predictor's MAE and
    accuracy; the last row is the mean over emotions.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    whole = _flat(evaluate_predictions(labels, predictions))
    zero = _flat(evaluate_predictions(labels, all_zero(len(labels))))
    names, where = np.unique(videos, return_inverse=True)
    members = [np.flatnonzero(where == index) for index in range(len(names))]
    draw = np.random.default_rng(0)
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in whole}
    for _ in range(RESAMPLES):
        chosen = np.concatenate([members[i] for i in draw.integers(0, len(names), len(names))])
        part = {name: values[chosen] for name, values in predictions.items()}
        for key, value in _flat(evaluate_predictions(labels[chosen], part)).items():
            if value is not None:
                samples[key].append(value)
    rows = []
    for row in (*EMOTIONS, "all"):
        cells = [_cell(whole[row, metric], samples[row, metric]) for metric in METRICS]
        rows.append([row, *cells, *(format_score(zero[row, m]) for m in ("mae", "accuracy"))])
    return rows


def _flat(scores: Mapping[str, Any]) -> dict[tuple[str, str], float | None]:
    parts = {**scores["per_emotion"], "all": scores["overall"]}
    return {(row, metric): parts[row][metric] for row in parts for metric in METRICS}


def _cell(value: float | None, samples: list[float]) -> str:
    # Where most samples leave a score undefined, the others do not represent it.
    if value is None or len(samples) < RESAMPLES / 2:
        return format_score(value)
    low, high = np.percentile(samples, [2.5, 97.5])
    return f"{format_score(value)} [{format_score(low)}, {format_score(high)}]"
