"""Keras callbacks of a run: history, validation scores, best weights, progress, TensorBoard."""

import csv
import datetime
import io
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mosei_ssl.metrics import EMOTIONS, LOWER_IS_BETTER
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_bytes, write_text

_log = logging.getLogger(__name__)

_LOG_SECONDS = 15
_SCORES = ("val_mae", "val_loss", "loss")
_WIDEST_SCORES = "  ".join(f"{name} 0.0000" for name in _SCORES)
_SHORTEST_BAR, _LONGEST_BAR = 10, 40


class Validation(keras.callbacks.Callback):
    """Adds the scores of a validation function to the epoch's logs, as `val_NAME`.

    Args:
        score: called at the end of each epoch; returns numbers by name.
    """

    def __init__(self, score: Callable[[], dict[str, float]]):
        super().__init__()
        self.score = score

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs.update({f"val_{name}": value for name, value in self.score().items()})


class History(keras.callbacks.Callback):
    """Keeps the epochs' logs and writes them to a CSV file.

    Args:
        file: the CSV file, written anew after each epoch.
    """

    def __init__(self, file: Path):
        super().__init__()
        self.file = Path(file)
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, **row})
        text = io.StringIO()
        names = dict.fromkeys(name for row in self.rows for name in row)
        writer = csv.DictWriter(text, fieldnames=list(names), restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.file, text.getvalue())

    def get_state(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


class BestWeights(keras.callbacks.Callback):
    """Early stopping that survives interruption; keeps the weights of the best epoch.

    Args:
        file: where the best weights are kept.
        monitor: name of the score in the logs: a loss, or a metric, of one emotion or of all.
        patience: epochs without improvement after which training stops; 0 never stops.
    """

    def __init__(self, file: Path, monitor: str, patience: int):
        super().__init__()
        self.file = Path(file)
        self.monitor = monitor
        self.patience = patience
        self.sign = 1.0 if _lower_is_better(monitor) else -1.0
        self.best = math.inf
        self.best_epoch = -1
        self.waited = 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        if self.monitor not in logs:
            raise UserError(
                f"there is no score named {self.monitor!r} to monitor; there are: "
                f"{', '.join(sorted(logs))}."
            )
        value = self.sign * float(logs[self.monitor])
        # A score that is undefined (NaN) is never an improvement; the first epoch always counts.
        if value < self.best or self.best_epoch < 0:
            self.best = value if math.isfinite(value) else math.inf
            self.best_epoch, self.waited = epoch, 0
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            weights = {f"{i:04d}": w for i, w in enumerate(self.model.get_weights())}
            buffer = io.BytesIO()
            np.savez(buffer, **weights)
            write_bytes(self.file, buffer.getvalue())
            return
        self.waited += 1
        if self.patience and self.waited >= self.patience:
            self.model.stop_training = True

    def restore(self) -> None:
        """Put the best epoch's weights into the model."""
        with np.load(self.file, allow_pickle=False) as best:
            self.model.set_weights([best[name] for name in sorted(best.files)])

    def get_state(self) -> dict[str, Any]:
        best = None if math.isinf(self.best) else self.best
        return {"best": best, "best_epoch": self.best_epoch, "waited": self.waited}

    def set_state(self, state: dict[str, Any]) -> None:
        self.best = math.inf if state["best"] is None else state["best"]
        self.best_epoch, self.waited = state["best_epoch"], state["waited"]


def _lower_is_better(monitor: str) -> bool:
    name = monitor.removeprefix("val_")
    for emotion in EMOTIONS:
        name = name.removesuffix(f"_{emotion}")
    return name == "loss" or name in LOWER_IS_BETTER


class ProgressLine(keras.callbacks.Callback):
    """Progress with the time left: a bar on a terminal, now and then a line in a log file.

    Args:
        title: what is running.
        epochs: number of epochs in all.
        steps: steps per epoch.
    """

    def __init__(self, title: str, epochs: int, steps: int):
        super().__init__()
        self.title, self.epochs, self.steps = title, epochs, steps
        self.progress: Progress | None = None
        self.scores: list[str] = []
        self.room = 0
        self.skipped = 0
        self.said = time.monotonic()
        # Where this process took up the run, and when: the time left is judged by what it did.
        self.began: tuple[int, float] | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        console = Console(stderr=True)
        # What the words and times leave of a line, gaps between columns included, goes to the
        # scores that fit, the first ones first; then to the bar.
        words = f"{self.title} {self._place(self.epochs * self.steps)}  0:00:00 0:00:00"
        self.room = console.width - len(words)
        bar = min(_LONGEST_BAR, self.room - len(_WIDEST_SCORES) - 1)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            *([BarColumn(bar)] if bar >= _SHORTEST_BAR else []),
            TextColumn("{task.fields[place]}", markup=False),
            TextColumn("{task.fields[scores]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(
            self.title, total=self.epochs * self.steps, place=self._place(0), scores=""
        )
        self.progress.start()

    def _place(self, done: int) -> str:
        total = self.epochs * self.steps
        epoch = max(1, -(-done // self.steps))
        return f"epoch {epoch}/{self.epochs}, step {done}/{total}"

    def skip(self, step: int) -> None:
        """Begin the next epoch at this step: Keras counts the rest of one from 0."""
        self.skipped = step

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.done = epoch * self.steps + self.skipped
        self.skipped = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._show(self.done + batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        self.scores = [f"{name} {float(logs[name]):.4f}" for name in _SCORES if name in logs]
        self._show((epoch + 1) * self.steps)

    def _show(self, done: int) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began = done, now
        if self.progress is None:
            return
        fitting = list(self.scores)
        while fitting and len("  ".join(fitting)) > self.room:
            fitting.pop()
        self.progress.update(
            self.task, completed=done, place=self._place(done), scores="  ".join(fitting)
        )
        if self.progress.disable and now - self.said >= _LOG_SECONDS:
            self.said = now
            first, start = self.began
            left = (
                (now - start) / (done - first) * (self.epochs * self.steps - done)
                if done > first
                else None
            )
            _log.info(
                "%s: %s, %s left  %s",
                self.title,
                self._place(done),
                "?" if left is None else datetime.timedelta(seconds=round(left)),
                "  ".join(self.scores),
            )

    def close(self) -> None:
        """End the display, also after an error."""
        if self.progress:
            self.progress.stop()
            self.progress = None

    def on_train_end(self, logs: dict | None = None) -> None:
        self.close()


class Scalars(keras.callbacks.Callback):
    """Writes the epochs' logs to TensorBoard: `train/` and, for names in `val_`, `validation/`.

    The Keras callback of the same purpose keeps its step count in memory, so a resumed run would
    start again from zero; this one counts epochs.

    Args:
        directory: the run directory, itself the TensorBoard log directory.
        speed: gives numbers on the epoch's speed by name, shown as `speed/NAME`. They differ from
            run to run, so they do not belong to the logs that the history keeps.
    """

    def __init__(
        self,
        directory: Path,
        speed: Callable[[], dict[str, float]] = dict,
    ):
        super().__init__()
        self.directory = Path(directory)
        self.speed = speed
        self.writers: dict[str, Any] = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        for name in ("train", "validation"):
            self.writers[name] = tf.summary.create_file_writer(str(self.directory / name))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        values = dict(logs or {})
        values["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )
        for name, value in values.items():
            split = "validation" if name.startswith("val_") else "train"
            with self.writers[split].as_default():
                tf.summary.scalar(
                    f"epoch/{name.removeprefix('val_')}", float(value), step=epoch + 1
                )
        with self.writers["train"].as_default():
            for name, value in self.speed().items():
                tf.summary.scalar(f"speed/{name}", value, step=epoch + 1)
        for writer in self.writers.values():
            writer.flush()
