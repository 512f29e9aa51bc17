"""`mosei-ssl evaluate`."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Score a run on a split, beside the all-zero predictor, the median of the labelled subset, "
        "and ridge and SVR on pooled features. Writes metrics.json into the run. Example: "
        "mosei-ssl evaluate --run runs/ssl100 --against runs/base100 --split test"
    )
    parser.add_argument("--run", type=str, required=True, help="a finished fine-tuning run")
    parser.add_argument(
        "--against", type=str, nargs="*", default=[], help="further runs to put into the same table"
    )
    parser.add_argument("--split", type=str, default="test", help="split to score")
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted by every verb; scoring draws nothing"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    from mosei_ssl.metrics import metrics_table
    from mosei_ssl.training import RunDirectory, evaluate

    rows: dict[str, Any] = {}
    heading = ""
    for path in [options.run, *options.against]:
        info = RunDirectory(path).open("finetune").require_finished().info
        result = evaluate(path, options.split)
        name = f"{info['result']['arm']} ({Path(path).name})"
        references = {k: v for k, v in result["predictors"].items() if k != "model"}
        rows = {name: result["predictors"]["model"], **references, **rows}
        # Models first, in the order given; predictors that need no model below them.
        rows = dict(sorted(rows.items(), key=lambda item: item[0] in references))
        synthetic = "SYNTHETIC data, " if info["dataset"]["synthetic"] else ""
        heading = (
            f"{synthetic}{info['dataset']['name'].split('/')[0]}, {options.split} split, "
            f"{result['segments']} segments, {info['result']['labels']} labels"
        )
    Console().print(metrics_table(rows, title=heading, per_emotion=("mae", "pearson_r")))
    return 0
