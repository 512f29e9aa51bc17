"""The report of a study: report.html, report.md, figures and statistics.json."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mosei_ssl.metrics import METRIC_LABELS, METRICS, write_json
from mosei_ssl.study import figures, tables
from mosei_ssl.study.analysis import AnalysisOptions, analyse
from mosei_ssl.study.cells import Cell, Fold
from mosei_ssl.study.config import StudyConfig, finetune_options
from mosei_ssl.study.document import Code, Figure, Section, Table, to_html, to_markdown
from mosei_ssl.study.parsing import dotted
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
    """Analyse the finished cells and write the report.

    Args:
        out: The study's folder.
        config: The study.
        folds: Its folds.
        budgets: Its budgets.
        cells: All its cells.
        chosen: Trial chosen for each arm.
        failed: Errors by path of the cell.

    Returns:
        Path of report.html; None if the baseline has no complete budget.

    Example:
        >>> write_report(Path("study"), config, folds, [25], cells, {}, {})  # doctest: +SKIP
        PosixPath('study/report.html')
    """
    grid = [cell for cell in cells if cell.kind in ("train", "classical")]
    sums, missing = collect_sums(out, grid, config.seeds)
    if not sums.get(config.baseline):
        return None
    counts = {
        str(b): float(np.mean([fold.train for fold in folds])) if b == "all" else float(b)
        for b in budgets
    }
    arms = [arm.name for arm in config.arms]
    options = AnalysisOptions(config.baseline, **_statistics(config))
    compared = [arm for arm in arms if arm != config.baseline]
    result = analyse(sums, counts, compared, options)
    write_json(out / "statistics.json", result)
    stamp = STAMP if any(fold.synthetic for fold in folds) else ""
    sections = [
        Section("Summary", _summary(result, config, folds, compared)),
        Section("Scores against labels", _score_blocks(result, arms, stamp)),
        Section("Differences", _difference_blocks(result, compared, stamp)),
        Section("Convergence and labels saved", _convergence_blocks(result, arms, compared, stamp)),
        Section("Pretraining", _pretraining_blocks(out, cells, stamp)),
        Section("Design", _design_blocks(out, config, folds, chosen)),
        Section("Data", tables.data_blocks(config, folds)),
        Section("Cells", _cell_blocks(out, cells, failed, missing)),
        Section("Environment and commands", _environment_blocks(out)),
    ]
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                write_text(out / "figures" / f"{block.name}.svg", block.svg)
    write_text(out / "report.md", to_markdown(config.name, sections, stamp))
    page = out / "report.html"
    write_text(page, to_html(config.name, sections, stamp))
    return page


def _statistics(config: StudyConfig) -> dict[str, Any]:
    values = config.statistics
    return {
        "primary": values.primary,
        "samples": values.samples,
        "level": values.level,
        "seed": values.seed,
    }


def _summary(
    result: dict[str, Any], config: StudyConfig, folds: Sequence[Fold], compared: Sequence[str]
) -> list[Any]:
    design = result["design"]
    percent = f"{100 * design['level']:.0f}"
    blocks: list[Any] = [
        f"{len(config.arms)} arms, {len(result['budgets'])} label budgets, {design['folds']} "
        f"fold(s), {design['seeds']} seed(s), {design['videos']} test videos with "
        f"{sum(fold.test for fold in folds)} segments. Intervals are {percent} % intervals from a "
        f"hierarchical bootstrap over test videos and seeds."
    ]
    primary = result["primary"]
    for arm in compared:
        blocks += tables.sentences(result, arm, primary)
    blocks.append(
        "A score means little alone: on labels as sparse as these the all-zero predictor and the "
        "train median are hard to beat in MAE and four-class accuracy, so they stand in every "
        "table, as do ridge and SVR on pooled features with the same labels."
    )
    if design["seeds"] == 1:
        blocks.append("With one seed the intervals do not cover the randomness of training.")
    elif design["folds"] == 1 and design["seeds"] < 3:
        blocks.append(
            "With one fold and two seeds the intervals are wide and somewhat too narrow at once; "
            "use at least three seeds."
        )
    return blocks


def _score_blocks(result: dict[str, Any], arms: Sequence[str], stamp: str) -> list[Any]:
    main = [("mae", "overall"), ("accuracy", "overall")]
    other = [(m, "overall") for m in METRICS if m not in ("mae", "accuracy")]
    shown = [arm for arm in arms if arm in result["scores"]]
    return [
        Figure(
            "overall",
            figures.budget_figure(result, shown, main, stamp=stamp),
            "Overall MAE (lower is better) and four-class accuracy (higher is better) against the "
            "number of labelled segments. Bands: intervals. Grey: predictors without deep "
            "learning.",
        ),
        Figure(
            "emotions_mae",
            figures.budget_figure(
                result, shown, figures.emotion_panels("mae"), columns=3, stamp=stamp
            ),
            "MAE of each emotion.",
        ),
        Figure(
            "emotions_accuracy",
            figures.budget_figure(
                result, shown, figures.emotion_panels("accuracy"), columns=3, stamp=stamp
            ),
            "Four-class accuracy of each emotion.",
        ),
        Figure(
            "imbalance",
            figures.budget_figure(result, shown, other, columns=3, stamp=stamp),
            "What MAE and accuracy hide when most labels are zero.",
        ),
        *tables.score_tables(result),
    ]


def _shown(result: dict[str, Any]) -> list[str]:
    """Metrics with figures of their own: the usual ones, and the primary one whichever it is."""
    return list(dict.fromkeys(("mae", "accuracy", "pearson_r", result["primary"])))


def _difference_blocks(result: dict[str, Any], compared: Sequence[str], stamp: str) -> list[Any]:
    if not result["differences"]:
        return ["No arm to compare with the baseline has a complete budget."]
    blocks: list[Any] = [
        f"Arm minus {result['baseline']}, paired by test video, fold and seed. p values of "
        f"{METRIC_LABELS[result['primary']]} (primary) are as they are, those of the other metrics "
        "adjusted over metrics by Holm's method, those of emotions over emotions.",
        Figure(
            "differences",
            figures.difference_figure(result, _shown(result), stamp=stamp),
            "Differences with their intervals; the line is no difference.",
        ),
    ]
    for arm in compared:
        if arm in result["differences"]:
            blocks += tables.difference_tables(result, arm)
    return blocks


def _convergence_blocks(
    result: dict[str, Any], arms: Sequence[str], compared: Sequence[str], stamp: str
) -> list[Any]:
    if not result["label_savings"]:
        return ["At least two complete budgets are needed."]
    blocks: list[Any] = [
        "Curves are power laws, score = limit + gain * labels ** -exponent. The budget of "
        "convergence is the smallest from which on, at it and all larger ones, the difference "
        "cannot be told from zero; its interval repeats that decision on every bootstrap sample, "
        "against half widths widened by the square root of 2, since a sample has the noise twice. "
        "Labels needed are those at which the baseline's curve has changed by the measured "
        "difference; they end at the smallest and the largest budget that both have, ≤ and ≥ say "
        "where.",
        Figure(
            "savings",
            figures.savings_figure(result, _shown(result), stamp=stamp),
            f"Labels that {result['baseline']} needs to match each arm. Above the line labels are "
            "saved; at ≤ and ≥ it needs fewer or more than the budgets reach. Bands end at the "
            "budgets.",
        ),
        Figure(
            "curves",
            figures.curve_figure(
                result,
                [arm for arm in arms if arm in result["scores"]],
                _shown(result),
                stamp=stamp,
            ),
            "Scores (markers) and the curves fitted to them; dashed beyond the study.",
        ),
        tables.curve_table(result),
    ]
    for arm in compared:
        if arm in result["convergence"]:
            blocks += tables.convergence_tables(result, arm)
    return blocks


def _pretraining_blocks(out: Path, cells: Sequence[Cell], stamp: str) -> list[Any]:
    histories, example = {}, None
    for cell in cells:
        if cell.kind != "pretrain" or cell.finished(out) is None:
            continue
        with open(out / cell.path / "run" / "history.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        keys = rows[0] if rows else {}
        histories[cell.path] = {key: [float(row[key]) for row in rows if row[key]] for key in keys}
        if example is None and (out / cell.path / "example.npz").exists():
            example = out / cell.path / "example.npz"
    if not histories:
        return ["No arm is pretrained."]
    measures = {
        "loss": "loss",
        "val_loss": "validation loss",
        "val_relative_error": "relative error",
        "val_retrieval_accuracy": "retrieval accuracy",
        "val_codes_in_use": "codes in use",
    }
    measures = {
        key: name for key, name in measures.items() if any(key in h for h in histories.values())
    }
    ends = [
        [
            path.removeprefix("cells/pretrain/"),
            str(len(columns["epoch"])),
            *(f"{columns[key][-1]:.4f}" if columns.get(key) else "-" for key in measures),
        ]
        for path, columns in histories.items()
    ]
    header = ["pretraining", "epochs", *measures.values()]
    caption = "Last epoch."
    if "val_relative_error" in measures:
        caption += " A relative error of 1 is no better than the corpus mean."
    blocks: list[Any] = [
        Figure(
            "pretraining",
            figures.pretraining_figure(histories, stamp),
            "Loss of the pretraining task, two lines of a colour for each pretraining; with many "
            "pretrainings colours come again.",
        ),
        Table(header, ends, caption),
    ]
    if example is not None:
        with np.load(example, allow_pickle=False) as file:
            drawn = figures.reconstruction_figure(
                file["target"], file["reconstruction"], file["hidden"], stamp
            )
        caption = "A validation segment, what the encoder saw of it, and what it filled in."
        blocks.append(Figure("reconstruction", drawn, caption))
    return blocks


def _design_blocks(
    out: Path, config: StudyConfig, folds: Sequence[Fold], chosen: dict[str, int]
) -> list[Any]:
    rows = []
    for arm in config.arms:
        trial = config.search.trials[chosen[arm.name]] if arm.name in chosen else {}
        stages = {"backbone": arm.backbone, "finetune": arm.finetune}
        # What is not pretrained does not differ in how.
        differs = dotted(stages | ({"pretrain": arm.pretrain} if arm.pretrained else {}))
        rows.append(
            [
                arm.name + (" (baseline)" if arm.name == config.baseline else ""),
                "yes" if arm.pretrained else "no",
                "yes" if arm.early_stopping else "no",
                json.dumps(differs) if differs else "-",
                json.dumps(trial) if trial else "-",
            ]
        )
    header = ["arm", "pretrained", "early stopping", "differs in", "chosen by the search"]
    validation = sum(fold.validation for fold in folds)
    trials = len(config.search.trials)
    shared = "labelled subsets and data order"
    if not any(arm.backbone for arm in config.arms):
        shared = f"backbone, {shared}"
    blocks: list[Any] = [
        Table(header, rows, f"Arms. All share {shared}, but for what they differ in."),
        f"Validation labels: {validation} over {len(folds)} fold(s). "
        + _use_of_validation_labels(config, chosen)
        + _use_of_test_labels(folds, searched=bool(trials)),
        f"Hyper-parameter search: {trials} trial(s) per arm on fold {folds[0].name}, seed "
        f"{config.seeds[0]}, {config.search.labels} labels, chosen by validation "
        f"{METRIC_LABELS[config.search.metric]}, then frozen."
        if trials
        else "No hyper-parameter search: every arm has the options below.",
    ]
    if (out / "search.json").exists() and trials:
        search = json.loads((out / "search.json").read_text(encoding="utf-8"))
        metric = search["metric"]
        blocks.append(
            Table(
                ["arm", "trial", "options", f"validation {METRIC_LABELS[metric]}"],
                [
                    [
                        t["arm"],
                        str(t["trial"]) + (" *" if chosen.get(t["arm"]) == t["trial"] else ""),
                        json.dumps(t["options"]),
                        tables.number(t[metric]),
                    ]
                    for t in search["trials"]
                ],
                "Trials; * chosen.",
            )
        )
    return blocks


def _use_of_validation_labels(config: StudyConfig, chosen: dict[str, int]) -> str:
    """Say which arms choose the epoch by validation labels."""
    watched: dict[bool, list[str]] = {True: [], False: []}
    for arm in config.arms:
        if arm.early_stopping:
            trial = config.search.trials[chosen[arm.name]] if arm.name in chosen else {}
            monitor = finetune_options(config, arm, "", "all", 0, trial)["monitor"]
            watched[monitor.startswith("val_")].append(arm.name)
    said = ""
    if watched[True]:
        who = "Arms with early stopping"
        if watched[False]:
            who = f"Of the arms with early stopping {', '.join(watched[True])}"
        said = f"{who} use those of their fold, on top of the label budget, to choose the epoch. "
    if watched[False]:
        said += (
            f"By the training loss, without them, it is chosen for: {', '.join(watched[False])}. "
        )
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


def _cell_blocks(
    out: Path, cells: Sequence[Cell], failed: dict[str, str], missing: Sequence[str]
) -> list[Any]:
    rows = []
    for kind in ("features", "pretrain", "search", "train", "classical"):
        group = [cell for cell in cells if cell.kind == kind]
        done = [cell for cell in group if cell.finished(out) is not None]
        if group:
            bad = sum(cell.path in failed for cell in group)
            rows.append([kind, str(len(group)), str(len(done)), str(bad)])
    blocks: list[Any] = [Table(["kind", "cells", "finished", "failed"], rows)]
    if missing:
        blocks.append(f"Incomplete and left out: {', '.join(missing)}.")
    if failed:
        table = [[path, error.splitlines()[0]] for path, error in sorted(failed.items())]
        blocks.append(Table(["cell", "error"], table, "Failed cells"))
    return blocks


def _environment_blocks(out: Path) -> list[Any]:
    backend = keras_backend()
    rows = [
        ["python", platform.python_version()],
        ["platform", platform.platform()],
        ["backend of Keras", backend],
    ]
    packages = (*decisive_packages(backend), "tensorflow-datasets")
    rows += [[name, version] for name, version in package_versions(packages).items()]
    study = json.loads((out / "study.json").read_text(encoding="utf-8"))
    config = yaml.safe_load((out / "study.yaml").read_text(encoding="utf-8"))
    return [
        Table(["what", "version"], rows),
        "Command, and the whole configuration (study.yaml):",
        Code(study["command"]),
        Code(yaml.safe_dump(config, sort_keys=False).strip()),
    ]
