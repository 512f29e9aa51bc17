"""Progress with the time left: a line on a terminal, now and then one in a log file."""

import datetime
import logging
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_log = logging.getLogger(__name__)

_LOG_SECONDS = 15
_SCORES = ("val_mae", "val_loss", "loss")
_WIDEST_SCORES = "  ".join(f"{name} 0.0000" for name in _SCORES)
_SHORTEST_BAR, _LONGEST_BAR = 10, 40


class ProgressLine(keras.callbacks.Callback):
    """Shows epoch, step, scores and the time left.

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
        epoch = max(1, -(-done // self.steps))
        return f"epoch {epoch}/{self.epochs}, step {done}/{self.epochs * self.steps}"

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.done = epoch * self.steps

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
            left = "?"
            if done > first:
                seconds = (now - start) / (done - first) * (self.epochs * self.steps - done)
                left = str(datetime.timedelta(seconds=round(seconds)))
            scores = "  ".join(self.scores)
            _log.info("%s: %s, %s left  %s", self.title, self._place(done), left, scores)

    def close(self) -> None:
        """End the display, also after an error."""
        if self.progress:
            self.progress.stop()
            self.progress = None

    def on_train_end(self, logs: dict | None = None) -> None:
        self.close()
