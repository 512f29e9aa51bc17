"""Running one cell, in whatever process it is given to."""

import gc
import json
import resource
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.config import DataConfig, FinetuneConfig, PretrainConfig
from mosei_ssl.metrics import (
    classical_predictions,
    evaluate_predictions,
    pooled_features,
    write_json,
)
from mosei_ssl.metrics.scores import PREDICTION_KEYS
from mosei_ssl.study.cells import CELL_FILE, Cell
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import lock
from mosei_ssl.utils.parsing import from_mapping


def execute(cell: Cell, study: Path) -> str:
    """Run a cell, or resume it, unless it is finished; what went wrong, or nothing."""
    locked = study / "locks" / cell.path.replace("/", "_")
    try:
        locked.parent.mkdir(parents=True, exist_ok=True)
        # A worker that outlived its study may still run what its successor begins with.
        with lock(locked, f"{cell.path} is being run by another process", wait=True):
            if cell.finished(study) is None:
                locked.touch()  # when it began
                _run(cell, study)
        return ""
    except UserError as error:
        return str(error)
    except Exception:
        # One failing cell must not take the others along; the text goes into the report.
        lines = traceback.format_exc().strip().splitlines()
        return "\n".join([lines[-1], *lines])


def _run(cell: Cell, study: Path) -> None:
    folder = study / cell.path
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    result = _KINDS[cell.kind](cell, study, folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    marker = {
        **{key: getattr(cell, key) for key in ("key", "kind", "arm", "fold", "budget", "seed")},
        "trial": cell.trial,
        **result,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mb": round(peak_memory_mb()),
        "disk_mb": round(size / 1e6, 3),
    }
    write_json(folder / CELL_FILE, marker)
    # Keras and TensorFlow keep graphs of models alive in cycles.
    gc.collect()


def peak_memory_mb() -> float:
    """Peak of this program's resident memory in megabytes."""
    # `ru_maxrss` survives fork and exec: a child of a large process begins with its parent's.
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _run_options(cell: Cell, study: Path) -> dict[str, Any]:
    """Options of the cell's run, whose directory is cleared if it cannot be resumed."""
    # A run remembers where its pretraining and its data were, which may have been moved since.
    folder = study / cell.path
    run, mark = folder / "run", folder / "started.json"
    ours = {"key": cell.key, "study": str(study.resolve()), "data_dir": cell.data_dir}
    try:
        same = json.loads(mark.read_text(encoding="utf-8")) == ours
    except (OSError, ValueError):
        same = False
    if not same or not (run / "run.json").exists():
        shutil.rmtree(run, ignore_errors=True)
    if not same:
        write_json(mark, ours)
    return {**cell.options["run"], "data_dir": cell.data_dir, "run": str(run.resolve())}


def _pretrain(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data.loading import keep_loaded
    from mosei_ssl.training import pretrain

    keep_loaded("")
    pretrain(from_mapping(PretrainConfig, _run_options(cell, study)))
    return {}


def _train(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data import load_segments
    from mosei_ssl.data.loading import keep_loaded
    from mosei_ssl.training import finetune
    from mosei_ssl.training.evaluation import predict_segments
    from mosei_ssl.training.hparams import write_scores
    from mosei_ssl.training.saved_models import load_model

    keep_loaded(cell.fold)  # whose cells follow each other
    options = _run_options(cell, study)
    if "pretraining" in cell.options:
        options["pretrained"] = str(study.resolve() / cell.options["pretraining"]["path"] / "run")
    config = from_mapping(FinetuneConfig, options)
    run = finetune(config, hparams={"arm": cell.arm, "fold": cell.fold})
    split = cell.options["split"]
    segments = load_segments(config, split).labelled()
    predictions = predict_segments(load_model(run / "model.keras"), segments, config)
    _save_predictions(
        folder,
        (segments.speaker_ids, segments.video_ids, segments.emotions),
        {"model": predictions},
    )
    scores = evaluate_predictions(segments.emotions, predictions)
    labels, epoch = (run.info["result"][key] for key in ("labels", "epoch"))
    if split != "validation":
        write_scores(run.path, split, scores["overall"], epoch)
    return {"metrics": {"model": scores}, "labels": labels, "epoch": epoch}


def _features(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data import load_segments

    config = from_mapping(DataConfig, {**cell.options["data"], "data_dir": cell.data_dir})
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        segments = load_segments(config, split).labelled()
        arrays[f"{split}_features"] = pooled_features(iter(segments), segments.statistics["mean"])
        arrays[f"{split}_labels"] = segments.emotions
        arrays[f"{split}_speakers"] = segments.speaker_ids
        arrays[f"{split}_videos"] = segments.video_ids
        arrays[f"{split}_groups"] = segments.group_ids
    np.savez(folder / "pooled.npz", **arrays)
    return {}


def _classical(cell: Cell, study: Path, folder: Path) -> dict[str, Any]:
    from mosei_ssl.data import draw_label_budget

    options = cell.options
    with np.load(study / options["features"]["path"] / "pooled.npz", allow_pickle=False) as file:
        arrays = dict(file)
    chosen = draw_label_budget(
        arrays["train_labels"], options["budget"], options["seed"], groups=arrays["train_groups"]
    )
    found = classical_predictions(
        arrays["train_features"][chosen],
        arrays["train_labels"][chosen],
        arrays["test_features"],
    )
    known = (arrays["test_speakers"], arrays["test_videos"], arrays["test_labels"])
    _save_predictions(folder, known, found)
    scores = {n: evaluate_predictions(arrays["test_labels"], p) for n, p in found.items()}
    return {"metrics": scores, "labels": len(chosen)}


def _save_predictions(
    folder: Path,
    known: tuple[np.ndarray, np.ndarray, np.ndarray],
    predictions: dict[str, dict[str, np.ndarray]],
) -> None:
    """Keeps predictions by name; `known` are speakers, videos and labels of the segments."""
    arrays: dict[str, Any] = {
        f"{name}/{key}": np.asarray(values[key], dtype=np.float32)
        for name, values in predictions.items()
        for key in PREDICTION_KEYS
    }
    arrays |= zip(("speakers", "video_ids", "labels"), known, strict=True)
    np.savez_compressed(folder / "predictions.npz", **arrays)


_KINDS: dict[str, Callable[[Cell, Path, Path], dict[str, Any]]] = {
    "features": _features,
    "pretrain": _pretrain,
    "search": _train,
    "train": _train,
    "classical": _classical,
}
