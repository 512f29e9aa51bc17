"""What the manifest of a model says of it, and of the run that it came from."""

from pathlib import Path
from typing import Any

import keras

from mosei_ssl.models import EmotionModel
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.training.saved_models import load_model
from mosei_ssl.utils.errors import UserError
from tfds_mosei.prepared import train_seconds


def open_run(run: str | Path) -> tuple[RunDirectory, EmotionModel]:
    """A finished fine-tuning run, and its model; raises a UserError if it is not one."""
    directory = RunDirectory(run).open("finetune").require_finished()
    model = load_model(directory / "model.keras")
    if not isinstance(model, EmotionModel):
        raise UserError(f"{run} holds a {type(model).__name__}, not an EmotionModel.")
    return directory, model


def origin(run: RunDirectory) -> dict[str, Any]:
    """`run` and `dataset` of a manifest."""
    try:
        config = run.config()
    except UserError:
        # A model is exported without its options, too; what they would tell is left out.
        config = {}
    dataset = dict(run.info.get("dataset") or {})
    seconds = train_seconds(config.get("data_dir", ""), dataset)
    return {
        "run": {
            "name": run.path.resolve().name,
            **{key: run.info.get(key) for key in ("kind", "seed", "result", "versions")},
            **{key: config.get(key) for key in ("freeze_backbone", "context")},
        },
        "dataset": dataset if seconds is None else dataset | {"train_seconds": seconds},
    }


def described(model: EmotionModel) -> dict[str, Any]:
    """`model` of a manifest."""
    return {
        "class": type(model).__name__,
        "backbone": type(model.backbone).__name__,
        "parameters": int(model.count_params()),
        "embedding_dim": int(model.embedding_dim),
        "feature_mean": keras.ops.convert_to_numpy(model.backbone.standardize.center).tolist(),
    }
