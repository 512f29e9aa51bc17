"""`mosei-ssl evaluate`."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from mosei_ssl.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Score a run on a split, beside the all-zero predictor, the median of the labelled subset, "
        "and ridge and SVR on pooled features. Writes metrics.json into the run. With --model the "
        "exported SavedModel itself is scored. Examples: "
        "mosei-ssl evaluate --run runs/ssl100 --against runs/base100 --split test ; "
        "mosei-ssl evaluate --model saved_models/emotion/1 --data-dir data"
    )
    parser.add_argument("--run", type=str | None, default=None, help="a finished fine-tuning run")
    parser.add_argument(
        "--against", type=str, nargs="*", default=[], help="further runs to put into the same table"
    )
    parser.add_argument(
        "--model",
        type=str | None,
        default=None,
        help="instead of --run: saved_models/NAME[/VERSION]",
    )
    parser.add_argument(
        "--data-dir", type=str, default="data", help="with --model: where the dataset is"
    )
    parser.add_argument(
        "--dataset", type=str | None, default=None, help="with --model: which of several datasets"
    )
    parser.add_argument("--split", type=str, default="test", help="split to score")
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted by every verb; scoring draws nothing"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    if (options.run is None) == (options.model is None):
        raise UserError("give either --run DIRECTORY or --model SAVED_MODEL.")
    rows, heading = _score_export(options) if options.model else _score_runs(options)
    from mosei_ssl.metrics import metrics_table

    Console().print(metrics_table(rows, title=heading, per_emotion=("mae", "pearson_r")))
    return 0


def _score_runs(options: Namespace) -> tuple[dict[str, Any], str]:
    from mosei_ssl.training import RunDirectory, evaluate

    models: dict[str, Any] = {}
    references: dict[str, Any] = {}
    heading = ""
    for path in [options.run, *options.against]:
        info = RunDirectory(path).open("finetune").require_finished().info
        result = evaluate(path, options.split)
        predictors = dict(result["predictors"])
        models[f"{info['result']['arm']} ({Path(path).name})"] = predictors.pop("model")
        # Those of the first run: runs put side by side share their labelled subset.
        references = references or predictors
        heading = heading or (
            f"{'SYNTHETIC data, ' if info['dataset']['synthetic'] else ''}"
            f"{info['dataset']['name'].split('/')[0]}, {options.split} split, "
            f"{result['segments']} segments, {info['result']['labels']} labels"
        )
    return {**models, **references}, heading


def _score_export(options: Namespace) -> tuple[dict[str, Any], str]:
    from mosei_ssl.data import DataConfig
    from mosei_ssl.serving.evaluation import evaluate_saved_model

    data = DataConfig(data_dir=options.data_dir, dataset=options.dataset)
    result = evaluate_saved_model(options.model, data, options.split)
    rows = {f"SavedModel ({Path(options.model).name})": result["predictors"]["model"]}
    return rows, f"{options.split} split, {result['segments']} segments"
