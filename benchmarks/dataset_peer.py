"""Reference implementation of how the official SDK aligns features to segments.

Written from a description of what it does, to measure against: the shapes of all videos are
checked, everything is loaded, the rows of every video are sorted one by one in Python, and every
segment, read from the label file when its turn comes, is compared with all rows of its video.
Rows and labels come out the same as ours, which `dataset_align.py` checks.
"""

from pathlib import Path

import h5py
import numpy as np

EPSILON = 1e-5


def check_shapes(path: Path) -> None:
    """Raises a ValueError unless the arrays of all videos fit together, before any is loaded."""
    with h5py.File(path, "r") as file:
        data = file[next(iter(file))]["data"]
        for video_id in data:
            if len(data[video_id]["intervals"].shape) != 2:
                raise ValueError(video_id)
            if len(data[video_id]["features"].shape) < 2:
                raise ValueError(video_id)
            if data[video_id]["features"].shape[0] != data[video_id]["intervals"].shape[0]:
                raise ValueError(video_id)


def load_and_sort(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """``intervals`` and ``features`` of all videos by id, rows sorted by their start."""
    loaded: dict[str, dict[str, np.ndarray]] = {}
    with h5py.File(path, "r") as file:
        data = file[next(iter(file))]["data"]
        for video_id in data:
            intervals = np.concatenate([data[video_id]["intervals"]], axis=0)
            features = np.concatenate([data[video_id]["features"]], axis=0)
            order = sorted(range(len(intervals)), key=lambda row, t=intervals: t[row, 0])
            loaded[video_id] = {"intervals": intervals[order, :], "features": features[order, :]}
    return loaded


def intersect(
    segment: np.ndarray, intervals: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that share more than a rounding error with a segment, given all rows of its video.

    Gives their intervals, cut to the segment, and the rows themselves.
    """
    bounds = np.array([-segment[1], segment[0]])
    flipped = np.stack([-intervals[:, 0], intervals[:, 1]], axis=1)
    touching = np.all(flipped - bounds > -EPSILON, axis=1)
    cut = intervals[touching, :]
    cut = np.stack([np.maximum(cut[:, 0], segment[0]), np.minimum(cut[:, 1], segment[1])], axis=1)
    rows = features[touching, :]
    lasting = np.where(np.abs(cut[:, 0] - cut[:, 1]) > EPSILON)
    return cut[lasting], rows[lasting]


def align(features: Path, labels: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Aligns a whole corpus in memory: rows and label of each segment, by ``video[segment]``."""
    check_shapes(features)
    check_shapes(labels)
    loaded = load_and_sort(features)
    aligned: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    with h5py.File(labels, "r") as file:
        data = file[next(iter(file))]["data"]
        for video_id in data:
            if video_id not in loaded:
                continue
            video = loaded[video_id]
            for number in range(data[video_id]["intervals"].shape[0]):
                segment = data[video_id]["intervals"][number, :]
                if abs(segment[0] - segment[1]) < EPSILON:
                    continue
                _, rows = intersect(segment, video["intervals"], video["features"])
                label = data[video_id]["features"][number, :]
                if len(rows):
                    aligned[f"{video_id}[{number}]"] = (rows, label)
    return aligned
