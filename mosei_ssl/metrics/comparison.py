"""What a run's kept predictions come to, alone or beside another run's, with intervals."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mosei_ssl.metrics.table import format_score
from mosei_ssl.metrics.video_sums import with_intervals
from mosei_ssl.utils.errors import UserError

RESAMPLES = 2000
_FEWEST = 5  # speakers whose resampling says something
_FEW = 10  # units below which an interval itself is uncertain
_OUTPUTS = ("intensity", "class", "present", "expected")


def read_predictions(file: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Video ids [N], labels [N, 6] and predictions [N, 6] that `evaluate` kept of a split.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            found = stored["video_ids"], stored["labels"]
            return *found, {name: stored[name] for name in _OUTPUTS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged ({error}): evaluate the run again.") from None


def score_cell(found: np.ndarray, sign: str = "") -> str:
    """Write a score and the ends of its interval [3]; with `sign` "+", a difference."""
    value, low, high = found
    if np.isnan(value):
        return format_score(None)
    interval = "" if np.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{value:{sign}.3f}{interval}"


def change(ours: Path, theirs: Path, units: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Overall scores of a file of predictions minus another's, with the ends of their intervals.

    Args:
        ours: predictions that `evaluate` kept of a split.
        theirs: those of another run, of the same segments.
        units: [N] what 95 % intervals are over; by default videos.

    Returns:
        [3] of each metric.

    Raises:
        UserError: a file is missing or damaged.
    """
    videos, truth, found = read_predictions(ours)
    minus = read_predictions(theirs)[2]
    units = videos if units is None else units
    differences = with_intervals(units, truth, found, RESAMPLES, minus=minus)
    return {metric: values[:, -1] for metric, values in differences.items()}


def summary(
    run: Path,
    ssl: Path,
    baseline: Path,
    labels: int,
    split: str = "test",
    speakers: Mapping[str, str] | None = None,
) -> str:
    """What labels and pretraining gave, in a sentence or two; the runs must have been evaluated.

    Args:
        run: directory of the run that is used.
        ssl: that of the pretrained run.
        baseline: that of the run with the identical backbone from scratch.
        labels: labels that all had.
        split: split that all were evaluated on.
        speakers: speaker by video id. Intervals are over speakers, or over recordings where fewer
            than five speakers are known.

    Returns:
        For example "With 50 labels: r 0.291 [0.230, 0.351], AUROC 0.702 [0.655, 0.748]; chance is 0
        and 0.5; pretraining changed r by +0.034 [+0.011, +0.058] (95 % intervals over 12
        speakers)." It is added if r cannot be told from chance, or if there is too little to say.

    Raises:
        UserError: predictions are missing or damaged.
    """
    file = f"predictions-{split}.npz"
    videos, truth, ours = read_predictions(run / file)
    units = np.array([(speakers or {}).get(video, "") for video in videos])
    over = "speakers"
    if len(np.unique(units)) < _FEWEST or "" in units:
        units, over = videos, "recordings"
    own = with_intervals(units, truth, ours, RESAMPLES)
    pair = (read_predictions(path / file)[2] for path in (ssl, baseline))
    change = with_intervals(units, truth, next(pair), RESAMPLES, minus=next(pair))
    r, auroc = (score_cell(own[name][:, -1]) for name in ("pearson_r", "auroc"))
    changed = score_cell(change["pearson_r"][:, -1], sign="+")
    count = len(np.unique(units))
    text = (
        f"With {labels} labels: r {r}, AUROC {auroc}; chance is 0 and 0.5; pretraining changed r "
        f"by {changed} (95 % intervals over {count} {over})."
    )
    if count < _FEW:
        return f"{text} {count} {over} are too few to say much."
    _, low, high = own["pearson_r"][:, -1]
    return text if low > 0 or high < 0 else f"{text} That r cannot be told from chance."
