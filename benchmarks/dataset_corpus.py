"""Draws a corpus with the size, times and labels of CMU-MOSEI, and random features.

The segment table is the real one, so that build, alignment and reading are measured on the real
number and length of videos and segments; the 74 columns are drawn to match given statistics.
Nothing about speech can be learned from it.

Example:
    python benchmarks/dataset_corpus.py --labels mosei_labels.csv --folds folds.json \
        --stats covarep74_stats.json --out corpus
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

from tfds_mosei import FEATURE_NAMES, FRAME_PERIOD, LABEL_NAMES, csd
from tfds_mosei.labels import VideoLabels, labels_from_csv
from tfds_mosei.schema import VUV_COLUMN

_PEAK_SLOPE = FEATURE_NAMES.index("peakSlope")
_CONSTANT = slice(FEATURE_NAMES.index("HMPDM_0"), FEATURE_NAMES.index("HMPDM_7"))


def load_statistics(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread, float32 [74] each, from JSON with ``stats``, each with ``mean`` and ``std``.

    Those of the first entry that has all columns and is made of rows.
    """
    stats = json.loads(path.read_text())["stats"]
    whole = [name for name in sorted(stats) if len(stats[name]["mean"]) == len(FEATURE_NAMES)]
    chosen = next((name for name in whole if "frames" in name), whole[0])
    pair = stats[chosen]["mean"], stats[chosen]["std"]
    return np.array(pair[0], np.float32), np.array(pair[1], np.float32)


def draw_video(
    number: int, seconds: float, mean: np.ndarray, std: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals [n, 2] and features [n, 74] of one video, drawn from its number."""
    rng = np.random.default_rng([20260101, number])
    rows = max(1, round(seconds / FRAME_PERIOD))
    features = rng.standard_normal((rows, len(mean)), dtype=np.float32)
    features *= std
    features += mean
    features[:, _CONSTANT] = mean[_CONSTANT]
    turns = rng.geometric(0.04, rows).cumsum()
    on = np.zeros(rows, np.float32)
    for first, last in zip(turns[:-1:2], turns[1::2], strict=False):
        if first >= rows:
            break
        on[first:last] = 1.0
    features[:, VUV_COLUMN] = on
    features[rng.random(rows) < 1e-4, _PEAK_SLOPE] = -np.inf
    starts = np.arange(rows) * FRAME_PERIOD
    return np.stack([starts, starts + FRAME_PERIOD], axis=1), features


def write_stand_in(
    out: Path, labels: Path, folds: Path, stats: Path, videos: int | None = None
) -> int:
    """Writes the corpus, of all videos or some, spread over the table; the rows written."""
    table = labels_from_csv(labels)
    ids = sorted(table)
    if videos is not None:
        ids = [ids[i] for i in np.linspace(0, len(ids) - 1, videos).round().astype(int)]
    mean, std = load_statistics(stats)
    out.mkdir(parents=True, exist_ok=True)
    total = 0

    def drawn() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        nonlocal total
        for number, video_id in enumerate(track(ids, description="Drawing")):
            video: VideoLabels = table[video_id]
            intervals, features = draw_video(number, float(video.intervals.max()), mean, std)
            total += len(features)
            yield video_id, intervals, features

    csd.write(
        out / "features.csd",
        "COVAREP",
        drawn(),
        dimension_names=FEATURE_NAMES,
        compression=None,
    )
    csd.write(
        out / "labels.csd",
        "All Labels",
        [(video_id, table[video_id].intervals, table[video_id].values) for video_id in ids],
        dimension_names=LABEL_NAMES,
    )
    shutil.copyfile(folds, out / "folds.json")
    return total


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the files that a stand-in is drawn from."""
    parser.add_argument("--labels", type=Path, required=True, help="CSV of the real segments")
    parser.add_argument("--folds", type=Path, required=True, help="folds.json")
    parser.add_argument("--stats", type=Path, required=True, help="JSON of column statistics")


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--videos", type=int, help="how many of the videos; all by default")
    args = parser.parse_args()
    rows = write_stand_in(args.out, args.labels, args.folds, args.stats, args.videos)
    print(f"{rows:,} rows in {args.out}")


if __name__ == "__main__":
    main()
