"""Where the time of one pretraining step goes, by part of the model and by operation.

Takes TensorFlow's own trace of two steps and adds up each operation's time without what it calls.
One core, so that nothing runs side by side.

Run: python benchmarks/pretrain_profile.py [--precision mixed_bfloat16] [--shortest 0.5]
"""

import argparse
import collections
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pretrain_size import Size
from pretrain_torch import make_batch, ours, set_cores

STEPS = 2
PARTS = (
    ("attention, tiles", ("attention_1/cond",)),
    ("attention, its projections", ("attention",)),
    ("feed-forward products", ("expand", "contract")),
    ("gelu, layer norms (fused)", ("fusion", "wrapped_", "reduce-window", "norm")),
    ("optimizer", ("Adam", "adam", "clip")),
    ("waiting, starting operations", ("Run", "Process", "Prefetch", "Iterator", "Execute")),
)


def part_of(name: str) -> str:
    """The part of the model that an operation belongs to, by its name."""
    return next((part for part, marks in PARTS if any(m in name for m in marks)), "rest")


def self_times(trace: Path) -> collections.Counter:
    """Picoseconds of each operation, without those of the operations within it."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(trace.read_bytes())
    times: collections.Counter = collections.Counter()
    for plane in space.planes:
        if "CPU" not in plane.name:
            continue
        for line in plane.lines:
            within: list[tuple[int, str]] = []
            events = sorted((e.offset_ps, -e.duration_ps, e.metadata_id) for e in line.events)
            for start, duration, number in events:
                name = plane.event_metadata[number].name
                while within and within[-1][0] <= start:
                    within.pop()
                if within:
                    times[within[-1][1]] += duration
                times[name] -= duration
                within.append((start - duration, name))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=500)
    parser.add_argument("--shortest", type=float, default=0.5, help="as in pretrain_torch.py")
    options = parser.parse_args()
    set_cores(1)
    import tensorflow as tf

    frames, mask = make_batch(options.batch, options.length, options.shortest)
    run = ours(Size(dropout=0.0), options.precision, False, frames, mask)
    run(STEPS)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run(STEPS)
        tf.profiler.experimental.stop()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        times = self_times(trace)
    parts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for name, picoseconds in times.items():
        # Calls that hold a whole step say nothing.
        if not name.endswith(("::Run", "::RunWithBorrowedArgs")):
            operation = name.rsplit(":", 1)[-1].split(".")[0]
            parts[part_of(name)][operation] += picoseconds / 1e9 / STEPS
    total = sum(sum(found.values()) for found in parts.values())
    print("| part | ms per step | share | of it |")
    print("|---|---|---|---|")
    for part, found in sorted(parts.items(), key=lambda item: -sum(item[1].values())):
        spent = sum(found.values())
        largest = ", ".join(f"{name} {ms:.0f}" for name, ms in found.most_common(4) if ms >= 1)
        print(f"| {part} | {spent:.0f} | {spent / total:.0%} | {largest} |")


if __name__ == "__main__":
    main()
