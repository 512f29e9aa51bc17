"""What an extraction leaves behind for study: intermediate results, timings, remarks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from mosei_ssl.covarep.pitch import Pitch


class Stopwatch:
    """Adds up the processor seconds spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Times the body of a ``with`` statement."""
        start = time.process_time()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - start


@dataclass
class Stages:
    """Intermediate results of one recording at 16 kHz (N samples).

    Attributes:
        polarity: +1 or -1 (0 for silence); all signals below are of the corrected speech.
        residual: LP residual of order 18, largest magnitude 1, [N].
        pitch: F0 track, [F] frames centred at ``0.05 + 0.01 i`` seconds (less one sample).
        f0_median: Median F0 of voiced speech, Hz; NaN without any.
        instants: Glottal closure instants, int64 [C].
        flow: Glottal flow, [N].
        flow_derivative: Its derivative, [N].
        cycles: Values per closure instant: NAQ, QOQ, H1H2, PSP, MDQ, [C] each.
        peak_slope: Per frame centred at sample ``319 + 160 i``.
        frames: Numbers of the pitch frames kept by the harmonic analysis, [M].
        rd: Rd of these frames, [M].
        rd_confidence: [M].
        mcep: [M, 25].
        hmpdm: [M, 25]; empty when there are too few frames.
        hmpdd: [M, 13]; empty when there are too few frames.
        creak_inputs: Measures every 10 ms, [J, 36].
        creak: Estimated posterior every 10 ms, [J].
        seconds: Processor time spent per stage.
        status: Remarks on columns that could not be had and hold zeros instead.
    """

    polarity: int
    residual: np.ndarray
    pitch: Pitch
    f0_median: float
    instants: np.ndarray
    flow: np.ndarray
    flow_derivative: np.ndarray
    cycles: dict[str, np.ndarray]
    peak_slope: np.ndarray
    frames: np.ndarray
    rd: np.ndarray
    rd_confidence: np.ndarray
    mcep: np.ndarray
    hmpdm: np.ndarray
    hmpdd: np.ndarray
    creak_inputs: np.ndarray
    creak: np.ndarray
    seconds: dict[str, float] = field(default_factory=dict)
    status: tuple[str, ...] = ()
