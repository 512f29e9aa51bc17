"""Seconds of processor time per second of audio, stage by stage, on one core.

    python benchmarks/covarep_speed.py AUDIO... \
        [--repeat 3] [--hour] [--limit 0.25]

Processor time is what counts here: unlike the clock it does not depend on what else the machine
does. ``--hour`` also works through one hour (the files in a loop) and reports peak memory.
Exits with 1 if the ratio is above ``--limit``.
"""

import argparse
import functools
import platform
import resource
import sys
import time
from collections import defaultdict
from datetime import date
from unittest import mock

import numpy as np
import scipy
from serving import processor
from threadpoolctl import threadpool_limits

from mosei_ssl.corpus import read_audio
from mosei_ssl.corpus.recordings import find_audio
from mosei_ssl.covarep import (
    SAMPLE_RATE,
    creak_inputs,
    envelope,
    extract,
    extraction,
    harmonics,
    phase,
    pitch,
    recording,
)

STAGES = {
    "residuals": [(recording, "lp_residual"), (recording, "rough_residual")],
    "pitch": [(pitch, "harmonic_sums")],
    "closure instants": [(recording, "_instants")],
    "glottal flow": [(extraction, "glottal_flow")],
    "glottal parameters": [(extraction, "glottal_parameters")],
    "wavelets": [(extraction, "dispersion_quotient"), (extraction, "peak_slope")],
    "harmonics": [(harmonics, "analyse")],
    "HMPD": [(phase, "phase_distortion"), (phase, "code_phase")],
    "Rd": [(extraction, "source_phases"), (extraction, "glottal_shape")],
    "MCEP": [(envelope, "mcep")],
    "creak": [(creak_inputs, "loudest"), (extraction, "creak_inputs")],
}
"""Where the functions of each stage are called."""


def timed(function, stage: str, seconds: dict[str, float]):
    """The function, adding its processor time to that of its stage."""

    @functools.wraps(function)
    def call(*arguments, **options):
        start = time.process_time()
        result = function(*arguments, **options)
        seconds[stage] += time.process_time() - start
        return result

    return call


def time_stages(recordings: list[np.ndarray], repeat: int) -> tuple[dict[str, float], float]:
    """Best processor time of each stage over the repeats, and of the whole, in seconds."""
    seconds: dict[str, float] = defaultdict(float)
    best, total = dict.fromkeys(STAGES, np.inf), np.inf
    for stage, functions in STAGES.items():
        for module, name in functions:
            mock.patch.object(module, name, timed(getattr(module, name), stage, seconds)).start()
    for _ in range(repeat):
        seconds.clear()
        start = time.process_time()
        for samples in recordings:
            extract(samples, SAMPLE_RATE)
        total = min(total, time.process_time() - start)
        best = {stage: min(best[stage], seconds[stage]) for stage in STAGES}
    mock.patch.stopall()
    return best, total


def work_through_an_hour(recordings: list[np.ndarray]) -> None:
    """Processor time and peak memory of a recording of one hour in chunks."""
    speech = np.concatenate(recordings)
    hour = np.resize(speech.astype(np.float32), 3600 * SAMPLE_RATE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    features = extraction.analyse_samples(hour).features
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"one hour: {spent / 3600:.3f} s per second, {len(features)} rows, peak memory {peak:.0f} "
        f"MiB (before: {before:.0f}, of which the samples {hour.nbytes / 2**20:.0f})"
    )


def main() -> int:
    """Prints a table in Markdown."""
    threadpool_limits(1)
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
