"""A recording in overlapping chunks, and what must be known of it as a whole.

Decisions that need the whole recording (polarity, F0 range, voicing threshold, ...) are taken
first, in passes over the chunks; every stage then works chunk by chunk in bounded memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from mosei_ssl.covarep import closure, creak_inputs, pitch
from mosei_ssl.covarep.lpc import lp_residual
from mosei_ssl.covarep.pitch import FIRST_CENTRE, Pitch
from mosei_ssl.covarep.polarity import polarity, power_sums, rough_residual
from mosei_ssl.covarep.signal import HOP, SAMPLE_RATE


class Samples(Protocol):
    """One finite channel at 16 kHz that can be sliced: an array, a memory map."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> np.ndarray: ...


HALO = 10 * SAMPLE_RATE  # samples of context on either side of a chunk
CREAK_F0 = (20, 500)  # limits of the pitch track that serves the creak measures, Hz


class Chunk:
    """A stretch of a recording from ``start``, with context around its half-open ``core``."""

    def __init__(self, source: Samples, core: tuple[int, int]):
        self.start = max(core[0] - HALO, 0)
        self.core = core
        self._source = source

    @cached_property
    def signal(self) -> np.ndarray:
        """Samples with context as recorded, float64."""
        stop = min(self.core[1] + HALO, len(self._source))
        return np.asarray(self._source[self.start : stop], dtype=np.float64)

    @cached_property
    def residual(self) -> np.ndarray:
        """LP residual of order 18 of :attr:`signal`."""
        return lp_residual(self.signal, 18)

    @cached_property
    def harmonic_sums(self) -> np.ndarray:
        """SRH criteria of the frames of :attr:`signal`."""
        return pitch.harmonic_sums(self.signal)

    def holds(self, positions: np.ndarray) -> np.ndarray:
        """Which positions in the recording lie in the core."""
        return (positions >= self.core[0]) & (positions < self.core[1])

    def own(self, values: np.ndarray) -> np.ndarray:
        """The core's part of sample values."""
        return values[self.core[0] - self.start : self.core[1] - self.start]

    def own_frames(self, count: int) -> slice:
        """Those of ``count`` local pitch frames whose centres lie in the core."""
        first = -(-(self.core[0] - self.start - FIRST_CENTRE) // HOP)
        last = -(-(self.core[1] - self.start - FIRST_CENTRE) // HOP)
        return slice(min(max(first, 0), count), min(max(last, 0), count))

    @property
    def frames(self) -> slice:
        """Numbers, in the recording, of the local pitch frames."""
        first = self.start // HOP
        return slice(first, first + max((len(self.signal) - 1599) // HOP + 1, 0))


class Recording:
    """A recording cut into chunks that start on whole seconds; None keeps it whole."""

    def __init__(self, source: Samples, chunk_seconds: float | None):
        self.length = len(source)
        self._source = source
        step = self.length
        if chunk_seconds is not None:
            step = max(int(chunk_seconds), 1) * SAMPLE_RATE
        # A remainder shorter than the context joins the chunk before it.
        starts = list(range(0, max(self.length - HALO, 1), step)) or [0]
        self._cores = list(zip(starts, [*starts[1:], self.length], strict=True))
        self._only = Chunk(source, self._cores[0]) if len(self._cores) == 1 else None

    def chunks(self) -> Iterator[Chunk]:
        """The chunks in order; a single one keeps what it has computed between passes."""
        if self._only is not None:
            yield self._only
            return
        for core in self._cores:
            yield Chunk(self._source, core)


@dataclass
class Survey:
    """What holds for the whole recording."""

    polarity: int  # +1, -1, or 0 for silence
    pitch: Pitch  # F0 and voicing of all frames, limits 50 and 500 Hz
    f0_median: float  # of voiced speech, Hz; NaN without any
    instants: np.ndarray  # glottal closure instants G, int64 [C]
    creak: creak_inputs.Facts


def _concatenate(parts: list[list[tuple]]) -> list[tuple]:
    return [tuple(np.concatenate(c) for c in zip(*part, strict=True)) for part in parts]


def _tracks(recording: Recording, first: list[tuple], limits: list[tuple]) -> list[Pitch]:
    """Second pass of pitch tracking, only where the first one narrowed the range."""
    ranges = [
        pitch.speaker_range(*track, *limit) for track, limit in zip(first, limits, strict=True)
    ]
    if ranges != limits:
        parts: list[list] = [[] for _ in ranges]
        for chunk in recording.chunks():
            own = chunk.own_frames(len(chunk.harmonic_sums))
            for part, between in zip(parts, ranges, strict=True):
                part.append(pitch.best_candidates(chunk.harmonic_sums[own], *between))
        first = _concatenate(parts)
    return [pitch.decide_voicing(*track) for track in first]


def _instants(recording: Recording, sign: int, track: Pitch, typical: float, peak: float):
    """Closure instants: where the peaks lie in the cycles first, then the peaks themselves."""
    none = np.empty(0, dtype=np.int64)
    if not np.isfinite(typical) or peak == 0 or sign == 0:
        return none

    def cycles() -> Iterator[tuple]:
        for chunk in recording.chunks():
            smooth = closure.mean_based_signal(chunk.signal * sign, typical)
            yield chunk, chunk.residual * sign, *closure.swings(smooth)

    places = []
    for chunk, residual, minima, maxima in cycles():
        if len(minima):
            at, place = closure.peak_places(residual, peak, minima, maxima)
            places.append(place[chunk.holds(at + chunk.start)])
    found = np.concatenate(places) if places else none
    middle = float(np.median(found)) if len(found) else 0.0
    result = [none]
    for chunk, residual, minima, maxima in cycles():
        voiced = track.voiced[chunk.frames]
        local = closure.closure_instants(residual, minima, maxima, middle, voiced) + chunk.start
        result.append(local[chunk.holds(local)])
    return np.unique(np.concatenate(result))


def survey(recording: Recording) -> Survey:
    """Takes the decisions that need the whole recording."""
    plain, rough = np.zeros((2, 4))
    peak, references = 0.0, (-np.inf, -np.inf)
    limits = [(pitch.F0_MIN, pitch.F0_MAX), CREAK_F0]
    parts: list[list] = [[] for _ in limits]
    for chunk in recording.chunks():
        own_residual = chunk.own(chunk.residual)
        plain += power_sums(own_residual)
        rough += power_sums(chunk.own(rough_residual(chunk.signal)))
        peak = max(peak, float(np.abs(np.nan_to_num(own_residual)).max(initial=0.0)))
        own = chunk.own_frames(len(chunk.harmonic_sums))
        for part, limit in zip(parts, limits, strict=True):
            part.append(pitch.best_candidates(chunk.harmonic_sums[own], *limit))
        loudest = creak_inputs.loudest(chunk.signal)
        references = (max(references[0], loudest[0]), max(references[1], loudest[1]))
    tracks = _tracks(recording, _concatenate(parts), limits)
    sign = polarity(plain, rough)
    typical = tracks[0].median(*limits[0])
    instants = _instants(recording, sign, tracks[0], typical, peak)
    creak = creak_inputs.Facts(
        recording.length, tracks[1].f0, tracks[1].median(*CREAK_F0), references
    )
    return Survey(sign, tracks[0], typical, instants, creak)
