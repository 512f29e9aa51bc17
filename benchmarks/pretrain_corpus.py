"""Segments of real speech at MOSEI's lengths, for the pretraining benchmarks.

Clips of RAVDESS and EMO-DB are joined until they have the length of a segment drawn from MOSEI's
label table, cropped at 16.6 s, the 95th percentile. Speakers are split as in those corpora. Where
`shared` is missing, frames are drawn, smooth in time, and lengths are log-normal as MOSEI's are.
"""

import csv
import json
from pathlib import Path

import numpy as np

from mosei_ssl.data import Segments, segments_from_arrays

CROP = 1660


def mosei_lengths(shared: Path) -> np.ndarray:
    """Frames, at 100 a second, of all labelled segments of MOSEI, cropped."""
    table = shared / "data/mosei_labels/mosei_labels.csv"
    if table.exists():
        with open(table, newline="") as file:
            rows = csv.DictReader(file)
            seconds = np.array([float(row["end"]) - float(row["start"]) for row in rows])
    else:
        seconds = np.random.default_rng(0).lognormal(1.858, 0.585, 23_259)
    return np.clip(np.round(100 * seconds), 20, CROP).astype(int)


def clips(shared: Path, train: bool) -> list[np.ndarray]:
    """Raw rows [T, 74] of all clips of RAVDESS and EMO-DB, of training or of other speakers."""
    if not (shared / "data").exists():
        return drawn_clips(seed=int(train))
    import h5py

    found = []
    for name in ("ravdess_covarep", "emodb_covarep"):
        folder = shared / "data" / name
        folds = json.loads((folder / "folds.json").read_text())
        chosen = set(folds["train"])
        rows = h5py.File(next(folder.glob("*COVAREP.csd")))["COVAREP/data"]
        spans = h5py.File(next(folder.glob("*Labels.csd")))["All Labels/data"]
        for speaker in rows:
            if (speaker in chosen) != train:
                continue
            times = rows[speaker]["intervals"][:, 0]
            features = rows[speaker]["features"][:].astype(np.float32)
            for start, end in spans[speaker]["intervals"][:]:
                first, last = np.searchsorted(times, [start, end])
                if last > first:
                    found.append(features[first:last])
    return found


def drawn_clips(seed: int, count: int = 400, length: int = 300) -> list[np.ndarray]:
    """Rows of eight slow sources, mixed, with noise and an offset of each clip."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(2).normal(size=(8, 74))
    sources = rng.normal(size=(length, count, 8))
    for t in range(1, length):
        sources[t] = 0.98 * sources[t - 1] + 0.2 * sources[t]
    rows = sources @ mixing + rng.normal(size=(length, count, 74)) + rng.normal(size=(count, 74))
    return list(rows.swapaxes(0, 1).astype(np.float32))


def make_segments(shared: Path, count: int, seed: int = 0, train: bool = True) -> Segments:
    """Segments of MOSEI's lengths made of joined clips, with statistics of their finite values."""
    rng = np.random.default_rng(seed)
    parts = clips(shared, train)
    rows = []
    for length in rng.choice(mosei_lengths(shared), count):
        joined: list[np.ndarray] = []
        while sum(map(len, joined)) < length:
            joined.append(parts[rng.integers(len(parts))])
        rows.append(np.concatenate(joined)[:length])
    sample = np.concatenate(rows[:300])
    sample = np.where(np.isfinite(sample), sample, np.nan)
    statistics = {
        "mean": np.nanmean(sample, axis=0, dtype=np.float64).tolist(),
        "std": np.nanstd(sample, axis=0, dtype=np.float64).tolist(),
    }
    return segments_from_arrays(
        rows, np.zeros((count, 6)), metadata={"feature_statistics": statistics}, name="joined"
    )


def standardised(segments: Segments, statistics: dict, clip: float = 8.0) -> list[np.ndarray]:
    """What the peer is fed: rows cleaned and standardised beforehand, as our frontend does it."""
    mean, std = (np.asarray(statistics[key], np.float32) for key in ("mean", "std"))
    done = []
    for rows in segments:
        rows = np.where(np.isfinite(rows), rows, mean)
        done.append(np.clip((rows - mean) / np.maximum(std, 1e-3), -clip, clip))
    return done
