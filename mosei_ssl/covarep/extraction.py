"""From a recording to its 74 features."""

import logging
from typing import Literal, overload

import numpy as np

from mosei_ssl.covarep import envelope, harmonics, phase
from mosei_ssl.covarep.audio import check_options, prefix, prepare
from mosei_ssl.covarep.columns import COLUMN, FEATURE_NAMES, HMPDD, HMPDM, MCEP
from mosei_ssl.covarep.creak import creak_posterior
from mosei_ssl.covarep.creak_inputs import creak_inputs
from mosei_ssl.covarep.glottal import glottal_parameters
from mosei_ssl.covarep.iaif import glottal_flow
from mosei_ssl.covarep.pitch import FIRST_CENTRE
from mosei_ssl.covarep.rd import RD_START, glottal_shape
from mosei_ssl.covarep.recording import Chunk, Recording, Samples, Survey, survey
from mosei_ssl.covarep.signal import HOP, SAMPLE_RATE, interpolate, ragged_batches
from mosei_ssl.covarep.stages import Stages, Stopwatch
from mosei_ssl.covarep.wavelets import SLOPE_FRAME, dispersion_quotient, peak_slope

logger = logging.getLogger(__name__)

_FIRST_ROW = 79
_BATCH = 250_000
"""Padded harmonics per batch of the harmonic analysis."""

_MAX_BATCH = 256


def _frame_batches(f0: np.ndarray) -> list[np.ndarray]:
    """Frames with similar numbers of harmonics, few enough for one batch."""
    count = (SAMPLE_RATE / 2 / f0).astype(int)
    batches = []
    for batch in ragged_batches(count, budget=_BATCH):
        batches += np.array_split(batch, -(-len(batch) // _MAX_BATCH))
    return batches


def _harmonic_stages(
    x: np.ndarray,
    f0: np.ndarray,
    wanted: np.ndarray,
    own: np.ndarray,
    watch: Stopwatch,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Rd, MCEP and phase distortion of pitch frames (the first two only where ``own``)."""
    result = {
        "rd": np.full(len(wanted), np.nan),
        "rd_confidence": np.full(len(wanted), np.nan),
        "mcep": np.full((len(wanted), envelope.MCEP_SIZE), np.nan),
    }
    distortion = np.zeros((len(wanted), phase.BINS))
    for batch in _frame_batches(f0[wanted]):
        with watch("harmonics"):
            partials, level = harmonics.analyse(x, wanted[batch], f0[wanted[batch]])
        with watch("HMPD"):
            distortion[batch] = phase.phase_distortion(partials, generator)
        # Frames of digital silence have no harmonics to fit or to envelop; the search for Rd
        # ends where it began.
        result["rd"][batch] = RD_START
        keep = np.flatnonzero(own[batch] & np.isfinite(level).any(axis=1))
        chosen = batch[keep]
        with watch("Rd"):
            rd, confidence = glottal_shape(partials.take(keep))
            result["rd"][chosen], result["rd_confidence"][chosen] = rd, confidence
        with watch("MCEP"):
            result["mcep"][chosen] = envelope.mcep(level[keep], f0[wanted[chosen]])
    if len(wanted) >= phase.MIN_FRAMES:
        with watch("HMPD"):
            result["hmpdm"], result["hmpdd"] = phase.code_phase(distortion)
    else:
        result["hmpdm"] = np.zeros((len(wanted), phase.HMPDM_SIZE))
        result["hmpdd"] = np.zeros((len(wanted), phase.HMPDD_SIZE))
    return {name: values[own] for name, values in result.items()}


def _chunk_stages(
    chunk: Chunk, facts: Survey, watch: Stopwatch, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """All per-frame and per-cycle values a chunk answers for."""
    x, residual = chunk.signal * facts.polarity, chunk.residual * facts.polarity
    found: dict[str, np.ndarray] = {}

    def mine(positions: np.ndarray) -> np.ndarray:
        place = positions + chunk.start
        return (place >= chunk.core[0]) & (place < chunk.core[1])

    instants = facts.instants - chunk.start
    instants = instants[(instants >= 0) & (instants < len(x))]
    own = mine(instants)
    with watch("glottal flow"):
        flow, derivative = glottal_flow(x, instants)
    with watch("glottal parameters"):
        for name, values in glottal_parameters(flow, derivative, instants).items():
            found[name] = values[own]
    with watch("wavelets"):
        found["MDQ"] = dispersion_quotient(residual, instants)[own]
        slope = peak_slope(x)
        centres = SLOPE_FRAME // 2 - 1 + HOP * np.arange(len(slope))
        found["peakSlope"] = slope[mine(centres)]

    count = max((len(x) - 1599) // HOP + 1, 0)
    local = slice(chunk.first_frame, chunk.first_frame + count)
    f0 = facts.pitch.f0[local]
    kept = harmonics.kept_frames(len(x), f0)
    own = mine(FIRST_CENTRE + HOP * kept)
    if own.any():
        edges = np.flatnonzero(own)[[0, -1]] + [-phase.FRAME_HALO, phase.FRAME_HALO + 1]
        wide = slice(max(edges[0], 0), edges[1])
        kept, own = kept[wide], own[wide]
    else:
        kept, own = kept[:0], own[:0]
    found.update(_harmonic_stages(x, f0, kept, own, watch, generator))
    found["frames"] = kept[own] + chunk.first_frame

    with watch("creak"):
        measures = creak_inputs(x, residual, facts.creak, chunk.start)
        positions = HOP * np.arange(1, len(measures) + 1) - 1
        found["creak_inputs"] = measures[mine(positions)]
        found["creak"] = creak_posterior(found["creak_inputs"])
    found.update(residual=residual, flow=flow, derivative=derivative)
    return found


def _remarks(facts: Survey, found: dict[str, np.ndarray]) -> tuple[str, ...]:
    remarks = []
    if facts.polarity == 0:
        remarks.append("silence: nothing to measure")
    if not facts.pitch.voiced.any():
        remarks.append("no voiced frame: NAQ, QOQ, H1H2, PSP and MDQ are 0")
    elif len(facts.instants) < 2:
        remarks.append("fewer than two glottal closures: NAQ, QOQ, H1H2, PSP and MDQ are 0")
    frames = len(found["frames"])
    if frames == 0:
        remarks.append("no frame for harmonic analysis: Rd, MCEP, HMPDM and HMPDD are 0")
    elif frames < phase.MIN_FRAMES:
        remarks.append(
            f"{frames} frames for harmonic analysis, fewer than {phase.MIN_FRAMES} "
            "(about 0.83 s): HMPDM and HMPDD are 0"
        )
    return tuple(remarks)


def _assemble(length: int, facts: Survey, found: dict[str, np.ndarray]) -> np.ndarray:
    """Interpolates every track onto the rows and turns NaN into 0."""
    rows = (length - 80) // HOP + 1
    query = _FIRST_ROW + HOP * np.arange(rows)
    features = np.zeros((rows, len(FEATURE_NAMES)))

    def place(name: str, knots: np.ndarray, values: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            features[:, COLUMN[name]] = interpolate(knots, values, query)

    frames = FIRST_CENTRE + HOP * np.arange(len(facts.pitch.f0))
    place("F0", frames, facts.pitch.f0)
    place("VUV", frames, facts.pitch.voiced)
    for name in ("NAQ", "QOQ", "H1H2", "PSP"):
        place(name, facts.instants, found[name])
    place("MDQ", facts.instants - 1, found["MDQ"])
    slope = found["peakSlope"]
    place("peakSlope", SLOPE_FRAME // 2 - 1 + HOP * np.arange(len(slope)), slope)
    kept = found["frames"]
    place("Rd", frames[kept], found["rd"])
    place("Rd_conf", frames[kept], found["rd_confidence"])
    place("creak", HOP * np.arange(1, len(found["creak"]) + 1) - 1, found["creak"])
    if len(kept):
        knots = envelope.mcep_positions(len(kept), length)
        features[:, MCEP] = interpolate(knots, found["mcep"], query)
    if len(kept) >= phase.MIN_FRAMES:
        mean, deviation = phase.to_rows(kept, found["hmpdm"], found["hmpdd"], query)
        features[:, HMPDM], features[:, HMPDD] = mean, deviation
    features[np.isnan(features)] = 0.0
    voicing = features[:, COLUMN["VUV"]]
    voicing[:] = voicing >= 0.5
    return features


@overload
def extract(
    audio: np.ndarray,
    sample_rate: int,
    *,
    channel: int | None = None,
    dither: float = 0.0,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
    return_stages: Literal[False] = False,
) -> tuple[np.ndarray, np.ndarray]: ...


@overload
def extract(
    audio: np.ndarray,
    sample_rate: int,
    *,
    channel: int | None = None,
    dither: float = 0.0,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
    return_stages: Literal[True],
) -> tuple[np.ndarray, np.ndarray, Stages]: ...


def extract(
    audio: np.ndarray,
    sample_rate: int,
    *,
    channel: int | None = None,
    dither: float = 0.0,
    chunk_seconds: float | None = 300.0,
    seed: int = 0,
    return_stages: bool = False,
) -> tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, Stages]:
    """Computes the 74 COVAREP features of a recording, a row every 10 ms.

    Give it a whole recording and cut segments afterwards: polarity, F0 range and other
    decisions are taken per recording, as they were for CMU-MOSEI.

    Args:
        audio: Samples [N] or [N, channels]; float in [-1, 1) or PCM integers.
        sample_rate: In Hz; other than 16000 is resampled (needs the ``audio`` extra).
        channel: Channel to use; None averages all of them.
        dither: Deviation of Gaussian noise to add (1e-5 hides digital silence, beside which
            some features are ill-defined); 0 adds none.
        chunk_seconds: Longer recordings are worked through in chunks of this length with ten
            seconds of context (see ``docs/covarep.md`` for what that changes); None keeps any
            recording whole, whatever memory it takes.
        seed: Of the random phases above the top harmonic and of the dither.
        return_stages: Whether to return the intermediate results too (keeps it whole).

    Returns:
        Features float64 [T, 74] in the order of
        :data:`~mosei_ssl.covarep.columns.FEATURE_NAMES` (no NaN; -inf can occur in peakSlope
        beside digital silence) and times float64 [T] in seconds; then :class:`Stages` if asked.
        Columns that cannot be had (too short, nothing voiced) are 0, with a warning in the log
        and a remark in ``Stages.status``.

    Raises:
        UserError: Samples that are no usable audio: empty, shorter than 0.1 s, not finite, or
            of the wrong shape or type; or an option out of range.

    Example:
        >>> import numpy as np
        >>> buzz = np.sign(np.sin(2 * np.pi * 120 * np.arange(16000) / 16000)) * 0.1
        >>> features, times = extract(buzz, 16000)
        >>> features.shape
        (100, 74)

    References:
        Degottex, G., Kane, J., Drugman, T., Raitio, T. and Scherer, S. (2014). COVAREP: a
        collaborative voice analysis repository for speech technologies. ICASSP.
    """
    check_options(dither, chunk_seconds, seed)
    samples = prepare(audio, sample_rate, channel)
    if dither > 0:
        samples = samples + dither * np.random.default_rng(seed).standard_normal(len(samples))
    if not return_stages:
        return extract_prepared(samples, chunk_seconds, seed)
    features, times, stages = _extract(samples, None, seed, keep_signals=True)
    _warn(stages.status)
    return features, times, stages


def extract_prepared(
    samples: Samples, chunk_seconds: float | None = 300.0, seed: int = 0, name: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`extract` for samples that are one finite channel at 16 kHz, such as a memory map.

    Args:
        samples: Float [N], at least 0.1 s.
        chunk_seconds: As in :func:`extract`.
        seed: As in :func:`extract`.
        name: Of the recording, for warnings.

    Returns:
        Features float64 [T, 74] and times float64 [T] in seconds.
    """
    features, times, stages = _extract(samples, chunk_seconds, seed, keep_signals=False)
    _warn(stages.status, name)
    return features, times


def _warn(remarks: tuple[str, ...], name: str = "") -> None:
    for remark in remarks:
        logger.warning("%s%s", prefix(name), remark)


# Digital silence goes through the stages as NaN and infinities, on purpose; they become zeros in
# the end.
@np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore")
def _extract(
    samples: Samples, chunk_seconds: float | None, seed: int, keep_signals: bool
) -> tuple[np.ndarray, np.ndarray, Stages]:
    """Features, times and stages; the latter's signals are empty unless they are to be kept."""
    watch = Stopwatch()
    recording = Recording(samples, chunk_seconds)
    facts = survey(recording, watch)
    parts: dict[str, list[np.ndarray]] = {}
    signals = ("residual", "flow", "derivative")
    for number, chunk in enumerate(recording.chunks()):
        generator = np.random.default_rng([seed, number])
        for name, values in _chunk_stages(chunk, facts, watch, generator).items():
            if keep_signals or name not in signals:
                parts.setdefault(name, []).append(values)
    found = {name: np.concatenate(values) for name, values in parts.items()}
    with watch("rows"):
        features = _assemble(len(samples), facts, found)
    times = (_FIRST_ROW + HOP * np.arange(len(features))) / SAMPLE_RATE
    status = _remarks(facts, found)
    residual, flow, derivative = (found.get(name, np.empty(0)) for name in signals)
    peak = np.abs(np.nan_to_num(residual)).max(initial=0.0)
    stages = Stages(
        polarity=facts.polarity,
        residual=residual / peak if peak else residual,
        pitch=facts.pitch,
        f0_median=facts.f0_median,
        instants=facts.instants,
        flow=flow,
        flow_derivative=derivative,
        cycles={name: found[name] for name in ("NAQ", "QOQ", "H1H2", "PSP", "MDQ")},
        peak_slope=found["peakSlope"],
        frames=found["frames"],
        rd=found["rd"],
        rd_confidence=found["rd_confidence"],
        mcep=found["mcep"],
        hmpdm=found["hmpdm"],
        hmpdd=found["hmpdd"],
        creak_inputs=found["creak_inputs"],
        creak=found["creak"],
        seconds=watch.seconds,
        status=status,
    )
    return features, times, stages
