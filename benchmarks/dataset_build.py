"""Building the dataset: time, peak memory, rows per second.

Each build runs in its own process, whose memory is watched until it ends.

Example:
    python benchmarks/dataset_build.py --corpus corpus --data-dir data
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

_BUILD = """
import json, resource, sys, time
import tfds_mosei
start, cpu = time.perf_counter(), time.process_time()
options = json.loads(sys.argv[1])
built = tfds_mosei.build("covarep", **options)
splits = built.info.metadata["report"]["splits"]
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "cpu_seconds": time.process_time() - cpu,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "rows": {name: part["frames"] for name, part in splits.items()},
    "examples": {name: part["segments"] for name, part in splits.items()},
    "directory": str(built.data_path),
}))
"""


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; what vanishes meanwhile does not count."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def measure(corpus: Path, data_dir: Path, **options: object) -> dict[str, object]:
    """Builds once into an emptied `data_dir`: seconds, memory, use of disk, rows and examples."""
    shutil.rmtree(data_dir, ignore_errors=True)
    arguments = {"data_dir": str(data_dir), "manual_dir": str(corpus), **options}
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    disk = 0

    def watch() -> None:
        nonlocal disk
        while process.poll() is None:
            disk = max(disk, folder_bytes(data_dir))
            time.sleep(1.0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"the build failed with {process.returncode}")
    result = json.loads(output.splitlines()[-1])
    return {**result, "disk_gb": disk / 1e9, "dataset_gb": folder_bytes(data_dir) / 1e9}


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--data-dir", type=Path, required=True, help="emptied before each build")
    parser.add_argument("--unlabelled", default="train", choices=("train", "all", "none"))
    parser.add_argument("--file-format", default="tfrecord", choices=("tfrecord", "array_record"))
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args()
    print(
        "| corpus | examples | rows written | s | CPU s | rows/s | peak MB | dataset GB | disk GB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for corpus in args.corpus:
        for _ in range(args.repeats):
            done = measure(
                corpus,
                args.data_dir,
                unlabelled=args.unlabelled,
                file_format=args.file_format,
            )
            rows = sum(done["rows"].values())
            print(
                f"| {corpus.name} | {sum(done['examples'].values()):,} | {rows:,} "
                f"| {done['seconds']:.1f} | {done['cpu_seconds']:.1f} "
                f"| {rows / done['seconds']:,.0f} | {done['peak_mb']:,.0f} "
                f"| {done['dataset_gb']:.2f} | {done['disk_gb']:.2f} |",
                flush=True,
            )
    print(json.dumps(done["examples"]))


if __name__ == "__main__":
    main()
