"""Collecting cells: the CSV of all scores, and the sums that statistics need."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mosei_ssl.metrics import METRICS
from mosei_ssl.metrics.comparison import FEWEST_SPEAKERS
from mosei_ssl.metrics.scores import PREDICTION_KEYS
from mosei_ssl.metrics.video_sums import VideoSums, video_sums
from mosei_ssl.study.cells import Cell
from mosei_ssl.utils.files import write_text

HEADER = ("arm", "labels", "budget", "fold", "seed", "metric", "emotion", "value")


def write_results(out: Path, cells: Sequence[Cell]) -> Path:
    """Write results.csv: a row per finished cell and metric; no timings, which repeats change."""
    rows = []
    for cell in cells:
        result = cell.finished(out) or {}
        for name, scores in result.get("metrics", {}).items():
            place = (cell.arm or name, result["labels"], cell.budget, cell.fold, cell.seed)
            for emotion, values in {"overall": scores["overall"], **scores["per_emotion"]}.items():
                for metric in METRICS:
                    value = values[metric]
                    text = "" if value is None else f"{value:.6f}"
                    rows.append((*place, metric, emotion, text))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([HEADER, *sorted(rows)])
    file = out / "results.csv"
    write_text(file, table.getvalue())
    return file


class CellSums(Mapping[tuple[str, int], VideoSums]):
    """Sums of one arm at one budget by (fold, number of the seed), computed when asked for."""

    def __init__(self, files: dict[tuple[str, int], Path], name: str, units: str) -> None:
        self.files = files
        self._name = name
        self._units = units

    def __getitem__(self, key: tuple[str, int]) -> VideoSums:
        with np.load(self.files[key], allow_pickle=False) as file:
            predictions = {k: file[f"{self._name}/{k}"] for k in PREDICTION_KEYS}
            return video_sums(file[self._units], file["labels"], predictions)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def collect_sums(
    out: Path, cells: Sequence[Cell], seeds: Sequence[int]
) -> tuple[dict[str, dict[str, CellSums]], list[str]]:
    """Find test predictions by arm and budget; and names of incomplete budgets, left out."""
    sums: dict[str, dict[str, CellSums]] = {}
    complete: set[tuple[str, int]] = set()
    paths = [out / cell.path / "predictions.npz" for cell in cells if cell.finished(out)]
    units = _units(paths)
    wanted: dict[str, list[str]] = {}
    for cell in cells:
        key = (cell.fold, seeds.index(cell.seed))
        complete.add(key)
        wanted.setdefault(cell.arm, []).append(cell.budget)
        if cell.finished(out) is None:
            continue
        path = out / cell.path / "predictions.npz"
        with np.load(path, allow_pickle=False) as file:
            names = sorted({name.split("/")[0] for name in file.files if "/" in name})
        for name in names:
            by_budget = sums.setdefault(cell.arm or name, {})
            by_budget.setdefault(cell.budget, CellSums({}, name, units)).files[key] = path
    # What classical cells predict with is only known from those that finished.
    classical = [name for name in sums if name not in wanted] or ["classical predictors"]
    missing = []
    for arm, budgets in wanted.items():
        for name in [arm] if arm else classical:
            by_budget = sums.get(name, {})
            for budget in dict.fromkeys(budgets):
                if set(by_budget.get(budget, ())) != complete:
                    missing.append(f"{name} at {budget}")
                    by_budget.pop(budget, None)
    return sums, missing


def _units(files: Iterable[Path]) -> str:
    """What intervals are over: speakers, or videos where too few speakers are known."""
    speakers: set[str] = set()
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            speakers.update(file["speakers"].tolist())
        if len(speakers) >= FEWEST_SPEAKERS:
            return "speakers"
    return "video_ids"
