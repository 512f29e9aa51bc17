"""What a pretraining step costs in time and memory, and whether its input keeps up.

Each point is a process of its own, so that its peak memory is its own: time per step and peak
against the sequence's length, the model's width and the number of segments. Then the input
pipeline alone, at MOSEI's lengths, beside what the step consumes. Plots go to
`benchmarks/results/training_cost.png`.

Run: python benchmarks/pretrain_cost.py --shared ../shared [--cores 1]
"""

import argparse
import dataclasses
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULTS = Path(__file__).with_name("results")
LENGTHS = (100, 250, 500, 1000, 1660)
WIDTHS = (32, 64, 128, 256)
SEGMENTS = (250, 1000, 4000)


@dataclasses.dataclass
class Point:
    """One measurement."""

    length: int = 500  # frames of every segment; 0 for MOSEI's lengths
    width: int = 128  # of the model; the feed-forward networks are twice as wide
    segments: int = 128  # in the corpus
    pooling: int = 1  # frames per timestep
    steps: int = 4
    peer: bool = False  # plain PyTorch instead


def measure(point: Point, shared: Path) -> dict[str, float]:
    """Milliseconds per step, and peak memory in MB with and without what was there before."""
    import numpy as np
    from pretrain_corpus import make_segments
    from pretrain_job import Ours
    from pretrain_peer import PlainTraining
    from pretrain_size import Size

    from mosei_ssl.data import segments_from_arrays

    size = Size(hidden=point.width, feedforward=2 * point.width)
    if point.length:
        rows = np.random.default_rng(0).normal(size=(point.segments, point.length, 74))
        known = {"mean": [0.0] * 74, "std": [1.0] * 74}
        segments = segments_from_arrays(
            list(rows.astype("float32")),
            np.zeros((point.segments, 6)),
            metadata={"feature_statistics": known},
        )
        del rows
    else:
        segments = make_segments(shared, point.segments)
    if point.peer:
        import torch

        training = PlainTraining(size)
        x = torch.from_numpy(np.stack([segments.rows(i) for i in range(32)]))
        mask = torch.ones(x.shape[:2], dtype=torch.bool)

        def run(steps: int) -> float:
            start = time.perf_counter()
            for _ in range(steps):
                training.step(x, mask)
            return time.perf_counter() - start

        before = _peak()
        run(1)
        seconds = run(point.steps)
    else:
        ours = Ours(segments, size, "float32", False, 32, point.pooling)
        before = _peak()
        ours.warm_up()
        seconds = ours.run(point.steps)[0]
    peak = _peak()
    return {"ms": 1000 * seconds / point.steps, "peak_mb": peak, "step_mb": peak - before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_apart(point: Point) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, *sys.argv, "--point", json.dumps(dataclasses.asdict(point))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_input(shared: Path, seconds: float = 5.0) -> dict[str, float]:
    """Real frames per second that the pipeline gives when nothing else is done."""
    from pretrain_corpus import make_segments

    from mosei_ssl.data import BatchPlan, DataConfig, make_training_dataset

    segments = make_segments(shared, 1000)
    plan = BatchPlan(segments.lengths, DataConfig())
    specs = (spec for epoch in itertools.count() for spec in plan.epoch(epoch))
    batches = iter(make_training_dataset(segments, DataConfig(), with_labels=False).repeat())
    for _ in range(10):
        next(batches), next(specs)
    start, frames = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        frames += int(next(specs).lengths.sum())
    return {"frames_per_second": frames / (time.perf_counter() - start)}


def plot(curves: dict[str, list[tuple[float, dict]]], path: Path) -> None:
    """Time and memory against each quantity, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(curves), figsize=(4.2 * len(curves), 6), squeeze=False)
    for column, (title, points) in enumerate(curves.items()):
        at = [x for x, _ in points]
        for row, (key, label) in enumerate((("ms", "ms per step"), ("peak_mb", "peak MB"))):
            axis = axes[row][column]
            axis.plot(at, [values[key] for _, values in points], marker="o")
            axis.set(xlabel=title, ylabel=label, ylim=(0, None))
            axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--only", choices=["length", "width", "corpus", "peer", "input"], nargs="*")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        from pretrain_torch import set_cores

        set_cores(options.cores)
        print(json.dumps(measure(Point(**options.point), options.shared)))
        return
    series = {
        "length": ("frames per segment", [Point(length=x) for x in LENGTHS]),
        "width": ("width of the model", [Point(width=x, steps=6) for x in WIDTHS]),
        "corpus": (
            "segments in the corpus",
            [Point(length=0, segments=x, pooling=10, steps=x // 32) for x in SEGMENTS],
        ),
        "peer": ("frames per segment, PyTorch", [Point(length=x, peer=True) for x in LENGTHS]),
    }
    kept = RESULTS / "training_cost.json"
    curves = json.loads(kept.read_text()) if kept.exists() else {}
    for name, (title, points) in series.items():
        if options.only and name not in options.only:
            continue
        quantity = {"corpus": "segments", "width": "width"}.get(name, "length")
        curves[title] = []
        for point in points:
            found = measure_apart(point)
            curves[title].append((getattr(point, quantity), found))
            shown = "  ".join(f"{key} {value:.0f}" for key, value in found.items())
            print(f"{title} {getattr(point, quantity)}: {shown}", flush=True)
        kept.write_text(json.dumps(curves) + "\n")
    plot(curves, RESULTS / "training_cost.png")
    if not options.only or "input" in options.only:
        from pretrain_torch import set_cores

        set_cores(options.cores)
        print(f"input alone: {measure_input(options.shared)['frames_per_second']:.0f} frames/s")


if __name__ == "__main__":
    main()
