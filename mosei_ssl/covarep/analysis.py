"""The intermediate results of an extraction."""

from dataclasses import dataclass

import numpy as np

from mosei_ssl.covarep.pitch import Pitch


@dataclass
class Analysis:
    """Features of one recording (N samples at 16 kHz) and all that they were made from.

    Attributes:
        features: The 74 columns, float64 [T, 74].
        times: Seconds of the rows, float64 [T].
        remarks: What a reader should know: columns that could not be computed and hold zeros.
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
        hmpdm: [M, 25]; zeros when there are too few frames.
        hmpdd: [M, 13]; zeros when there are too few frames.
        creak_inputs: Measures every 10 ms, [J, 36].
        creak: Estimated probability every 10 ms, [J].
    """

    features: np.ndarray
    times: np.ndarray
    remarks: tuple[str, ...]
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
