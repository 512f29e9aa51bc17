"""What a run's kept predictions come to, alone or beside another run's, with intervals."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosei_ssl.metrics.scores import PREDICTION_KEYS
from mosei_ssl.metrics.table import format_score
from mosei_ssl.metrics.video_sums import with_intervals
from mosei_ssl.utils.errors import UserError

RESAMPLES = 2000
FEWEST_SPEAKERS = 5
"""Of fewer, resampling says nothing."""

_FEW = 10  # units below which an interval itself is uncertain


@dataclass(frozen=True)
class KeptPredictions:
    """What `evaluate` kept of a split's N segments."""

    videos: np.ndarray  # [N] ids
    speakers: np.ndarray  # [N] names; ids of videos where they are not known
    labels: np.ndarray  # float [N, 6]
    values: dict[str, np.ndarray]  # float [N, 6] of each output

    @property
    def units(self) -> np.ndarray:
        """[N] what intervals are over: speakers, or videos where fewer than five are known."""
        return self.speakers if len(np.unique(self.speakers)) >= FEWEST_SPEAKERS else self.videos

    @property
    def over(self) -> str:
        """What intervals are over, in a word."""
        return "recordings" if np.array_equal(self.units, self.videos) else "speakers"


def read_predictions(file: Path) -> KeptPredictions:
    """Read what `evaluate` kept of a split.

    Raises:
        UserError: the file is damaged, or of an earlier version.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            values = {name: stored[name] for name in PREDICTION_KEYS}
            return KeptPredictions(
                stored["video_ids"], stored["speakers"], stored["labels"], values
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged or old ({error}): evaluate the run again.") from None


def score_cell(found: Sequence[float] | np.ndarray, sign: str = "") -> str:
    """Write a score and the ends of its interval [3]; with `sign` "+", a difference."""
    value, low, high = found
    if np.isnan(value):
        return format_score(None)
    interval = "" if np.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{value:{sign}.3f}{interval}"


def change(ours: KeptPredictions, theirs: KeptPredictions) -> dict[str, np.ndarray]:
    """Overall scores of predictions minus those of others, of the same segments.

    Returns:
        [3] of each metric: the difference and the ends of its 95 % interval.
    """
    differences = with_intervals(
        ours.units, ours.labels, ours.values, RESAMPLES, minus=theirs.values
    )
    return {metric: values[:, -1] for metric, values in differences.items()}


def summary(run: Path, ssl: Path, baseline: Path, labels: int) -> str:
    """What labels and pretraining gave, in a sentence or two.

    The runs, all with so many labels, have been evaluated on the test split: the one that is used,
    the pretrained one, and the one with the identical backbone from scratch. For example "With 50
    labels: r 0.291 [0.230, 0.351], AUROC 0.702 [0.655, 0.748]; chance is 0 and 0.5; pretraining
    changed r by +0.034 [+0.011, +0.058] (95 % intervals over 12 speakers)." It is added if r cannot
    be told from chance, or if there is too little to say. Raises a UserError if predictions are
    missing or damaged.
    """
    file = "predictions-test.npz"
    kept = read_predictions(run / file)
    own = with_intervals(kept.units, kept.labels, kept.values, RESAMPLES)
    pair = (read_predictions(path / file) for path in (ssl, baseline))
    r, auroc = (score_cell(own[name][:, -1]) for name in ("pearson_r", "auroc"))
    changed = score_cell(change(*pair)["pearson_r"], sign="+")
    count, over = len(np.unique(kept.units)), kept.over
    text = (
        f"With {labels} labels: r {r}, AUROC {auroc}; chance is 0 and 0.5; pretraining changed r "
        f"by {changed} (95 % intervals over {count} {over})."
    )
    if count < _FEW:
        return f"{text} {count} {over} are too few to say much."
    _, low, high = own["pearson_r"][:, -1]
    return text if low > 0 or high < 0 else f"{text} That r cannot be told from chance."
