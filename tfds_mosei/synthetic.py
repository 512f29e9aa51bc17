"""A small corpus in MOSEI's layout, drawn from random numbers.

Speech is a row of sounds, each a pattern of high and low columns. Every emotion has sounds of its
own, which come the more often the stronger it is; a sound comes as often as its opposite, so means
and spreads of the columns say nothing. So what can be found without labels, the sounds, is what the
labels depend on. Speech between the annotated segments is made likewise.
"""

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mosei_ssl.utils.files import write_text
from tfds_mosei import csd
from tfds_mosei.errors import CorpusError
from tfds_mosei.folds import FOLDS_FILE
from tfds_mosei.schema import (
    EMOTIONS,
    FEATURE_NAMES,
    FEATURE_ROOT,
    FRAME_PERIOD,
    LABEL_NAMES,
    LABEL_ROOT,
    NUM_FEATURES,
)

GENERATOR_VERSION = 2
MIN_VIDEOS = 3

_RATE = 1.0 / FRAME_PERIOD
_SEGMENT_SECONDS = (2.0, 6.0)
_PAUSE_SECONDS = (0.4, 1.2)
_EXTRA_SPEECH = 0.3
_EXTRA_SECONDS = (2.0, 5.0)
_SOUND_SECONDS = (0.2, 0.5)
_SOUNDS = 2  # of each emotion, and as many opposites
_NEUTRAL_SOUNDS = 8
_NEUTRAL_WEIGHT = 3.0  # beside levels of 0 to 3
_AMPLITUDE = 0.8
_PRESENT = (0.45, 0.30, 0.30, 0.20, 0.25, 0.20)
_LEVELS = np.arange(1, 10) / 3.0
_LEVEL_WEIGHTS = np.array([2, 3, 4, 3, 3, 4, 2, 2, 3], float)
_VALENCE = np.array([1.0, -0.8, -0.7, 0.1, -0.6, -0.4])
_GLOTTAL = [FEATURE_NAMES.index(n) for n in ("NAQ", "QOQ", "H1H2", "PSP", "MDQ", "Rd", "Rd_conf")]
_PEAK_SLOPE, _VUV, _F0, _CREAK, _MCEP_0, _HMPDM_0, _HMPDD_0 = map(
    FEATURE_NAMES.index, ("peakSlope", "VUV", "F0", "creak", "MCEP_0", "HMPDM_0", "HMPDD_0")
)


@dataclasses.dataclass(frozen=True)
class SyntheticSize:
    """How large a corpus to draw: videos of one speaker each, annotated segments in each, seed."""

    videos: int = 40
    segments: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.videos < MIN_VIDEOS or self.segments < 1:
            raise CorpusError(
                f"A synthetic corpus needs at least {MIN_VIDEOS} videos (one for each split) and "
                f"one segment; asked for {self.videos} videos of {self.segments} segments."
            )


def write_corpus(folder: str | Path, size: SyntheticSize | None = None) -> Path:
    """Writes a corpus: two genuine ``.csd`` files and ``folds.json``."""
    folder = Path(folder)
    size = size or SyntheticSize()
    folder.mkdir(parents=True, exist_ok=True)
    labels: list[tuple[str, np.ndarray, np.ndarray]] = []

    def videos() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for number in range(size.videos):
            intervals, features, times, values = _draw_video(size, number)
            labels.append((_video_id(number), times, values))
            yield _video_id(number), intervals, features

    about = {"dataset name": "synthetic corpus in the layout of CMU-MOSEI (random numbers)"}
    csd.write(
        folder / "synthetic_covarep.csd",
        FEATURE_ROOT,
        videos(),
        dimension_names=FEATURE_NAMES,
        description="74 drawn columns every 10 ms; no speech",
        metadata=about,
        compression=None,
    )
    csd.write(
        folder / "synthetic_labels.csd",
        LABEL_ROOT,
        labels,
        dimension_names=LABEL_NAMES,
        description="drawn sentiment and emotions",
        metadata=about,
    )
    write_text(folder / FOLDS_FILE, json.dumps(_draw_folds(size), indent=1) + "\n")
    return folder


def _video_id(number: int) -> str:
    return f"synthetic_{number:04d}"


def _draw_folds(size: SyntheticSize) -> dict[str, list[str]]:
    """Three fifths of the videos train, a seventh (at least one) validates, the rest tests."""
    order = np.random.default_rng([size.seed, 1]).permutation(size.videos)
    validation = max(1, size.videos // 7)
    test = max(1, size.videos // 4)
    ids = [_video_id(int(number)) for number in order]
    return {
        "train": sorted(ids[validation + test :]),
        "validation": sorted(ids[:validation]),
        "test": sorted(ids[validation : validation + test]),
    }


def _draw_video(
    size: SyntheticSize, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Intervals and values of all rows, and of the labels."""
    rng = np.random.default_rng([size.seed, 2, number])
    temper = np.clip(np.array(_PRESENT) * rng.uniform(0.6, 1.4, len(EMOTIONS)), 0.0, 1.0)
    pieces: list[np.ndarray] = []
    voiced: list[np.ndarray] = []
    segments, labels = [], []

    def add(seconds: float, levels: np.ndarray | None) -> int:
        frames = max(1, round(seconds * _RATE))
        pieces.append(_draw_sounds(rng, frames, levels))
        voiced.append(_draw_voicing(rng, frames, levels is not None))
        return sum(map(len, pieces))

    for _ in range(size.segments):
        add(rng.uniform(*_PAUSE_SECONDS), None)
        if rng.random() < _EXTRA_SPEECH:
            add(rng.uniform(*_EXTRA_SECONDS), _draw_levels(rng, temper))
            add(rng.uniform(*_PAUSE_SECONDS), None)
        levels = _draw_levels(rng, temper)
        end = add(rng.uniform(*_SEGMENT_SECONDS), levels)
        segments.append(((end - len(pieces[-1])) * FRAME_PERIOD, end * FRAME_PERIOD))
        sentiment = np.round((float(levels @ _VALENCE) + rng.normal(0.0, 0.3)) * 3) / 3
        labels.append((np.clip(sentiment, -3.0, 3.0), *levels))
    frames = add(rng.uniform(*_PAUSE_SECONDS), None)

    order = rng.permutation(len(segments)) if rng.random() < 0.3 else np.arange(len(segments))
    starts = np.arange(frames) * FRAME_PERIOD
    return (
        np.stack([starts, starts + FRAME_PERIOD], axis=1),
        _columns(rng, np.concatenate(pieces), np.concatenate(voiced)),
        np.array(segments)[order],
        np.array(labels, np.float32)[order],
    )


def _draw_levels(rng: np.random.Generator, temper: np.ndarray) -> np.ndarray:
    present = rng.random(len(EMOTIONS)) < temper
    levels = rng.choice(_LEVELS, len(EMOTIONS), p=_LEVEL_WEIGHTS / _LEVEL_WEIGHTS.sum())
    return np.where(present, levels, 0.0)


def _draw_sounds(rng: np.random.Generator, frames: int, levels: np.ndarray | None) -> np.ndarray:
    """Columns in units of their spread: float64 [frames, 74]; zero in pauses."""
    rows = np.zeros((frames, NUM_FEATURES))
    if levels is None:
        return rows
    weights = np.append(levels, _NEUTRAL_WEIGHT)
    patterns = _patterns()
    position = 0
    while position < frames:
        source = patterns[rng.choice(len(weights), p=weights / weights.sum())]
        end = position + int(rng.integers(*np.multiply(_SOUND_SECONDS, _RATE).astype(int)))
        rows[position:end] = rng.choice(source) * rng.choice([-1.0, 1.0])
        position = end
    return rows


def _draw_voicing(rng: np.random.Generator, frames: int, speaking: bool) -> np.ndarray:
    """Syllables: voiced stretches of 0.1 to 0.35 s with short gaps; all off in pauses."""
    voiced = np.zeros(frames, bool)
    position = 0
    while speaking and position < frames:
        on, off = int(rng.integers(10, 36)), int(rng.integers(2, 12))
        voiced[position : position + on] = True
        position += on + off
    return voiced


@functools.cache
def _patterns() -> list[np.ndarray]:
    """Sounds of each emotion, and neutral ones: float64 [number, 74], the same in every corpus."""
    rng = np.random.default_rng([GENERATOR_VERSION, 3])
    free = [_F0, *range(_MCEP_0 + 1, _MCEP_0 + 25), *range(_HMPDM_0 + 7, NUM_FEATURES)]
    patterns = []
    for number in [_SOUNDS] * len(EMOTIONS) + [_NEUTRAL_SOUNDS]:
        sounds = np.zeros((number, NUM_FEATURES))
        sounds[:, free] = _AMPLITUDE * rng.choice([-1.0, 1.0], (number, len(free)))
        patterns.append(sounds)
    return patterns


def _scales() -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread of each column, of the size that speech gives them."""
    centre, spread = np.zeros(NUM_FEATURES), np.ones(NUM_FEATURES)
    voice = {
        "F0": (170.0, 45.0),
        "NAQ": (0.09, 0.03),
        "QOQ": (0.4, 0.12),
        "H1H2": (5.0, 4.0),
        "PSP": (0.4, 0.2),
        "MDQ": (0.12, 0.03),
        "peakSlope": (-0.35, 0.12),
        "Rd": (1.3, 0.5),
        "Rd_conf": (0.55, 0.15),
    }
    for name, (middle, width) in voice.items():
        column = FEATURE_NAMES.index(name)
        centre[column], spread[column] = middle, width
    order = np.arange(25)
    centre[_MCEP_0 : _MCEP_0 + 25] = 2.0 * np.exp(-order / 2.0) * np.cos(order)
    spread[_MCEP_0 : _MCEP_0 + 25] = 1.2 * np.exp(-order / 6.0) + 0.05
    centre[_HMPDM_0 : _HMPDM_0 + 25] = 1.5 * order / 24.0
    spread[_HMPDM_0 : _HMPDM_0 + 7] = 1e-7
    spread[_HMPDM_0 + 7 : _HMPDM_0 + 25] = 0.9
    spread[_HMPDD_0:] = 0.08
    return centre, spread


def _columns(rng: np.random.Generator, sounds: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Rows as a feature extractor would write them: float32 [frames, 74]."""
    frames = len(voiced)
    speaker = rng.normal(0.0, 0.5, NUM_FEATURES)
    standard = sounds + speaker + _smooth_noise(rng, frames)
    loudness = np.convolve(voiced, np.ones(15) / 15, mode="same")
    standard[:, _MCEP_0] += 2.5 * (loudness - 0.5)
    centre, spread = _scales()
    rows = centre + spread * standard
    rows[:, _VUV] = voiced
    rows[:, _F0] = np.clip(rows[:, _F0], 50.0, 500.0)
    rows[:, _CREAK] = 1.0 / (1.0 + np.exp(3.0 - standard[:, _CREAK]))
    # Voice-source columns hold zeros where the voice is off.
    rows[:, _GLOTTAL] *= voiced[:, None]
    rows[rng.random(frames) < 1e-4, _PEAK_SLOPE] = -np.inf
    return rows.astype(np.float32)


def _smooth_noise(rng: np.random.Generator, frames: int) -> np.ndarray:
    """First-order noise of unit variance, correlated over about 0.1 s: float64 [frames, 74]."""
    from scipy.signal import lfilter  # slow to import

    memory = 0.9
    noise = rng.normal(size=(frames, NUM_FEATURES)) * np.sqrt(1 - memory**2)
    noise[0] /= np.sqrt(1 - memory**2)
    return lfilter([1.0], [1.0, -memory], noise, axis=0)
