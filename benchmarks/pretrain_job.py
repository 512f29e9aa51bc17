"""The whole pretraining job at MOSEI's lengths, ours beside plain PyTorch fed the usual way.

2,000 segments made of RAVDESS and EMO-DB clips have lengths drawn from MOSEI's label table. The
peer shuffles them and pads each batch to its longest; ours goes through `mosei_ssl.data`. Same
model size, batch size, masks' ratio and span, optimizer and learning rate. The two take turns, a
slice of an epoch each, until both have done the epochs; then both reconstruct the same hidden
frames of other speakers. Speed is real (unpadded) frames per second.

Run: python benchmarks/pretrain_job.py --shared ../shared [--epochs 1] [--slices 10]
"""

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from pretrain_size import Size
from pretrain_torch import build, set_cores
from side import Side, answer_file

SPAN = 50
"""Frames of a hidden span, half a second: shorter ones are found by interpolation."""


class Ours:
    """Our side, trained on segments; `jit` has XLA compile the step."""

    def __init__(self, segments, size, precision: str, jit: bool, batch: int, pooling: int = 1):
        import keras

        from mosei_ssl.data import BatchPlan, DataConfig, make_training_dataset
        from mosei_ssl.models import LayerwiseAdamW

        keras.config.set_dtype_policy(precision)
        self.model = build(size, pooling, segments.statistics)
        # The peer's: the schedule of `pretrain` is left out on both sides.
        optimizer = LayerwiseAdamW(learning_rate=1e-3, weight_decay=0.01, global_clipnorm=1.0)
        self.model.compile(optimizer, jit_compile=jit)
        self.model.optimizer.build(self.model.trainable_variables)
        self.on_jax = keras.backend.backend() == "jax"
        config = DataConfig(batch_size=batch, max_lengths=4 if jit else None)  # as `pretrain`
        self.plan, self.batch = BatchPlan(segments.lengths, config), batch
        self.steps, self.done = self.plan.steps_per_epoch, 0
        # Of each repetition, the dataset gives the next epoch.
        epoch = (lambda: self.done // self.steps) if self.on_jax else None
        self.data = make_training_dataset(segments, config, epoch=epoch, with_labels=False)
        if not self.on_jax:
            self.model.make_train_function()
            self.batches = iter(self.data.repeat())

    def run(self, steps: int) -> tuple[float, int]:
        """Trains; gives seconds and real frames. On JAX `steps` are whole epochs."""
        frames = sum(
            int(self.plan.epoch(n // self.steps)[n % self.steps].lengths.sum())
            for n in range(self.done, self.done + steps)
        )
        start = time.perf_counter()
        if self.on_jax:
            self.model.fit(self.data, epochs=steps // self.steps, shuffle=False, verbose=0)
        else:
            # The iterator goes on from slice to slice, as within one call of fit().
            for _ in range(steps):
                logs = self.model.train_function(self.batches)
            float(logs["loss"])  # waits for a GPU
        self.done += steps
        return time.perf_counter() - start, frames

    def warm_up(self) -> float:
        """Makes the graph, and with XLA one program per length; seconds."""
        import tensorflow as tf

        weights = self.model.get_weights()
        start = time.perf_counter()
        optimizer = [v.numpy() for v in self.model.optimizer.variables]
        number = self.batch

        def lengths():
            for length in self.plan.boundaries:
                yield {
                    "features": np.zeros((number, length, 74), "float32"),
                    "padding_mask": np.ones((number, length), bool),
                }

        # An iterator of the same kind as in training: another kind would be another graph.
        empty = tf.data.Dataset.from_generator(lengths, output_signature=self.data.element_spec)
        batches = iter(empty)
        for _ in self.plan.boundaries:
            self.model.train_function(batches)
        for variable, value in zip(self.model.optimizer.variables, optimizer, strict=True):
            variable.assign(value)
        self.model.set_weights(weights)
        return time.perf_counter() - start

    def loss(self, batches) -> float:
        """Reconstruction error of given hidden frames, standardised units."""
        total = count = 0.0
        for rows, mask, hidden in batches:
            sequence = self.model.backbone.encoder(
                np.where(hidden[:, :, None], np.asarray(self.model.masking.token), rows), mask
            )
            error = np.abs(np.asarray(self.model.reconstruct(sequence)) - rows).mean(-1)
            total, count = total + float((error * hidden).sum()), count + float(hidden.sum())
        return total / count


class Peer:
    """Plain PyTorch on standardised rows, shuffled and padded to the longest of each batch."""

    def __init__(self, rows, size, bfloat16: bool, batch: int, pooling: int, compiled: bool):
        from pretrain_peer import PlainTraining

        self.rows, self.batch, self.pooling = rows, batch, pooling
        if pooling > 1:
            span = max(1, size.span // pooling)
            size = dataclasses.replace(size, features=2 * size.features, span=span)
        self.training = PlainTraining(size, bfloat16, compiled, dynamic=True)
        self.steps = math.ceil(len(rows) / batch)
        self.rng = np.random.default_rng(0)
        self.order: list[np.ndarray] = []
        self.computed = 0

    def run(self, steps: int) -> tuple[float, int]:
        """Trains; gives seconds and real frames."""
        import torch
        from pretrain_peer import pooled

        frames, start = 0, time.perf_counter()
        for _ in range(steps):
            if not self.order:
                places = self.rng.permutation(len(self.rows))
                self.order = np.array_split(places, self.steps)
            chosen = [torch.from_numpy(self.rows[i]) for i in self.order.pop()]
            x = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            lengths = torch.tensor([len(rows) for rows in chosen])
            self.computed += x.shape[0] * x.shape[1]
            mask = torch.arange(x.shape[1]) < lengths[:, None]
            if self.pooling > 1:
                device = self.training.device
                x, mask = pooled(x.to(device), mask.to(device), self.pooling)
            loss = self.training.step(x, mask)
            frames += int(lengths.sum())
        loss.item()  # waits for a GPU
        return time.perf_counter() - start, frames

    def loss(self, batches) -> float:
        """As for ours."""
        import torch

        values = [
            (self.training.loss(*map(torch.from_numpy, batch)), batch[2].sum()) for batch in batches
        ]
        return sum(v * n for v, n in values) / sum(n for _, n in values)


def held_out(shared: Path, statistics: dict, size, pooling: int, count: int = 64) -> list[tuple]:
    """Batches of other speakers' rows, masks and hidden frames, the same for both sides."""
    from pretrain_corpus import make_segments, standardised

    segments = make_segments(shared, count, seed=1, train=False)
    rows = sorted(standardised(segments, statistics), key=len)
    if pooling > 1:  # whole windows only, whose means and deviations are both sides' timesteps
        windows = [x[: len(x) // pooling * pooling].reshape(-1, pooling, 74) for x in rows]
        rows = [np.concatenate([x.mean(1), x.std(1)], -1) for x in windows]
    span = max(1, size.span // pooling)
    rng = np.random.default_rng(2)
    batches = []
    for first in range(0, count, 8):
        part = rows[first : first + 8]
        x = np.zeros((len(part), *rows[-1].shape), np.float32)  # of one length: on JAX one graph
        mask = np.zeros(x.shape[:2], bool)
        for i, values in enumerate(part):
            x[i, : len(values)], mask[i, : len(values)] = values, True
        start = 1.0 - (1.0 - size.ratio) ** (1.0 / span)
        begun = (rng.random(mask.shape) < start).cumsum(1)
        before = np.pad(begun, ((0, 0), (span, 0)))[:, :-span]
        batches.append((x, mask, (begun > before) & mask))
    return batches


def serve(options: argparse.Namespace) -> None:
    """One side: builds corpus and model, then trains so many steps as each line says.

    0 asks for its description, -1 for its loss.
    """
    from pretrain_corpus import make_segments, standardised

    if options.serve != "torch":
        from mosei_ssl.training.devices import share_gpus

        share_gpus()
    file = answer_file()
    size = Size(*((16, 1, 2, 32) if options.tiny else ()), span=SPAN, dropout=options.dropout)
    segments = make_segments(options.shared, options.segments)
    known = segments.statistics
    side: Ours | Peer
    if options.serve != "torch":
        side = Ours(segments, size, options.precision, options.jit, options.batch, options.pooling)
        specs = side.plan.epoch(0)
        computed = sum(spec.padded_length * len(spec.indices) for spec in specs)
        padding = 1 - sum(int(spec.lengths.sum()) for spec in specs) / computed
        about = {"padding": padding}
    else:
        half = options.precision != "float32"
        rows = standardised(segments, known)
        side = Peer(rows, size, half, options.batch, options.pooling, options.compiled)
        about = {}
    about |= {"steps": side.steps, "frames": int(segments.lengths.sum())}
    for line in sys.stdin:
        steps, answer = int(line), about
        if steps > 0:
            seconds, frames = side.run(steps)
            computed = side.computed if isinstance(side, Peer) else 0
            answer = {"seconds": seconds, "frames": frames, "computed": computed}
        elif steps < 0:
            batches = held_out(options.shared, known, size, options.pooling)
            answer = {"loss": side.loss(batches), "trivial": trivial(batches)}
        elif isinstance(side, Ours):
            answer = about | {"graphs_s": side.warm_up()}
        print(json.dumps(answer), file=file, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--segments", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--slices", type=int, default=10, help="turns per epoch")
    parser.add_argument("--stop-after", type=int, default=0, help="turns in all; 0: every epoch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="torch.compile")
    parser.add_argument("--pooling", type=int, default=1, help="frames per timestep, of both")
    parser.add_argument(
        "--dropout", type=float, default=0.0, help="more makes PyTorch's attention far slower"
    )
    parser.add_argument("--serve", choices=["ours", "jax", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_cores(options.cores)
    if options.serve:
        serve(options)
        return
    sides = {name: Side("--serve", name) for name in ("torch", "ours")}
    for name, side in sides.items():
        about = side.ask(0)
        print(f"{name}: {about}", flush=True)
    turns = options.slices * options.epochs
    marks = np.linspace(0, options.epochs * about["steps"], turns + 1).round().astype(int)
    done: dict[str, list[dict]] = {name: [] for name in sides}
    for turn, steps in enumerate(np.diff(marks)[: options.stop_after or turns]):
        for name, side in sides.items():
            done[name].append(side.ask(int(steps)))
        speeds = {name: _speed(answers[-1:]) for name, answers in done.items()}
        shown = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items())
        print(f"turn {turn + 1}: {shown} real frames/s", flush=True)
    for name, answers in done.items():
        each = [_speed([answer]) for answer in answers]
        seconds = sum(answer["seconds"] for answer in answers)
        print(
            f"{name}: {_speed(answers):.0f} real frames/s over all {seconds:.0f} s; turns: median "
            f"{statistics.median(each):.0f} ({min(each):.0f} to {max(each):.0f})"
        )
    ratios = [_speed([a]) / _speed([b]) for a, b in zip(done["ours"], done["torch"], strict=True)]
    real = sum(answer["frames"] for answer in done["torch"])
    print(
        f"ours over torch: {_speed(done['ours']) / _speed(done['torch']):.2f} over all; turns: "
        f"median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); useful "
        f"share of what torch computed {real / done['torch'][-1]['computed']:.0%}"
    )
    losses = {name: side.ask(-1) for name, side in sides.items()}
    print(f"error on other speakers' hidden timesteps: {losses}")


def _speed(answers: list[dict]) -> float:
    return sum(a["frames"] for a in answers) / sum(a["seconds"] for a in answers)


def trivial(batches) -> float:
    """Error of predicting the corpus mean, zero."""
    total = sum((np.abs(x).mean(-1) * hidden).sum() for x, _, hidden in batches)
    return float(total / sum(hidden.sum() for _, _, hidden in batches))


if __name__ == "__main__":
    main()
