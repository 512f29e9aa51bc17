"""From samples to the 74 features."""

import logging

import numpy as np
from threadpoolctl import threadpool_limits

from mosei_ssl.covarep import envelope, harmonics, phase
from mosei_ssl.covarep.analysis import Analysis
from mosei_ssl.covarep.audio import check_rate, dithered, prepare
from mosei_ssl.covarep.creak import creak_posterior
from mosei_ssl.covarep.creak_inputs import creak_inputs
from mosei_ssl.covarep.glottal import glottal_parameters
from mosei_ssl.covarep.iaif import glottal_flow
from mosei_ssl.covarep.options import ExtractionOptions
from mosei_ssl.covarep.pitch import FIRST_CENTRE
from mosei_ssl.covarep.rd import HARMONICS, glottal_shape, source_phases
from mosei_ssl.covarep.recording import Chunk, Recording, Samples, Survey, survey
from mosei_ssl.covarep.signal import (
    HOP,
    SAMPLE_RATE,
    interpolate,
    ragged_batches,
    round_half_away,
)
from mosei_ssl.covarep.wavelets import SLOPE_FRAME, dispersion_quotient, peak_slope

logger = logging.getLogger(__name__)

_FIRST_ROW = 79
_VUV = 1
_BATCH = 250_000  # padded harmonics per batch of the harmonic analysis
_MAX_BATCH = 256
_SIGNALS = ("residual", "flow", "derivative")
_TRACKS = ("frames", "rd", "rd_confidence", "mcep", "hmpdm", "hmpdd", "creak_inputs", "creak")


def extract(
    audio: np.ndarray,
    sample_rate: int,
    *,
    channel: int | None = None,
    dither: float = 0.0,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
) -> np.ndarray:
    """Computes the 74 COVAREP features of a recording, a row every 10 ms.

    Give it a whole recording and cut segments afterwards: polarity, F0 range and other
    decisions are taken per recording, as they were for CMU-MOSEI.

    Args:
        audio: Samples [N] or [N, channels]; float in [-1, 1) or PCM integers.
        sample_rate: In Hz; other than 16000 is resampled (needs the ``audio`` extra).
        channel: Channel to use; None averages all of them.
        dither: Deviation of Gaussian noise to add (1e-5 hides digital silence, next to which
            some features are ill-defined); 0 adds none.
        chunk_seconds: Longer recordings are worked through in chunks of this length with ten
            seconds of context (see ``docs/covarep.md`` for what that changes); None keeps any
            recording whole, whatever memory it takes.
        seed: Of the random phases above the top harmonic and of the dither.

    Returns:
        float32 [T, 74] in the order of :data:`tfds_mosei.FEATURE_NAMES`, at the times that
        :func:`row_times` gives. No NaN; -inf can occur in peakSlope next to digital silence.
        Columns that cannot be computed (too short, nothing voiced) are 0, with a warning in the
        log.

    Raises:
        UserError: Samples that are not usable audio: empty, shorter than 0.1 s, not finite, or
            of the wrong shape or type; or an option out of range.

    Examples:
        >>> import numpy as np
        >>> buzz = np.sign(np.sin(2 * np.pi * 120 * np.arange(16000) / 16000)) * 0.1
        >>> extract(buzz, 16000).shape
        (100, 74)

    References:
        Degottex, G., Kane, J., Drugman, T., Raitio, T. and Scherer, S. (2014). COVAREP: a
        collaborative voice analysis repository for speech technologies. ICASSP.
    """
    ExtractionOptions(dither=dither, chunk_seconds=chunk_seconds, seed=seed)
    samples = dithered(prepare(audio, sample_rate, channel), dither, seed)
    found = analyse_samples(samples, chunk_seconds, seed)
    for remark in check_rate(sample_rate) + found.remarks:
        logger.warning("%s", remark)
    return found.features.astype(np.float32)


def analyse(
    audio: np.ndarray,
    sample_rate: int,
    *,
    channel: int | None = None,
    dither: float = 0.0,
    seed: int = 0,
) -> Analysis:
    """Computes the features and keeps the intermediate results, of a recording as a whole.

    Args:
        audio, sample_rate, channel, dither, seed: As in :func:`extract`.

    Returns:
        Features in double precision, signals, tracks and remarks.

    Raises:
        UserError: As in :func:`extract`.

    Examples:
        >>> import numpy as np
        >>> buzz = np.sign(np.sin(2 * np.pi * 120 * np.arange(16000) / 16000)) * 0.1
        >>> analyse(buzz, 16000).f0_median
        120.0
    """
    ExtractionOptions(dither=dither, seed=seed)
    samples = dithered(prepare(audio, sample_rate, channel), dither, seed)
    found = analyse_samples(samples, None, seed, keep_signals=True)
    found.remarks = check_rate(sample_rate) + found.remarks
    return found


def row_times(count: int) -> np.ndarray:
    """Times of the first rows of a feature matrix.

    Args:
        count: How many rows there are.

    Returns:
        Seconds, float64 [count].

    Examples:
        >>> row_times(3)
        array([0.0049375, 0.0149375, 0.0249375])
    """
    return (_FIRST_ROW + HOP * np.arange(count)) / SAMPLE_RATE


# More threads than one cost processor time and save none: the matrices are small.
@threadpool_limits.wrap(limits=1)
# Digital silence passes through the stages as NaN and infinities, on purpose; they become zeros
# in the end.
@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def analyse_samples(
    samples: Samples,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
    *,
    keep_signals: bool = False,
) -> Analysis:
    """:func:`analyse` for prepared samples; its signals are empty unless they are to be kept."""
    recording = Recording(samples, chunk_seconds)
    facts = survey(recording)
    parts: dict[str, list[np.ndarray]] = {}
    for number, chunk in enumerate(recording.chunks()):
        generator = np.random.default_rng([seed, number])
        for name, values in _chunk_stages(chunk, facts, generator).items():
            if keep_signals or name not in _SIGNALS:
                parts.setdefault(name, []).append(values)
    found = {name: np.concatenate(values) for name, values in parts.items()}
    features = _assemble(len(samples), facts, found)
    residual, flow, derivative = (found.get(name, np.empty(0)) for name in _SIGNALS)
    peak = np.abs(np.nan_to_num(residual)).max(initial=0.0)
    return Analysis(
        features=features,
        times=row_times(len(features)),
        remarks=_remarks(facts, len(found["frames"])),
        polarity=facts.polarity,
        residual=residual / peak if peak else residual,
        pitch=facts.pitch,
        f0_median=facts.f0_median,
        instants=facts.instants,
        flow=flow,
        flow_derivative=derivative,
        cycles={name: found[name] for name in ("NAQ", "QOQ", "H1H2", "PSP", "MDQ")},
        peak_slope=found["peakSlope"],
        **{name: found[name] for name in _TRACKS},
    )


def _chunk_stages(
    chunk: Chunk, facts: Survey, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """All per-frame and per-cycle values a chunk answers for, and its signals."""
    x, residual = chunk.signal * facts.polarity, chunk.residual * facts.polarity
    instants = facts.instants - chunk.start
    instants = instants[(instants >= 0) & (instants < len(x))]
    own = chunk.holds(instants + chunk.start)
    flow, derivative = glottal_flow(x, instants)
    cycles = glottal_parameters(flow, derivative, instants)
    cycles["MDQ"] = dispersion_quotient(residual, instants)
    found = {name: values[own] for name, values in cycles.items()}
    slope = peak_slope(x)
    found["peakSlope"] = slope[chunk.holds(_slope_centres(len(slope)) + chunk.start)]

    f0 = facts.pitch.f0[chunk.frames]
    kept = harmonics.kept_frames(len(x), f0)
    own = chunk.holds(FIRST_CENTRE + HOP * kept + chunk.start)
    wide = slice(0, 0)
    if own.any():
        edges = np.flatnonzero(own)[[0, -1]] + [-phase.FRAME_HALO, phase.FRAME_HALO + 1]
        wide = slice(max(edges[0], 0), edges[1])
    kept, own = kept[wide], own[wide]
    found |= _harmonic_stages(x, f0, kept, own, generator)
    found["frames"] = kept[own] + chunk.frames.start

    measures = creak_inputs(x, residual, facts.creak, chunk.start)
    found["creak_inputs"] = measures[chunk.holds(_creak_places(len(measures)) + chunk.start)]
    found["creak"] = creak_posterior(found["creak_inputs"])
    return found | {"residual": residual, "flow": flow, "derivative": derivative}


def _harmonic_stages(
    x: np.ndarray,
    f0: np.ndarray,
    wanted: np.ndarray,
    own: np.ndarray,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Rd, MCEP and phase distortion of pitch frames (the first two only where ``own``)."""
    count = len(wanted)
    result = {
        "mcep": np.full((count, envelope.MCEP_SIZE), np.nan),
        "hmpdm": np.zeros((count, phase.HMPDM_SIZE)),
        "hmpdd": np.zeros((count, phase.HMPDD_SIZE)),
    }
    distortion = np.zeros((count, phase.BINS))
    source, partial_counts = np.full((count, HARMONICS), np.nan), np.zeros(count, dtype=int)
    similar = ragged_batches((SAMPLE_RATE / 2 / f0[wanted]).astype(int), budget=_BATCH)
    for batch in (part for b in similar for part in np.array_split(b, -(-len(b) // _MAX_BATCH))):
        partials, level = harmonics.analyse(x, wanted[batch], f0[wanted[batch]])
        distortion[batch] = phase.phase_distortion(partials, generator)
        source[batch], partial_counts[batch] = source_phases(partials)
        # Frames of digital silence have no harmonics to envelop.
        keep = np.flatnonzero(own[batch] & np.isfinite(level).any(axis=1))
        if len(keep) == 0:
            continue
        chosen = batch[keep]
        result["mcep"][chosen] = envelope.mcep(level[keep], f0[wanted[chosen]])
    result["rd"], result["rd_confidence"] = glottal_shape(source, partial_counts)
    if count >= phase.MIN_FRAMES:
        result["hmpdm"], result["hmpdd"] = phase.code_phase(distortion)
    return {name: values[own] for name, values in result.items()}


def _slope_centres(count: int) -> np.ndarray:
    return SLOPE_FRAME // 2 - 1 + HOP * np.arange(count)


def _creak_places(count: int) -> np.ndarray:
    return HOP * np.arange(1, count + 1) - 1


def _assemble(length: int, facts: Survey, found: dict[str, np.ndarray]) -> np.ndarray:
    """Interpolates all tracks onto the rows, in the order of the columns; NaN becomes 0."""
    query = _FIRST_ROW + HOP * np.arange((length - 80) // HOP + 1)
    frames = FIRST_CENTRE + HOP * np.arange(len(facts.pitch.f0))
    kept = found["frames"]
    tracks = [
        (frames, facts.pitch.f0),
        (frames, facts.pitch.voiced),
        *((facts.instants, found[name]) for name in ("NAQ", "QOQ", "H1H2", "PSP")),
        (facts.instants - 1, found["MDQ"]),
        (_slope_centres(len(found["peakSlope"])), found["peakSlope"]),
        (frames[kept], found["rd"]),
        (frames[kept], found["rd_confidence"]),
        (_creak_places(len(found["creak"])), found["creak"]),
        (round_half_away(np.linspace(1, length, len(kept))) - 1, found["mcep"]),
    ]
    columns = [interpolate(knots, values, query) for knots, values in tracks]
    if len(kept) >= phase.MIN_FRAMES:
        columns += phase.to_rows(kept, found["hmpdm"], found["hmpdd"], query)
    else:
        columns.append(np.zeros((len(query), phase.HMPDM_SIZE + phase.HMPDD_SIZE)))
    features = np.column_stack(columns)
    features[np.isnan(features)] = 0.0
    features[:, _VUV] = features[:, _VUV] >= 0.5
    return features


def _remarks(facts: Survey, frames: int) -> tuple[str, ...]:
    if facts.polarity == 0:
        return ("silence: nothing to measure",)
    remarks = []
    if not facts.pitch.voiced.any():
        remarks.append("no voiced frame: NAQ, QOQ, H1H2, PSP and MDQ are 0")
    elif len(facts.instants) < 2:
        remarks.append("fewer than two glottal closures: NAQ, QOQ, H1H2, PSP and MDQ are 0")
    if frames == 0:
        remarks.append("no frame for harmonic analysis: Rd, MCEP, HMPDM and HMPDD are 0")
    elif frames < phase.MIN_FRAMES:
        remarks.append(
            f"{frames} frames for harmonic analysis, fewer than {phase.MIN_FRAMES} "
            "(about 0.83 s): HMPDM and HMPDD are 0"
        )
    return tuple(remarks)
