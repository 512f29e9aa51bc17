"""A run as one trial of TensorBoard's HParams dashboard: its options beside its scores."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mosei_ssl.metrics import METRICS

FOLDER = "hparams"
"""Folder of the dashboard's events in a run directory."""

# Without a list of metrics, which would also fix the columns of hyper-parameters for all kinds of
# run, the dashboard shows the scalars that lie beside them: these and no others.
_SHOWN = ("loss", *METRICS)


def trial_name(run: Path) -> str:
    """Name of a run's trial.

    TensorBoard takes trials of one name for one trial. A study's runs are told apart by the study's
    folder, arm, labels, fold and seed, others by their folder and the one above.

    Args:
        run: the run directory.

    Returns:
        A short name.

    Example:
        >>> trial_name(Path("/home/me/runs/ssl200"))
        'runs/ssl200'
        >>> trial_name(Path("studies/first/cells/train/ssl/labels-25/fold-1/seed-0/run"))
        'first/ssl/labels-25/fold-1/seed-0'
    """
    parts = Path(run).absolute().parts
    if parts[-1] == "run" and "cells" in parts[:-2]:
        begin = len(parts) - 2 - parts[-3::-1].index("cells")
        cell = parts[begin:-1]
        return "/".join((parts[begin - 2], *(cell[1:] if cell[0] == "train" else cell)))
    return "/".join(parts[-2:])


class Trial(keras.callbacks.Callback):
    """Writes a run's hyper-parameters, and its validation scores as `validation/NAME`.

    The dashboard shows the last value of a score; so an epoch is written only while its weights
    are those that the run keeps.

    Args:
        directory: the run directory.
        hparams: hyper-parameters by name; numbers stay numbers, so that they are sorted as such.
        kept: whether the weights of an epoch are the ones kept so far; by default those of the
            last epoch are.
    """

    def __init__(
        self,
        directory: Path,
        hparams: Mapping[str, Any],
        kept: Callable[[int], bool] = lambda epoch: True,
    ):
        super().__init__()
        self.directory = Path(directory)
        self.hparams = dict(hparams)
        self.kept = kept
        # One for the whole training: TensorBoard reads files of the same second in any order.
        self.writer: Any = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        from tensorboard.plugins.hparams import api as hp

        if self.writer is None:
            self.writer = _writer(self.directory)
        with self.writer.as_default():
            hp.hparams(self.hparams, trial_id=trial_name(self.directory))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.kept(epoch):
            scores = {
                name.removeprefix("val_"): value
                for name, value in (logs or {}).items()
                if name.startswith("val_")
            }
            with self.writer.as_default():
                _write("validation", scores, epoch + 1)


def write_scores(run: Path, split: str, scores: Mapping[str, float | None], epoch: int) -> None:
    """Add scores to a run's trial, shown as `SPLIT/NAME`; those per emotion are left out.

    Args:
        run: the run directory.
        split: what was scored.
        scores: numbers by name; None where one is undefined.
        epoch: the epoch whose weights were scored, counted from 1.
    """
    writer = _writer(run)
    with writer.as_default():
        _write(split, scores, epoch)
    writer.close()


def _writer(run: Path) -> Any:
    return tf.summary.create_file_writer(str(Path(run) / FOLDER))


def _write(split: str, scores: Mapping[str, float | None], epoch: int) -> None:
    for name in _SHOWN:
        if name in scores:
            value = scores[name]
            number = math.nan if value is None else float(value)
            tf.summary.scalar(f"{split}/{name}", number, step=epoch)
