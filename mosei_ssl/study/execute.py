"""Running one cell, in whatever process it is given to."""

from __future__ import annotations

import fcntl
import gc
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.metrics import (
    classical_predictions,
    evaluate_predictions,
    pooled_features,
    standardise_per_group,
    write_json,
)
from mosei_ssl.study.cells import CELL_FILE, Cell
from mosei_ssl.study.memory import peak_memory_mb

logger = logging.getLogger(__name__)

PREDICTION_KEYS = ("intensity", "class", "present", "expected")


def run_cell(cell: Cell, study: Path) -> dict[str, Any]:
    """Run a cell unless it is finished.

    Its folder gets a marker, `cell.json`, as the very last thing, whole or not at all. Training
    that was cut off goes on from its last checkpoint, to the same result.

    Args:
        cell: What to run.
        study: The study's folder.

    Returns:
        What the marker holds: key, metrics, seconds and peak memory.

    Raises:
        UserError: If the training is refused.

    Example:
        >>> run_cell(cell, Path("study"))["seconds"]  # doctest: +SKIP
        12.5
    """
    folder = study / cell.path
    with _locked(study, cell):
        found = cell.finished(study)
        if found is not None:
            return found
        started = time.perf_counter()
        result = _KINDS[cell.kind](cell, study, folder)
        marker = {
            "key": cell.key,
            "kind": cell.kind,
            "arm": cell.arm,
            "fold": cell.fold,
            "budget": cell.budget,
            "seed": cell.seed,
            "trial": cell.trial,
            **result,
            "seconds": round(time.perf_counter() - started, 2),
            "peak_memory_mb": round(peak_memory_mb()),
        }
        write_json(folder / CELL_FILE, marker)
        # Keras and TensorFlow keep graphs of models alive in cycles.
        gc.collect()
        return marker


@contextmanager
def _locked(study: Path, cell: Cell) -> Iterator[None]:
    """Keep a worker that outlived its study from running the same cell as its successor."""
    path = study / "locks" / cell.path.replace("/", "_")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run_directory(cell: Cell, study: Path) -> str:
    """The cell's run directory, cleared if what lies there cannot be gone on with.

    That is a run cut off before its first file, one of other options, and one of a study whose
    folder or data has been moved since: a run remembers where its pretraining and its data were.
    """
    from mosei_ssl.training.run_directory import absolute_places

    folder = study / cell.path
    run, mark = folder / "run", folder / "started.json"
    options = absolute_places(cell.options["run"])
    ours = {"key": cell.key, "study": str(study.resolve()), "run": options}
    try:
        same = json.loads(mark.read_text(encoding="utf-8")) == ours
    except (OSError, ValueError):
        same = False
    if not same or not (run / "run.json").exists():
        shutil.rmtree(run, ignore_errors=True)
    if not same:
        write_json(mark, ours)
    return str(run.resolve())


def _typed(kind: type, options: dict[str, Any], **fixed: Any) -> Any:
    from mosei_ssl.study.parsing import build

    return build(kind, options, fixed=fixed)


def _pretrain(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.training import PretrainConfig, pretrain

    config = _typed(PretrainConfig, cell.options["run"], run=_run_directory(cell, study))
    run = pretrain(config)
    _save_example(run / "task.keras", config.data, folder / "example.npz")
    return {"disk_mb": _disk_mb(run.path)}


def _save_example(model_file: Path, config: Any, path: Path) -> None:
    """Keep one validation segment as it was and as the model reconstructs it, for the report."""
    from mosei_ssl.training.finetuning import load_model
    from mosei_ssl.training.reconstruction import example_batch, reconstruct

    found = reconstruct(load_model(model_file), example_batch(config))
    if found is not None:
        np.savez(
            path,
            target=found["target"],
            reconstruction=found["reconstruction"],
            hidden=found["hidden"],
        )


def _train(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data import load_segments
    from mosei_ssl.training import FinetuneConfig, finetune
    from mosei_ssl.training.evaluation import predict_segments
    from mosei_ssl.training.finetuning import load_model
    from mosei_ssl.training.hparams import write_scores

    pretrained = None
    if "pretraining" in cell.options:
        pretrained = str(study.resolve() / cell.options["pretraining"]["path"] / "run")
    config = _typed(
        FinetuneConfig, cell.options["run"], run=_run_directory(cell, study), pretrained=pretrained
    )
    run = finetune(config, hparams={"arm": cell.arm, "fold": cell.fold})
    segments = load_segments(config.data, cell.options["split"]).labelled()
    predictions = predict_segments(load_model(run / "model.keras"), segments, config.data)
    _save_predictions(folder, segments.video_ids, segments.emotions, {"model": predictions})
    scores = evaluate_predictions(segments.emotions, predictions)
    if cell.options["split"] != "validation":
        epoch = run.info["result"].get("epoch", 0)
        write_scores(run.path, cell.options["split"], scores["overall"], epoch)
    return {
        "metrics": {"model": scores},
        "labels": run.info["result"]["labels"],
        "epoch": run.info["result"].get("epoch"),
        "disk_mb": _disk_mb(folder),
    }


def _features(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data import DataConfig, load_segments

    config = _typed(DataConfig, {**cell.options["data"], "dataset": cell.options["dataset"]})
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        segments = load_segments(config, split).labelled()
        # Of a segment that is scored they see what the models see.
        limit = config.eval_max_frames if split == "test" else None
        rows = (segment[:limit] for segment in segments)
        arrays[f"{split}_features"] = pooled_features(rows, segments.statistics["mean"])
        arrays[f"{split}_labels"] = segments.emotions
        arrays[f"{split}_videos"] = segments.video_ids
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pooled.npz", **arrays)
    return {"disk_mb": _disk_mb(folder)}


def _classical(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data import draw_label_budget

    options = cell.options
    with np.load(study / options["features"]["path"] / "pooled.npz", allow_pickle=False) as file:
        arrays = dict(file)
    chosen = draw_label_budget(
        arrays["train_labels"], options["budget"], options["seed"], groups=arrays["train_videos"]
    )
    of_speakers = {}
    if options["per_speaker"]:
        of_speakers = {
            f"{split}_per_speaker": standardise_per_group(
                arrays[f"{split}_features"], arrays[f"{split}_videos"]
            )
            for split in ("train", "test")
        }
        of_speakers["train_per_speaker"] = of_speakers["train_per_speaker"][chosen]
    found = classical_predictions(
        arrays["train_features"][chosen],
        arrays["train_labels"][chosen],
        arrays["test_features"],
        **of_speakers,
    )
    _save_predictions(folder, arrays["test_videos"], arrays["test_labels"], found)
    scores = {n: evaluate_predictions(arrays["test_labels"], p) for n, p in found.items()}
    return {"metrics": scores, "labels": len(chosen), "disk_mb": _disk_mb(folder)}


def _save_predictions(
    folder: Path,
    videos: np.ndarray,
    labels: np.ndarray,
    predictions: dict[str, dict[str, np.ndarray]],
) -> None:
    arrays: dict[str, Any] = {
        f"{name}/{key}": np.asarray(values[key], dtype=np.float32)
        for name, values in predictions.items()
        for key in PREDICTION_KEYS
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "predictions.npz", video_ids=videos, labels=labels, **arrays)


def _disk_mb(folder: Path) -> float:
    return round(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6, 3)


_KINDS: dict[str, Callable[[Cell, Path, Path], dict[str, Any]]] = {
    "features": _features,
    "pretrain": _pretrain,
    "search": _train,
    "train": _train,
    "classical": _classical,
}
