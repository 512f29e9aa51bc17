"""Fits the creak estimator on reference outputs and reports what it reaches on unseen ones.

    python benchmarks/fit_creak.py --reference DIR --audio DIR --csd FILE --labels FILE [--save]

``--reference`` holds pairs of NAME.wav and NAME.npz (key ``features``); ``--audio`` 16 kHz clips
whose sorted names are, per actor, the segments of ``--labels``, with features in ``--csd``.
Only files without digital silence are used. The weights go into the package with ``--save``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.optimize import minimize

import mosei_ssl.covarep.creak as creak
from mosei_ssl.covarep import analyse
from tfds_mosei.csd import ComputationalSequence
from tfds_mosei.schema import FEATURE_NAMES

HIDDEN = 12
PENALTY = 1e-4
SEEDS = 4
ITERATIONS = 250


@dataclass
class Clip:
    """Inputs every 10 ms and the reference's column of one recording."""

    name: str
    speaker: str
    inputs: np.ndarray
    target: np.ndarray


def reference_clips(folder: Path) -> list[Clip]:
    """The reference recordings that hold no digital silence."""
    clips = []
    for path in sorted(folder.glob("*.npz")):
        samples, rate = soundfile.read(path.with_suffix(".wav"))
        found = analyse(samples, rate)
        if np.isnan(found.residual).any():
            continue
        target = np.load(path)["features"][:, FEATURE_NAMES.index("creak")]
        clips.append(Clip(path.stem, path.stem, found.creak_inputs, target))
    return clips


def corpus_clips(audio: Path, features: Path, labels: Path) -> list[Clip]:
    """The clips of the speakers whose audio is there."""
    values, segments = ComputationalSequence(features), ComputationalSequence(labels)
    clips = []
    for video in segments.video_ids:
        speaker = video.rsplit("_", 1)[-1]
        paths = sorted(audio.glob(f"*-{speaker}.wav"))
        if not paths:
            continue
        times, rows = values.read(video)
        for path, (start, end) in zip(paths, segments.intervals(video), strict=True):
            samples, rate = soundfile.read(path)
            found = analyse(samples, rate)
            inside = (times[:, 1] > start + 1e-6) & (times[:, 0] < end - 1e-6)
            target = rows[inside, FEATURE_NAMES.index("creak")].astype(np.float64)
            clips.append(Clip(path.stem, video, found.creak_inputs, target))
    return clips


def fit(clips: Sequence[Clip], seed: int) -> dict[str, np.ndarray]:
    """One hidden layer, cross-entropy against the reference's posterior.

    A row of the reference is the mean of the posteriors 5 ms before and after it, so the loss
    compares such means.
    """
    inputs = np.concatenate([clip.inputs for clip in clips])
    mean, std = np.nanmean(inputs, axis=0), np.nanstd(inputs, axis=0)
    std[std == 0] = 1
    z = creak.standardise(inputs, mean, std)
    starts = np.cumsum([0] + [len(clip.inputs) for clip in clips])
    before, target = [], []
    for clip, start in zip(clips, starts, strict=False):
        rows = np.arange(1, min(len(clip.target), len(clip.inputs)))
        before.append(start + rows - 1)
        target.append(clip.target[rows])
    before, target = np.concatenate(before), np.concatenate(target)
    width = z.shape[1]
    shapes = [(width, HIDDEN), (HIDDEN,), (HIDDEN,), ()]
    sizes = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w, b, v, c = (p.reshape(s) for p, s in zip(np.split(theta, sizes), shapes, strict=True))
        hidden = np.tanh(z @ w + b)
        p = 1 / (1 + np.exp(-(hidden @ v + c)))
        mixed = np.clip((p[before] + p[before + 1]) / 2, 1e-9, 1 - 1e-9)
        value = -(target * np.log(mixed) + (1 - target) * np.log(1 - mixed)).mean()
        value += PENALTY * ((w**2).sum() + (v**2).sum())
        slope = (mixed - target) / (mixed * (1 - mixed)) / 2 / len(target)
        on_p = np.bincount(before, slope, len(p)) + np.bincount(before + 1, slope, len(p))
        on_logit = on_p * p * (1 - p)
        on_hidden = on_logit[:, None] * v * (1 - hidden**2)
        parts = [z.T @ on_hidden + 2 * PENALTY * w, on_hidden.sum(axis=0)]
        parts += [hidden.T @ on_logit + 2 * PENALTY * v, on_logit.sum()]
        return value, np.concatenate([np.ravel(part) for part in parts])

    generator = np.random.default_rng(seed)
    first = [
        generator.normal(0, 0.6 / np.sqrt(width), width * HIDDEN),
        np.zeros(HIDDEN),
        generator.normal(0, 0.3, HIDDEN),
        [-3.0],
    ]
    found = minimize(
        loss, np.concatenate(first), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
    )
    w, b, v, c = (p.reshape(s) for p, s in zip(np.split(found.x, sizes), shapes, strict=True))
    return {"mean": mean, "std": std, "hidden": w, "hidden_bias": b, "output": v, "output_bias": c}


def ensemble(clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    """Weights of all seeds, as the package stores them."""
    members = [fit(clips, seed) for seed in range(SEEDS)]
    shared = {name: members[0][name].astype(np.float32) for name in ("mean", "std")}
    stacked = ("hidden", "hidden_bias", "output", "output_bias")
    return shared | {
        name: np.stack([member[name] for member in members]).astype(np.float32) for name in stacked
    }


def predict(weights: dict[str, np.ndarray], clip: Clip) -> np.ndarray:
    """The column as the package would fill it."""
    posterior = creak.creak_posterior(clip.inputs, weights)
    result = np.zeros(len(clip.target))
    rows = np.arange(1, min(len(clip.target), len(posterior)))
    result[rows] = (posterior[rows - 1] + posterior[rows]) / 2
    return result


def held_out(title: str, clips: Sequence[Clip], folds: Sequence[Sequence[Clip]]) -> None:
    """Prints the correlation on folds that the fit has not seen, pooled and per fold."""
    guesses, truths, single = [], [], []
    for fold in folds:
        names = {clip.name for clip in fold}
        weights = ensemble([clip for clip in clips if clip.name not in names])
        guess = np.concatenate([predict(weights, clip) for clip in fold])
        truth = np.concatenate([clip.target for clip in fold])
        guesses.append(guess)
        truths.append(truth)
        single.append(float(np.corrcoef(guess, truth)[0, 1]))
    pooled = np.corrcoef(np.concatenate(guesses), np.concatenate(truths))[0, 1]
    each = " ".join(f"{value:.3f}" for value in single)
    print(f"{title}: pooled {pooled:.4f}; per fold {each}", flush=True)


def main() -> None:
    """Reports held-out correlations, then fits on everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--csd", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--save", action="store_true", help="write the weights into the package")
    arguments = parser.parse_args()
    reference = reference_clips(arguments.reference)
    corpus = corpus_clips(arguments.audio, arguments.csd, arguments.labels)
    clips = reference + corpus
    rows = sum(len(clip.target) for clip in clips)
    print(f"{len(reference)} reference files, {len(corpus)} clips, {rows} rows", flush=True)
    speakers = sorted({clip.speaker for clip in corpus})
    held_out("reference files, one left out", clips, [[clip] for clip in reference])
    held_out("all reference files, fitted on clips alone", clips, [reference])
    by_speaker = [[clip for clip in corpus if clip.speaker == name] for name in speakers]
    held_out("clips, one speaker left out", clips, by_speaker)
    held_out("clips, one fifth left out", clips, [corpus[k::5] for k in range(5)])
    if arguments.save:
        path = Path(creak.__file__).with_name(creak.WEIGHTS_FILE)
        np.savez_compressed(path, **ensemble(clips))
        print(f"wrote {path.name}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
