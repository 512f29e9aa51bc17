"""Score a run on a split, next to simpler predictors.

These are the all-zero predictor, the median of the labelled subset, and ridge and SVR on pooled
features, all trained on the run's labelled subset, also where --dataset names another corpus.
metrics.json is written into the run. With --model the exported SavedModel is scored. With
--against it says what changed from those runs to this one, with a 95 % interval over speakers.

Examples:
  mosei-ssl evaluate --run runs/ssl100 --against runs/base100 --split test
  mosei-ssl evaluate --run runs/ssl100 --dataset covarep-1a2b3c4d5e --data-dir other
  mosei-ssl evaluate --model saved_models/emotion/1 --data-dir data
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mosei_ssl.cli.output import say, write_json_out
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import Options
from mosei_ssl.utils.progress import progress
from mosei_ssl.utils.terminal import console


@dataclass(kw_only=True)
class EvaluateOptions(Options):
    """Options of `mosei-ssl evaluate`.

    Args:
        run: a finished fine-tuning run.
        against: further runs to put into the same table.
        model: instead of --run: saved_models/NAME[/VERSION].
        data_dir: where the dataset is; by default where the run found it, with --model `data`.
        dataset: which of several datasets there; with --run also another than the run's.
        split: split to score.
        per_emotion: also show every score of each emotion.
        json: print all scores as JSON.
    """

    run: str | None = None
    against: list[str] = field(default_factory=list)
    model: str | None = None
    data_dir: str | None = None
    dataset: str | None = None
    split: str = "test"
    per_emotion: bool = False
    json: bool = False


def run(options: EvaluateOptions) -> int:
    if (options.run is None) == (options.model is None):
        raise UserError("give either --run DIRECTORY or --model SAVED_MODEL.")
    if options.model is not None and options.against:
        raise UserError("--against puts runs beside --run: leave it out with --model.")
    paths = [options.run, *options.against] if options.run is not None else []
    scored = _score_runs(paths, options) if paths else _score_export(options)
    from mosei_ssl.metrics import metrics_table

    if options.json:
        write_json_out({"split": options.split, **scored.facts})
        return 0
    table = metrics_table(scored.rows, title=scored.heading, per_emotion=options.per_emotion)
    console().print(table)
    for line in scored.changes:
        say(line)
    for path in paths:
        say(f"Written: {Path(path) / 'metrics.json'}")
    return 0


class _Scored(NamedTuple):
    """Scores by name of the row, what stands above and below them, and all of it for programs."""

    rows: dict[str, Any]
    heading: str
    changes: list[str]
    facts: dict[str, Any]


def _score_runs(paths: list[str], options: EvaluateOptions) -> _Scored:
    from mosei_ssl.data import split_names
    from mosei_ssl.metrics.comparison import change, read_predictions, score_cell
    from mosei_ssl.training import RunDirectory, evaluate

    runs = [RunDirectory(path).open("finetune").require_finished() for path in paths]
    dataset = runs[0].info["dataset"]
    budgets = [run.info["result"]["labels"] for run in runs]
    for path, other in zip(paths, (run.info["dataset"] for run in runs), strict=True):
        if other["fingerprint"] != dataset["fingerprint"]:
            raise UserError(
                f"{path} was trained on dataset {other['name']}, {paths[0]} on {dataset['name']}: "
                "their scores do not belong into one table. Leave it out of --against."
            )
    folders = [Path(path).name for path in paths]
    models: dict[str, Any] = {}
    references: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    for path, folder, run, labels in zip(paths, folders, runs, budgets, strict=True):
        # A baseline with a frozen backbone is random features under a trained head.
        frozen = ", frozen" if run.config().get("freeze_backbone") else ""
        place = folder if len(set(folders)) == len(folders) else path
        name = f"{run.info['result']['arm']}{frozen} ({place})"
        name += f", {labels} labels" if len(set(budgets)) > 1 else ""
        result = evaluate(path, options.split, data_dir=options.data_dir, dataset=options.dataset)
        results.append({"run": path, "name": name, "labels": labels, **result})
        predictors = dict(result["predictors"])
        models[name] = predictors.pop("model")
        # Those of the first run's labelled subset stand for all.
        references = references or predictors
    name = dataset["name"].split("/")[0]
    trained_on = f"all trained on {result['trained_on']}, " if "trained_on" in result else ""
    synthetic = "SYNTHETIC data, " if result.get("synthetic", dataset["synthetic"]) else ""
    heading = (
        f"{synthetic}{result.get('dataset', name)}, {options.split} split, "
        f"{result['segments']} segments, {trained_on}{budgets[0]} labels"
    )
    if len(set(budgets)) > 1:
        heading += " unless a row says otherwise"
    if "train" in split_names(options.split) and not trained_on:
        # Scores of what was learnt by heart must not be taken for scores of unseen speech.
        counts = " or ".join(map(str, sorted(set(budgets))))
        heading += f"; of these segments {counts} were trained on"
    changes, lines = [], []
    ours, *others = results
    for other, run in zip(others, runs[1:], strict=True):
        kept, theirs = (
            read_predictions(Path(one["run"], one["predictions_file"])) for one in (ours, other)
        )
        found = change(kept, theirs)
        changes.append({"against": other["run"], **found})
        arms = [one.info["result"]["arm"] for one in (runs[0], run)]
        configs = [one.config() for one in (runs[0], run)]
        alike = configs[0].get("freeze_backbone") == configs[1].get("freeze_backbone")
        # Where something else differs, too, pretraining is not what made the difference.
        if alike and ours["labels"] == other["labels"] and arms == ["ssl", "baseline"]:
            what = f"Pretraining ({Path(str(configs[0].get('pretrained'))).name}) changed r"
        else:
            what = f"The r of {ours['name']} differs"
        difference = score_cell(found["pearson_r"], sign="+")
        over = f"95 % interval over {kept.over}"
        lines.append(f"{what} by {difference} against {other['name']} ({over})")
    facts = {"runs": results, "changes": changes}
    return _Scored({**models, **references}, heading, lines, facts)


def _score_export(options: EvaluateOptions) -> _Scored:
    from mosei_ssl.data import DataConfig, split_names
    from mosei_ssl.serving.evaluation import evaluate_saved_model

    data = DataConfig(data_dir=options.data_dir or "data", dataset=options.dataset)
    place = Path(str(options.model))
    with progress("scoring") as advance:
        result = evaluate_saved_model(place, data, options.split, advance)
    place = place.resolve()
    name = f"{place.parent.name}/{place.name}" if place.name.isdecimal() else place.name
    rows = dict(result["predictors"])
    rows = {f"SavedModel ({name})": rows.pop("model"), **rows}
    synthetic = "SYNTHETIC data, " if result["synthetic"] else ""
    heading = f"{synthetic}{options.split} split, {result['segments']} segments"
    if result["dataset"] != result["trained_on"]:
        # Other folds of the same recordings have another fingerprint too.
        other = result["trained_on"] or "one that its manifest does not name"
        heading += (
            f" of dataset {result['dataset']}; the model was trained on {other}, whose recordings "
            "may be among them"
        )
    elif "train" in split_names(options.split):
        heading += "; some of them were trained on"
    return _Scored(rows, heading, [], {"model": options.model, **result})
