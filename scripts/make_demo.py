"""Make the synthetic voice of `mosei-ssl demo`, and the README's picture of its answer.

No recording of a person is in it: glottal pulses and breath, through formants that move from vowel
to vowel, with the loud, high and fast-moving pitch of someone who is cross.

    python scripts/make_demo.py
"""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from scipy.signal import lfilter

from mosei_ssl.cli import main as mosei_ssl
from mosei_ssl.cli.demo import VOICE

RATE = 16_000
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "demo.png"

# Formants in Hz (Peterson and Barney 1952, men), seconds, and pitch in Hz at start and end.
VOWELS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}
VOWELS |= {"e": (530, 1840, 2480), "o": (570, 840, 2410)}
SYLLABLES = [("a", 0.19, 190, 260), ("e", 0.15, 240, 215), ("o", 0.25, 280, 310)]
SYLLABLES += [("i", 0.14, 235, 220), ("a", 0.33, 330, 240), ("u", 0.30, 210, 150)]
PAUSE = 0.05


def syllable(vowel: str, seconds: float, first: float, last: float, noise: np.ndarray):
    time = np.linspace(0, 1, round(RATE * seconds))
    jitter = 1 + 0.012 * np.interp(time, np.linspace(0, 1, 24), noise[:24])
    pitch = np.linspace(first, last, len(time)) * jitter
    phase = np.cumsum(pitch) / RATE % 1
    # A pressed voice: the glottis is open for half of the period and closes abruptly.
    opening = np.exp(4 * phase) * np.sin(np.pi * phase / 0.4)
    edge = np.exp(4 * 0.5) * np.sin(np.pi * 0.5 / 0.4)
    source = np.where(phase < 0.5, opening, edge * np.exp(-(phase - 0.5) / 0.012))
    source = source + 0.03 * np.abs(edge) * noise[: len(time)]
    for formant, width in zip((*VOWELS[vowel], 3500), (90, 110, 150, 250), strict=True):
        radius = np.exp(-np.pi * width / RATE)
        turn = 2 * radius * np.cos(2 * np.pi * formant / RATE)
        source = lfilter([1 - turn + radius**2], [1, -turn, radius**2], source)
    rise, fall = np.clip(time * seconds / 0.02, 0, 1), np.clip((1 - time) * seconds / 0.05, 0, 1)
    return source / np.abs(source).max() * rise * fall


def main() -> None:
    rng = np.random.default_rng(0)
    parts = []
    for step in SYLLABLES:
        hiss = lfilter([1, -0.9], [1], rng.standard_normal(round(RATE * PAUSE))) * 0.02
        parts += [hiss, syllable(*step, noise=rng.standard_normal(RATE))]
    voice = 0.6 * np.concatenate([np.zeros(RATE // 10), *parts, np.zeros(RATE // 10)])
    voice += 3e-4 * rng.standard_normal(len(voice))
    soundfile.write(VOICE, voice, RATE, subtype="PCM_16")
    PICTURE.parent.mkdir(exist_ok=True)
    mosei_ssl(["demo", "--out", str(PICTURE)])
    # A page loads 64 colours faster, and looks the same.
    Image.open(PICTURE).convert("RGB").quantize(64).save(PICTURE, optimize=True)
    for file in (VOICE, PICTURE):
        print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
