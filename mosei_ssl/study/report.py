"""The report of a study: report.html, report.md, figures and statistics.json."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.metrics import EMOTIONS, METRIC_LABELS, METRICS, format_score, write_json
from mosei_ssl.study import figures, tables
from mosei_ssl.study.analysis import analyse
from mosei_ssl.study.cells import Cell, Fold
from mosei_ssl.study.config import finetune_options
from mosei_ssl.study.curves import MIN_BUDGETS
from mosei_ssl.study.document import Block, Code, Figure, Section, Table, render
from mosei_ssl.study.options import ArmConfig, StudyConfig
from mosei_ssl.study.paper import write_paper
from mosei_ssl.study.results import collect_sums
from mosei_ssl.utils.files import write_text
from mosei_ssl.utils.versions import decisive_packages, keras_backend, package_versions

STAMP = "SYNTHETIC DATA - not speech, not a result about emotion recognition"


def write_report(
    out: Path,
    config: StudyConfig,
    folds: Sequence[Fold],
    budgets: Sequence[int | str],
    cells: Sequence[Cell],
    chosen: dict[str, int],
    failed: dict[str, str],
) -> Path | None:
    """Analyse the finished cells and write report.html; None if the baseline has no budget."""
    grid = [cell for cell in cells if cell.kind in ("train", "classical")]
    sums, missing = collect_sums(out, grid, config.seeds)
    if not sums.get(config.baseline):
        return None
    counts = {
        str(b): float(np.mean([fold.train for fold in folds])) if b == "all" else float(b)
        for b in budgets
    }
    arms = [arm.name for arm in config.arms]
    compared = [arm for arm in arms if arm != config.baseline]
    against = {arm.name: arm.against for arm in config.arms if arm.against}
    result = analyse(sums, counts, compared, config.baseline, config.statistics, against)
    result["synthetic"] = any(fold.synthetic for fold in folds)
    write_json(out / "statistics.json", result)
    stamp = STAMP if result["synthetic"] else ""
    shown = [arm for arm in arms if arm in result["scores"]]
    sections = [
        Section("Summary", _summary(result, config, folds, compared)),
        Section("Scores against labels", score_blocks(result, shown, stamp)),
        Section("Differences", difference_blocks(result, stamp)),
        Section("Convergence and labels saved", _convergence_blocks(result, stamp)),
        Section("Pretraining", _pretraining_blocks(out, cells, stamp)),
        Section("Design", _design_blocks(out, config, folds, chosen)),
        Section("Data", tables.data_blocks(config, folds)),
        Section("Runs", _run_blocks(out, cells, failed, missing)),
        Section("Environment and commands", _environment_blocks(out)),
    ]
    return write_documents(out, config.name, sections, result, shown, stamp)


def write_documents(
    out: Path,
    title: str,
    sections: Sequence[Section],
    result: dict[str, Any],
    shown: Sequence[str],
    stamp: str,
) -> Path:
    """Write report.html, report.md, their figures and those for a paper; the path of the first."""
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                write_text(out / "figures" / f"{block.name}.svg", block.svg)
    write_paper(out / "paper", result, shown, stamp)
    write_text(out / "report.md", render("md", title, sections, stamp))
    page = out / "report.html"
    write_text(page, render("html", title, sections, stamp))
    return page


def _summary(
    result: dict[str, Any], config: StudyConfig, folds: Sequence[Fold], compared: Sequence[str]
) -> list[Block]:
    design = result["design"]
    blocks: list[Block] = [
        f"{len(config.arms)} arms, {len(result['budgets'])} label budgets, {design['folds']} "
        f"fold(s), {design['seeds']} seed(s), {design['videos']} test speakers (videos, where "
        f"the corpus names none) with {sum(fold.test for fold in folds)} segments. Intervals are "
        f"{100 * design['level']:.0f} % intervals from a hierarchical bootstrap over test speakers "
        "and seeds.",
        *(tables.sentences(result, arm, result["primary"]) for arm in compared),
        "A score means little alone: on labels as sparse as these the all-zero predictor and the "
        "train median are hard to beat in MAE and four-class accuracy, so they are in every "
        "table, as are ridge and SVR on pooled features with the same labels.",
    ]
    if design["seeds"] == 1:
        blocks.append("With one seed the intervals do not cover the randomness of training.")
    elif design["folds"] == 1 and design["seeds"] < 3:
        blocks.append(
            "With one fold and two seeds the intervals are wide and somewhat too narrow at once; "
            "use at least three seeds."
        )
    return blocks


def score_blocks(result: dict[str, Any], shown: Sequence[str], stamp: str) -> list[Block]:
    def drawn(name: str, panels: list[tuple[str, str]], columns: int, caption: str) -> Figure:
        svg = figures.budget_figure(result, shown, panels, columns=columns, stamp=stamp)
        return Figure(name, svg, caption)

    usual = ("mae", "accuracy")
    return [
        drawn(
            "overall",
            [(metric, "overall") for metric in usual],
            2,
            "Overall MAE (lower is better) and four-class accuracy (higher is better) against the "
            "number of labelled segments. Bands: intervals. Grey: predictors without deep "
            "learning.",
        ),
        *(
            drawn(f"emotions_{metric}", [(metric, e) for e in EMOTIONS], 3, f"{name} per emotion.")
            for metric, name in (("mae", "MAE"), ("accuracy", "Four-class accuracy"))
        ),
        drawn(
            "imbalance",
            [(metric, "overall") for metric in METRICS if metric not in usual],
            3,
            "What MAE and accuracy hide when most labels are zero.",
        ),
        *tables.score_tables(result),
    ]


def _shown(result: dict[str, Any]) -> list[str]:
    """Metrics with their own figures: the usual ones, and the primary one whichever it is."""
    return list(dict.fromkeys(("mae", "accuracy", "pearson_r", result["primary"])))


def difference_blocks(result: dict[str, Any], stamp: str) -> list[Block]:
    if not result["differences"]:
        return ["No arm to compare with the baseline has a complete label budget."]
    blocks: list[Block] = [
        f"Arm minus {tables.references(result)}, paired by test speaker, fold and seed. p values "
        f"of {METRIC_LABELS[result['primary']]} (primary) are not adjusted, those of the other "
        "metrics are adjusted over metrics by Holm's method, those of emotions over emotions.",
        Figure(
            "differences",
            figures.difference_figure(result, _shown(result), stamp=stamp),
            "Differences with their intervals; the line is no difference.",
        ),
    ]
    for arm in result["differences"]:
        blocks += tables.difference_tables(result, arm)
    return blocks


def _convergence_blocks(result: dict[str, Any], stamp: str) -> list[Block]:
    blocks: list[Block] = [
        "The budget of convergence is the smallest from which on, at it and all larger ones, the "
        "difference cannot be told from zero; its interval repeats that decision on every "
        "bootstrap sample, against half widths widened by the square root of 2, since a sample has "
        "the noise twice. Labels needed are those at which the baseline's curve, a power law of "
        f"the labels fitted to its scores at {MIN_BUDGETS} budgets or more, has changed by the "
        "measured difference; they end at the smallest and the largest budget that both have, ≤ "
        "and ≥ say where.",
    ]
    if result["label_savings"]:
        drawn = figures.savings_figure(result, _shown(result), stamp=stamp)
        caption = (
            f"Labels that {tables.references(result)} needs to match each arm. Above the line "
            "labels are saved; at ≤ and ≥ it needs fewer or more than the budgets reach. Bands end "
            "at the budgets."
        )
        blocks.append(Figure("savings", drawn, caption))
    for arm in result["convergence"]:
        blocks += tables.convergence_tables(result, arm)
    return blocks


_MEASURES = {
    "loss": "loss",
    "val_loss": "validation loss",
    "val_relative_error": "relative error",
    "val_codes_in_use": "codes in use",
}


def _pretraining_blocks(out: Path, cells: Sequence[Cell], stamp: str) -> list[Block]:
    from mosei_ssl.training.run_directory import RunDirectory  # imports Keras

    done = [cell for cell in cells if cell.kind == "pretrain" and cell.finished(out)]
    if not done:
        return ["No arm is pretrained."]
    histories = {}
    for cell in done:
        rows = RunDirectory(out / cell.path / "run").history()
        histories[cell.path.removeprefix("cells/pretrain/")] = {
            key: [row[key] for row in rows] for key in rows[0]
        }
    known = {key for columns in histories.values() for key in columns}
    measures = {key: name for key, name in _MEASURES.items() if key in known}
    ends = [
        [
            name,
            str(len(columns["epoch"])),
            *(f"{columns[key][-1]:.4f}" if columns.get(key) else "-" for key in measures),
        ]
        for name, columns in histories.items()
    ]
    caption = "Last epoch."
    if "val_relative_error" in measures:
        caption += " A relative error of 1 is no better than the corpus mean."
    blocks: list[Block] = [
        Figure(
            "pretraining",
            figures.pretraining_figure(histories, stamp),
            "Loss of the pretraining task, two lines of a colour for each pretraining; with many "
            "pretrainings colours repeat.",
        ),
        Table(["pretraining", "epochs", *measures.values()], ends, caption),
    ]
    return blocks


_YES: dict[bool | str, str] = {True: "yes", False: "no"}


def _design_blocks(
    out: Path, config: StudyConfig, folds: Sequence[Fold], chosen: dict[str, int]
) -> list[Block]:
    trials = config.search.trials
    rows = []
    for arm in config.arms:
        # How an arm would pretrain does not matter if it does not.
        stages = {"backbone": arm.backbone, "finetune": arm.finetune}
        stages |= {"pretrain": arm.pretrain} if arm.pretrained is True else {}
        texts = (_dotted(stages), trials[chosen[arm.name]] if arm.name in chosen else {})
        rows.append(
            [
                arm.name + (" (baseline)" if arm.name == config.baseline else ""),
                *(_YES.get(x, str(x)) for x in (arm.pretrained, arm.early_stopping)),
                *(json.dumps(options) if options else "-" for options in texts),
            ]
        )
    header = ["arm", "pretrained", "early stopping", "differs in", "chosen by the search"]
    shared = "labelled subsets and data order"
    if not any(arm.backbone for arm in config.arms):
        shared = f"backbone, {shared}"
    blocks: list[Block] = [
        Table(header, rows, f"Arms. All share {shared}, but for what they differ in."),
        f"Validation labels: {sum(fold.validation for fold in folds)} over {len(folds)} fold(s). "
        + _use_of_validation_labels(config, chosen)
        + _use_of_test_labels(folds, searched=bool(trials)),
    ]
    if not trials:
        return [*blocks, "No hyper-parameter search: every arm has the options below."]
    blocks.append(
        f"Hyper-parameter search: {len(trials)} trial(s) per arm on fold {folds[0].name}, seed "
        f"{config.seeds[0]}, {config.search.labels} labels, chosen by validation "
        f"{METRIC_LABELS[config.search.metric]}, then frozen."
    )
    if (out / "search.json").exists():
        search = json.loads((out / "search.json").read_text(encoding="utf-8"))
        metric = search["metric"]
        found = [
            [
                t["arm"],
                str(t["trial"]) + (" *" if chosen.get(t["arm"]) == t["trial"] else ""),
                json.dumps(t["options"]),
                format_score(t[metric]),
            ]
            for t in search["trials"]
        ]
        columns = ["arm", "trial", "options", f"validation {METRIC_LABELS[metric]}"]
        blocks.append(Table(columns, found, "Trials; * chosen."))
    return blocks


def _dotted(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one of dotted keys."""
    result: dict[str, Any] = {}
    for key, value in mapping.items():
        place = f"{prefix}{key}"
        result |= _dotted(value, f"{place}.") if isinstance(value, dict) else {place: value}
    return result


def _use_of_validation_labels(config: StudyConfig, chosen: dict[str, int]) -> str:
    """Say which arms choose the epoch by validation labels."""

    def options(arm: ArmConfig) -> dict[str, Any]:
        trial = config.search.trials[chosen[arm.name]] if arm.name in chosen else {}
        return finetune_options(config, arm, trial=trial)

    found = {arm.name: options(arm) for arm in config.arms if arm.early_stopping}
    stopped = {name: o["monitor"] for name, o in found.items() if not o["freeze_backbone"]}
    watching = [name for name, monitor in stopped.items() if monitor.startswith("val_")]
    others = [name for name in stopped if name not in watching]
    said = ""
    if watching:
        who = "Arms with early stopping"
        if others:
            who = f"Of the arms with early stopping {', '.join(watching)}"
        said = f"{who} use those of their fold, on top of the label budget, to choose the epoch. "
    if others:
        said += f"By the training loss, without them, it is chosen for: {', '.join(others)}. "
    return said or "No arm uses them to choose an epoch. "


def _use_of_test_labels(folds: Sequence[Fold], *, searched: bool) -> str:
    """Say whether anything but the final scores has seen test labels."""
    tested = {video for fold in folds[1:] for video in fold.test_videos}
    seen = tested & set(folds[0].fit_videos) if searched else set()
    if not seen:
        return "Test labels are used for nothing but the final scores."
    return (
        "No training and no choice of an epoch sees test labels of its fold. The search does see "
        f"some of other folds: {len(seen)} of the {len(tested)} test videos of the other folds are "
        f"train or validation videos of fold {folds[0].name}, where it chose the options that all "
        "folds use."
    )


def _run_blocks(
    out: Path, cells: Sequence[Cell], failed: dict[str, str], missing: Sequence[str]
) -> list[Block]:
    rows = []
    for kind in ("features", "pretrain", "search", "train", "classical"):
        group = [cell for cell in cells if cell.kind == kind]
        if group:
            done = sum(cell.finished(out) is not None for cell in group)
            bad = sum(cell.path in failed for cell in group)
            rows.append([kind, *map(str, (len(group), done, bad))])
    blocks: list[Block] = [Table(["kind", "runs", "finished", "failed"], rows)]
    if missing:
        blocks.append(f"Incomplete and left out: {', '.join(missing)}.")
    if failed:
        errors = [[path, error.splitlines()[0]] for path, error in sorted(failed.items())]
        blocks.append(Table(["run", "error"], errors, "Failed runs"))
    return blocks


def _environment_blocks(out: Path) -> list[Block]:
    backend = keras_backend()
    versions = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "backend of Keras": backend,
        **package_versions((*decisive_packages(backend), "tensorflow-datasets")),
    }
    study = json.loads((out / "study.json").read_text(encoding="utf-8"))
    return [
        Table(["what", "version"], [list(row) for row in versions.items()]),
        "Command, and the whole configuration (study.yaml):",
        Code(study["command"]),
        Code((out / "study.yaml").read_text(encoding="utf-8").strip()),
    ]
