"""A run as one trial of TensorBoard's HParams dashboard: its options beside its scores."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from mosei_ssl.metrics import METRICS

# Without a list of metrics, which would also fix the columns of hyper-parameters for all kinds of
# run, the dashboard shows the scalars that lie beside them: these and no others.
_SHOWN = ("loss", *METRICS)


def trial_name(run: Path) -> str:
    """Name of a run's trial; TensorBoard takes trials of one name for one trial.

    It is the study's folder, arm, labels, fold and seed, or the run's folder and the one above.

    Examples:
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


def write_trial(
    run: Path, hparams: Mapping[str, Any], logs: Mapping[str, float | None], epoch: int
) -> None:
    """Write a run's hyper-parameters, and the validation scores (`val_NAME`) of the epoch kept."""
    from tensorboard.plugins.hparams import api as hp

    with tf.summary.create_file_writer(str(Path(run) / "hparams")).as_default():
        hp.hparams(dict(hparams), trial_id=trial_name(run))
    scores = {name.removeprefix("val_"): logs[name] for name in logs if name.startswith("val_")}
    write_scores(run, "validation", scores, epoch)


def write_scores(run: Path, split: str, scores: Mapping[str, float | None], epoch: int) -> None:
    """Add scores to a run's trial, shown as `SPLIT/NAME`; those per emotion are left out."""
    with tf.summary.create_file_writer(str(Path(run) / "hparams")).as_default():
        for name in _SHOWN:
            if name in scores:
                value = scores[name]
                number = math.nan if value is None else float(value)
                tf.summary.scalar(f"{split}/{name}", number, step=epoch)
