"""Reading and aligning: the SDK's way against ours, on the same files in the same run.

What is counted are the rows that come out, in memory, as frames of segments: the same for both.
Ours reads and aligns by the code that the builder uses, without its statistics; it gives up each
video after its turn, where the peer holds all. ``whole`` is ours made to read whole videos, rows
between segments too, as the peer does.

Each repeat runs in a fresh process, in turn, so that memory and caches are each one's own.

Example:
    python benchmarks/dataset_align.py --corpus corpus --repeats 5
"""

import argparse
import functools
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def align_ours(corpus: Path, check: bool, whole: bool = False) -> dict[str, object]:
    """Rows, segments and seconds of cutting every video into its segments, with this package.

    With `whole` all rows are read, those in no segment too; with `check` frames are hashed as well,
    outside the measured time.
    """
    from tfds_mosei.alignment import EPSILON, FrameIndex
    from tfds_mosei.sources import Corpus, find_sources

    start, cpu = time.perf_counter(), time.process_time()
    aligned: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    rows = segments = 0
    with Corpus(find_sources(corpus)) as opened:
        for video_id, labels in opened.labels.items():
            intervals, features = opened.features.open(video_id)
            if whole:
                features = features[:]
            index = FrameIndex(intervals)
            lasting = labels.intervals[:, 1] - labels.intervals[:, 0] >= EPSILON
            for number, found in enumerate(index.rows_of_each(labels.intervals)):
                frames = features[found]
                if lasting[number] and len(frames):
                    rows += len(frames)
                    segments += 1
                    if check:
                        aligned[f"{video_id}[{number}]"] = (frames, labels.values[number])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return _result(rows, segments, (seconds, cpu), aligned if check else None)


def align_peer(corpus: Path, check: bool) -> dict[str, object]:
    """The same by the reference implementation of the SDK's way."""
    from dataset_peer import align

    start, cpu = time.perf_counter(), time.process_time()
    aligned = align(corpus / "features.csd", corpus / "labels.csd")
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    rows = sum(len(frames) for frames, _ in aligned.values())
    return _result(rows, len(aligned), (seconds, cpu), aligned if check else None)


def _result(
    rows: int,
    segments: int,
    seconds: tuple[float, float],
    aligned: dict[str, tuple[np.ndarray, np.ndarray]] | None,
) -> dict[str, object]:
    digest = hashlib.sha256()
    for key in sorted(aligned or {}):
        digest.update(key.encode())
        for array in aligned[key]:
            digest.update(np.ascontiguousarray(array))
    return {
        "rows": rows,
        "segments": segments,
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "frames": digest.hexdigest() if aligned is not None else None,
    }


WAYS = {
    "peer": align_peer,
    "ours": align_ours,
    "ours, whole": functools.partial(align_ours, whole=True),
}


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="from dataset_corpus.py")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(WAYS[args.one](args.corpus, args.check)))
        return
    command = [sys.executable, __file__, "--corpus", str(args.corpus), "--one"]

    def run(way: str, *flags: str) -> dict[str, object]:
        done = subprocess.run([*command, way, *flags], check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    # Also brings the files into the page cache, for both alike.
    same = {way: run(way, "--check")["frames"] for way in WAYS}
    print("identical frames and labels:", len(set(same.values())) == 1)
    results: dict[str, list[dict[str, object]]] = {way: [] for way in WAYS}
    for _ in range(args.repeats):
        for way in WAYS:
            results[way].append(run(way))
    print("| way | rows | segments | s (median, min-max) | CPU s | rows/s | peak MB |")
    print("|---|---|---|---|---|---|---|")
    speed = {}
    cpu = {}
    for way, runs in results.items():
        seconds = [float(item["seconds"]) for item in runs]
        cpu[way] = statistics.median(item["cpu_seconds"] for item in runs)
        speed[way] = runs[0]["rows"] / statistics.median(seconds)
        print(
            f"| {way} | {runs[0]['rows']:,} | {runs[0]['segments']:,} "
            f"| {statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f}) "
            f"| {cpu[way]:.2f} | {speed[way]:,.0f} | {max(item['peak_mb'] for item in runs):,.0f} |"
        )
    for way in ("ours", "ours, whole"):
        print(f"{way} / peer, rows per second: {speed[way] / speed['peer']:.1f}")
        print(f"peer / {way}, CPU seconds: {cpu['peer'] / cpu[way]:.1f}")


if __name__ == "__main__":
    main()
