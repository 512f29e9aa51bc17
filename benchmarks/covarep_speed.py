"""Seconds of processor time per second of audio, stage by stage, on one core.

    python benchmarks/covarep_speed.py AUDIO... \
        [--repeat 3] [--hour] [--limit 0.25]

Processor time is what counts here: unlike the clock it does not depend on what else the machine
does. ``--hour`` also works through one hour (the files in a loop) and reports peak memory.
Exits with 1 if the ratio is above ``--limit``.
"""

import argparse
import os
import platform
import resource
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import scipy

from mosei_ssl.corpus.extract_corpus import find_audio
from mosei_ssl.covarep import extract, read_audio
from mosei_ssl.covarep.extraction import extract_prepared
from mosei_ssl.covarep.signal import SAMPLE_RATE

_THREAD_LIMITS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def processor() -> str:
    """Name of the processor, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), "unknown")


def time_stages(recordings: list[np.ndarray], repeat: int) -> tuple[dict[str, float], float]:
    """Best processor time of each stage over the repeats, and of the whole, in seconds."""
    stages: dict[str, float] = {}
    best = np.inf
    for _ in range(repeat):
        total, seconds = 0.0, {}
        for samples in recordings:
            start = time.process_time()
            result = extract(samples, SAMPLE_RATE, return_stages=True)[2]
            total += time.process_time() - start
            for stage, spent in result.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        best = min(best, total)
        stages = {k: min(v, stages.get(k, np.inf)) for k, v in seconds.items()}
    return stages, best


def work_through_an_hour(recordings: list[np.ndarray]) -> None:
    """Processor time and peak memory of a recording of one hour in chunks."""
    speech = np.concatenate(recordings)
    hour = np.resize(speech.astype(np.float32), 3600 * SAMPLE_RATE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    features, _ = extract_prepared(hour)
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"one hour: {spent / 3600:.3f} s per second, {len(features)} rows, peak memory {peak:.0f} "
        f"MiB (before: {before:.0f}, of which the samples {hour.nbytes / 2**20:.0f})"
    )


def main() -> int:
    """Prints a table in Markdown."""
    if not _THREAD_LIMITS.items() <= os.environ.items():
        # Libraries read this when they load, so start again with one thread each.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | _THREAD_LIMITS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", nargs="+")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--hour", action="store_true")
    parser.add_argument("--limit", type=float, default=0.25)
    arguments = parser.parse_args()
    recordings = [read_audio(path) for path in find_audio(arguments.audio)]
    duration = sum(map(len, recordings)) / SAMPLE_RATE
    extract(recordings[0], SAMPLE_RATE)
    stages, total = time_stages(recordings, arguments.repeat)
    print(
        f"{date.today()}, {processor()}, Python {platform.python_version()}, numpy "
        f"{np.__version__}, scipy {scipy.__version__}; {len(recordings)} files, {duration:.1f} s, "
        f"best of {arguments.repeat}\n"
    )
    print("| stage | s per s of audio | share |\n|---|---|---|")
    for stage, spent in sorted(stages.items(), key=lambda item: -item[1]):
        print(f"| {stage} | {spent / duration:.4f} | {spent / total:.0%} |")
    print(f"| **all** | **{total / duration:.3f}** | |\n")
    if arguments.hour:
        work_through_an_hour(recordings)
    return int(total / duration > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
