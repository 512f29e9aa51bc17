"""What a study will cost, from steps measured on its own data."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mosei_ssl.study.cells import Cell, Fold
from mosei_ssl.study.config import StudyConfig
from mosei_ssl.study.memory import peak_memory_mb
from mosei_ssl.study.workers import environment
from mosei_ssl.utils.errors import UserError

_STEPS = 6


@dataclasses.dataclass(frozen=True)
class Measured:
    """Cost of one training's parts, measured.

    Args:
        start: Seconds before the first step: data, model, tracing.
        step: Seconds per training step.
        steps_per_epoch: Steps of an epoch over the whole train split.
        validation: Seconds per look at the validation split.
        disk_mb: Size of a finished run's model files.
        memory_mb: Peak memory of the process.
    """

    start: float
    step: float
    steps_per_epoch: int
    validation: float
    disk_mb: float
    memory_mb: float


def measure(kind: str, options: dict[str, Any]) -> Measured:
    """Run a few training steps of a cell and time them; nothing is written.

    Args:
        kind: "pretrain" or "train".
        options: The cell's run options.

    Returns:
        What its parts cost.

    Example:
        >>> measure("pretrain", cell.options["run"]).step  # doctest: +SKIP
        0.04
    """
    from mosei_ssl.data import (
        load_pretraining_segments,
        load_segments,
        make_evaluation_dataset,
        make_training_dataset,
    )
    from mosei_ssl.models import EmotionModel, build_pretraining_model
    from mosei_ssl.study.parsing import build
    from mosei_ssl.training import FinetuneConfig, PretrainConfig
    from mosei_ssl.training.loop import make_optimizer, prepare
    from mosei_ssl.training.pretraining import backbone_for

    started = time.perf_counter()
    config: Any
    if kind == "pretrain":
        config = build(PretrainConfig, options, fixed={"run": ""})
    else:
        config = build(FinetuneConfig, options, fixed={"run": "", "pretrained": None})
    if kind == "pretrain":
        segments = load_pretraining_segments(config.data, config.splits)
    else:
        segments = load_segments(config.data, "train").labelled()
    validation = load_segments(config.data, "validation")
    prepare(config.precision, config.seed)
    backbone = backbone_for(config.backbone, segments, config.seed)
    if kind == "pretrain":
        model = build_pretraining_model(config.task, backbone, config.seed)
        model.compile(optimizer=make_optimizer(config.optimizer, 100))
        # The backbone has a file of its own beside that of the task.
        parameters = model.count_params() + backbone.count_params()
    else:
        model = EmotionModel(backbone, dataclasses.asdict(config.head), config.seed)
        parameters = model.count_params()
        if config.freeze_backbone:
            model.freeze_backbone()
        model.compile(optimizer=make_optimizer(config.optimizer, 100), loss=model.loss_function)
    data = make_training_dataset(
        segments, config.data, seed=config.seed, with_labels=kind != "pretrain"
    )
    batches = iter(data.dataset.take(2 * _STEPS))

    def step() -> None:
        batch = next(batches)
        if kind == "pretrain":
            model.train_on_batch(batch)
        else:
            model.train_on_batch(*batch)

    step()
    start = time.perf_counter() - started
    # The first steps meet new shapes, which cost more than the average one.
    for _ in range(_STEPS - 1):
        step()
    before = time.perf_counter()
    for _ in range(_STEPS):
        step()
    seconds = (time.perf_counter() - before) / _STEPS
    some = validation.subset(validation.length_order()[len(validation) // 2 :][:64])
    before = time.perf_counter()
    for batch in make_evaluation_dataset(some, config.data, with_labels=False):
        model(batch, training=False)
    look = (time.perf_counter() - before) * len(validation) / len(some)
    return Measured(
        start=start,
        step=seconds,
        steps_per_epoch=data.steps_per_epoch,
        validation=look,
        disk_mb=parameters * 4 / 1e6,
        memory_mb=peak_memory_mb(),
    )


# What a step costs depends on none of these.
_FREE = (
    "seed",
    "labels",
    "epochs",
    "min_steps_per_epoch",
    "patience",
    "keep_best",
    "monitor",
    "from_scratch",
    "weight_prior",
    "optimizer",
)


def cost_key(cell: Cell) -> str:
    """Name what a training's steps cost the same for.

    Args:
        cell: A cell that trains.

    Returns:
        Text, the same for cells of which one measurement stands for all; folds are taken to be
        alike.

    Example:
        >>> cost_key(cell)  # doctest: +SKIP
    """
    options = {key: value for key, value in cell.options["run"].items() if key not in _FREE}
    options["data"] = {k: v for k, v in options["data"].items() if k != "dataset"}
    return f"{_stage(cell)} {json.dumps(options, sort_keys=True)}"


def _stage(cell: Cell) -> str:
    return "pretrain" if cell.kind == "pretrain" else "train"


def _measure_apart(kind: str, options: dict[str, Any], threads: int) -> Measured:
    """Measure in a process with the worker's number of threads."""
    before = dict(os.environ)
    os.environ.update(environment(threads))
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(measure, (kind, options))
    finally:
        for name in environment(threads):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def estimate_table(
    config: StudyConfig, folds: Sequence[Fold], cells: Sequence[Cell], out: Path, workers: int
) -> Group:
    """List a study's cells and estimate what they need.

    Times are upper bounds where early stopping may end a training.

    Args:
        config: The study.
        folds: Its folds.
        cells: All cells.
        out: The study's folder; what is finished there costs nothing.
        workers: Cells at a time.

    Returns:
        A rich renderable.

    Raises:
        UserError: If the disk has less room than the study needs.

    Example:
        >>> estimate_table(config, folds, cells, Path("study"), 2)  # doctest: +SKIP
    """
    measured: dict[str, Measured] = {}
    for cell in cells:
        if "run" in cell.options and cost_key(cell) not in measured:
            found = _measure_apart(_stage(cell), cell.options["run"], config.threads)
            measured[cost_key(cell)] = found
    of_fold = {fold.name: fold for fold in folds}
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.kind, cell.arm, cell.budget), []).append(cell)
    table = Table(title=f"{len(cells)} cells", title_justify="left")
    for column in ("kind", "arm", "labels", "cells", "finished", "seconds each", "total h", "MB"):
        table.add_column(column, justify="left" if column in ("kind", "arm") else "right")
    total, disk = 0.0, 0.0
    for (kind, arm, budget), group in groups.items():
        rest = [cell for cell in group if cell.finished(out) is None]
        seconds = sum(cell_seconds(cell, of_fold[cell.fold], measured) for cell in rest)
        size = sum(_cell_disk(cell, of_fold[cell.fold], measured) for cell in rest)
        total, disk = total + seconds, disk + size
        table.add_row(
            kind,
            arm,
            budget,
            str(len(group)),
            str(len(group) - len(rest)),
            f"{seconds / len(rest):.1f}" if rest else "-",
            f"{seconds / 3600:.2f}",
            f"{size:.1f}",
        )
    memory = max((m.memory_mb for m in measured.values()), default=0.0)
    free = shutil.disk_usage(_existing(out)).free / 1e6
    if disk > free:
        raise UserError(f"the study needs {disk:.0f} MB at {out}, {free:.0f} MB are free")
    paths = Counter("/".join(cell.path.split("/")[:2]) for cell in cells)
    lines = [
        f"folds: {', '.join(f'{f.name} = {f.dataset}' for f in folds)}",
        f"cells in: {', '.join(f'{path} ({count})' for path, count in sorted(paths.items()))}",
        f"time: about {total / 3600 / workers:.2f} h with {workers} worker(s) of "
        f"{config.threads} thread(s), {total / 3600:.2f} h of work",
        f"memory: about {memory * workers:.0f} MB ({memory:.0f} MB each worker)",
        f"disk: about {disk:.0f} MB at {out} ({free:.0f} MB free)",
        *_frame_cache(config),
        "Measured on a few steps; early stopping may end trainings sooner.",
    ]
    return Group(table, *(Text(line) for line in lines))


def _frame_cache(config: StudyConfig) -> list[str]:
    """Size of the frames kept on disk; finding the folds has written all that a study needs."""
    root = Path(config.data.cache_dir or Path(config.data.data_dir) / "frame_cache")
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 1e6
    return [f"frame cache: {size:.0f} MB at {root}, written already"] if size else []


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def cell_seconds(cell: Cell, fold: Fold, measured: dict[str, Measured]) -> float:
    """Estimate how long a cell takes.

    Args:
        cell: The cell.
        fold: Its fold.
        measured: Costs by `cost_key`.

    Returns:
        Seconds.

    Example:
        >>> cell_seconds(cell, fold, measured)  # doctest: +SKIP
        31.0
    """
    labels = fold.train if cell.budget in ("all", "") else int(cell.budget)
    if cell.kind == "features":
        return 2.0 + 2e-6 * fold.train_frames
    if cell.kind == "classical":
        # Support vector regression grows with the square of the labels.
        return 1.0 + 6e-7 * labels**2 + 2e-4 * labels
    cost = measured[cost_key(cell)]
    options = cell.options["run"]
    steps = cost.steps_per_epoch
    if cell.kind != "pretrain":
        wanted = math.ceil(labels / options["data"]["batch_size"])
        steps = max(wanted, options["min_steps_per_epoch"])
    return cost.start + options["epochs"] * (steps * cost.step + cost.validation)


def _cell_disk(cell: Cell, fold: Fold, measured: dict[str, Measured]) -> float:
    predictions = fold.test * 6 * 4 * 4 / 1e6
    if cell.kind == "features":
        return (fold.train + fold.test) * (4 * 74 + 6 + 20) * 4 / 1e6
    if cell.kind == "classical":
        return predictions * 5
    cost = measured[cost_key(cell)]
    return cost.disk_mb * 1.1 + 0.3 + (0.0 if cell.kind == "pretrain" else predictions)
