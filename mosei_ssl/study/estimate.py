"""What a study will cost, from steps measured on its own data."""

import contextlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mosei_ssl.config import FinetuneConfig, PretrainConfig
from mosei_ssl.study.cells import Cell, Fold
from mosei_ssl.study.engines import LocalEngine
from mosei_ssl.study.execute import peak_memory_mb
from mosei_ssl.study.options import StudyConfig
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.parsing import from_mapping

_STEPS = 6
# Options on which the cost of a step does not depend.
_FREE = {
    *("seed", "dataset", "labels", "epochs", "min_steps_per_epoch", "patience", "keep_best"),
    *("monitor", "from_scratch", "weight_prior", "optimizer", "pretrained"),
}


@dataclass(frozen=True)
class Measured:
    """Cost of one training's parts."""

    start: float  # seconds before the first step: data, model, tracing
    step: float  # seconds
    steps_per_epoch: int  # over the whole train split
    validation: float  # seconds per look at the validation split
    disk_mb: float
    memory_mb: float


def measure(cell: Cell) -> Measured:
    """Time a few training steps of a cell; nothing is written."""
    import keras

    from mosei_ssl.data import (
        load_pretraining_segments,
        load_segments,
        make_evaluation_dataset,
        make_training_dataset,
    )
    from mosei_ssl.models import EmotionModel, build_backbone, build_pretraining_model
    from mosei_ssl.training.devices import compiled

    began = time.perf_counter()
    pretraining = cell.kind == "pretrain"
    options = {**cell.options["run"], "data_dir": cell.data_dir, "run": ""}
    config: Any = from_mapping(PretrainConfig if pretraining else FinetuneConfig, options)
    if pretraining:
        segments = load_pretraining_segments(config, config.splits)
    else:
        segments = load_segments(config, "train").labelled()
    steps_per_epoch = int(make_training_dataset(segments, config).cardinality())
    config = compiled(config, steps_per_epoch * config.epochs)
    validation = load_segments(config, "validation")
    keras.config.set_dtype_policy(config.precision)
    backbone = build_backbone(config.backbone, **segments.normalization, seed=config.seed)
    if pretraining:
        model = build_pretraining_model(config.task, backbone, config.seed)
        model.compile(optimizer="adamw", jit_compile=config.jit_compile)
    else:
        model = EmotionModel(backbone, config.head, config.seed)
        if config.freeze_backbone:
            model.freeze_backbone()
        model.compile(optimizer="adamw", metrics=None, jit_compile=config.jit_compile)
    # A pretrained backbone has its own file in addition to that of the task.
    parameters = model.count_params() + (backbone.count_params() if pretraining else 0)
    data = make_training_dataset(
        segments, config, seed=config.seed, min_steps=2 * _STEPS, with_labels=not pretraining
    )
    ended = []
    for batch in data.take(2 * _STEPS):
        model.train_on_batch(*([batch] if pretraining else batch))
        ended.append(time.perf_counter())
    some = validation.subset(validation.length_order()[len(validation) // 2 :][:64])
    before = time.perf_counter()
    for batch in make_evaluation_dataset(some, config, with_labels=False):
        model(batch, training=False)
    look = (time.perf_counter() - before) * len(validation) / len(some)
    return Measured(
        start=ended[0] - began,
        # The first steps meet new shapes, which cost more than the average one.
        step=(ended[-1] - ended[_STEPS - 1]) / _STEPS,
        steps_per_epoch=steps_per_epoch,
        validation=look,
        disk_mb=parameters * 4 / 1e6,
        memory_mb=peak_memory_mb(),
    )


def cost_key(cell: Cell) -> str:
    """A text that is the same for trainings, of any fold, that one measurement stands for."""
    options = {key: value for key, value in cell.options["run"].items() if key not in _FREE}
    stage = "pretrain" if cell.kind == "pretrain" else "train"
    return f"{stage} {json.dumps(options, sort_keys=True)}"


def measure_all(cells: Sequence[Cell], threads: int) -> dict[str, Measured]:
    """Measure each kind of training once, in its own process; by `cost_key`."""
    kinds = {cost_key(cell): cell for cell in cells if "run" in cell.options}
    measured = {}
    with tempfile.TemporaryDirectory() as logs:
        for key, cell in kinds.items():
            # Each with its own engine, since the peak of memory is that of a process.
            with contextlib.closing(LocalEngine(1, threads, Path(logs))) as engine:
                measured[key] = engine.submitter(1, compiles=False)(measure, cell).result()
    return measured


def estimate_table(
    config: StudyConfig, folds: Sequence[Fold], cells: Sequence[Cell], out: Path, workers: int
) -> Group:
    """List a study's runs and estimate the rest, at most; a UserError if the disk is too small."""
    measured = measure_all(cells, config.threads)
    of_fold = {fold.name: fold for fold in folds}
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.kind, cell.arm, cell.budget), []).append(cell)
    table = Table(title=f"{len(cells)} runs", title_justify="left")
    for column in ("kind", "arm", "labels", "runs", "finished", "seconds each", "total h", "MB"):
        table.add_column(column, justify="left" if column in ("kind", "arm") else "right")
    total, disk = 0.0, 0.0
    for names, group in groups.items():
        rest = [cell for cell in group if cell.finished(out) is None]
        seconds = sum(cell_seconds(cell, of_fold[cell.fold], measured) for cell in rest)
        size = sum(_cell_disk(cell, of_fold[cell.fold], measured) for cell in rest)
        total, disk = total + seconds, disk + size
        each = f"{seconds / len(rest):.1f}" if rest else "-"
        numbers = (len(group), len(group) - len(rest), each)
        table.add_row(*names, *map(str, numbers), f"{seconds / 3600:.2f}", f"{size:.1f}")
    memory = max((m.memory_mb for m in measured.values()), default=0.0)
    place = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e6
    if disk > free:
        raise UserError(f"the study needs {disk:.0f} MB at {out}, {free:.0f} MB are free")
    lines = [
        f"folds: {', '.join(f'{f.name} = {f.dataset}' for f in folds)}",
        f"time: about {total / 3600 / workers:.2f} h with {workers} worker(s) of "
        f"{config.threads} thread(s), {total / 3600:.2f} h of work",
        f"memory: about {memory * workers:.0f} MB ({memory:.0f} MB each worker)",
        f"disk: about {disk:.0f} MB at {out} ({free:.0f} MB free)",
        "Measured on a few steps; early stopping may end trainings sooner.",
    ]
    return Group(table, *map(Text, lines))


def cell_seconds(cell: Cell, fold: Fold, measured: dict[str, Measured]) -> float:
    """Estimate how long a cell takes."""
    labels = fold.train if cell.budget in ("all", "") else int(cell.budget)
    if cell.kind == "features":
        return 2.0 + 2e-6 * fold.train_frames
    if cell.kind == "classical":
        # Support vector regression grows with the square of the labels.
        return 1.0 + 6e-7 * labels**2 + 2e-4 * labels
    cost = measured[cost_key(cell)]
    options = cell.options["run"]
    if options.get("freeze_backbone"):  # a look at the segments, and a head fitted at once
        return cost.start + 2 * cost.validation
    steps = cost.steps_per_epoch
    if cell.kind != "pretrain":
        steps = max(math.ceil(labels / options["batch_size"]), options["min_steps_per_epoch"])
    return cost.start + options["epochs"] * (steps * cost.step + cost.validation)


def _cell_disk(cell: Cell, fold: Fold, measured: dict[str, Measured]) -> float:
    predictions = fold.test * 6 * 4 * 4 / 1e6
    if cell.kind == "features":
        return (fold.train + fold.test) * (4 * 74 + 6 + 20) * 4 / 1e6
    if cell.kind == "classical":
        return predictions * 5
    size = measured[cost_key(cell)].disk_mb * 1.1 + 0.3
    return size + (0.0 if cell.kind == "pretrain" else predictions)
