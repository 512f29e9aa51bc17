"""One pretraining step of ours beside plain PyTorch: same architecture, same batch, same cores.

Each side is a process of its own (together in one, PyTorch is a fifth slower). All variants are
built once; then, repeat by repeat, each takes its turn for a few steps while the other process
waits. Also says how near each comes to what a large matrix product reaches on the same cores.

Run: python benchmarks/pretrain_torch.py [--cores 1] [--repeats 5] [--dropout 0.1]
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

from pretrain_size import Size
from side import Side

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

VARIANTS = {
    "torch float32": ("torch", "float32", False),
    "torch float32 compiled": ("torch", "float32", True),
    "torch bfloat16": ("torch", "bfloat16", False),
    "torch bfloat16 compiled": ("torch", "bfloat16", True),
    "ours float32": ("ours", "float32", False),
    "ours float32 XLA": ("ours", "float32", True),
    "ours bfloat16": ("ours", "mixed_bfloat16", False),
    "ours bfloat16 XLA": ("ours", "mixed_bfloat16", True),
    "ours float16": ("ours", "mixed_float16", False),
}


def make_batch(batch: int, steps: int, shortest: float):
    """Standardised frames and a mask of lengths between a share of `steps` and all."""
    import numpy as np

    rng = np.random.default_rng(0)
    frames = rng.normal(size=(batch, steps, 74)).astype("float32")
    mask = np.arange(steps) < rng.integers(round(shortest * steps), steps + 1, size=(batch, 1))
    mask[0] = True
    return frames, mask


def ours(size, precision: str, jit: bool, frames, mask) -> Callable[[int], float]:
    """Trains so many steps through `fit`, with the optimizer and pipeline shapes of `pretrain`."""
    import keras
    import tensorflow as tf

    from mosei_ssl.config import OptimizerConfig
    from mosei_ssl.training import make_optimizer

    keras.config.set_dtype_policy(precision)
    model = build(size)
    model.compile(make_optimizer(OptimizerConfig(), 10_000), jit_compile=jit)
    batch = {"features": frames, "padding_mask": mask}
    # The lengths are unknown to the graph, as in training.
    signature = {
        "features": tf.TensorSpec([len(frames), None, size.features], tf.float32),
        "padding_mask": tf.TensorSpec([len(frames), None], tf.bool),
    }

    def forever():
        while True:
            yield batch

    data = tf.data.Dataset.from_generator(forever, output_signature=signature).prefetch(2)
    as_in_training = tf.data.Options()
    as_in_training.autotune.enabled = False
    data = data.with_options(as_in_training)

    def run(steps: int) -> float:
        return model.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0).history["loss"][0]

    return run


def build(size, pooling: int = 1, known: dict | None = None):
    """Our model of the same architecture as the peer's.

    `known` are `mean` and `std` of the features; None for those that are standardised already.
    """
    from mosei_ssl.config import MaskedTimestepConfig, TransformerConfig
    from mosei_ssl.models import build_backbone, build_pretraining_model

    config = TransformerConfig(
        hidden_dim=size.hidden,
        num_layers=size.layers,
        num_heads=size.heads,
        feedforward_dim=size.feedforward,
        dropout=size.dropout,
        pooling_factor=pooling,
    )
    known = known or {"mean": [0.0] * size.features, "std": [1.0] * size.features}
    backbone = build_backbone(config, known["mean"], known["std"])
    task = MaskedTimestepConfig(mask_ratio=size.ratio, mask_span=max(1, size.span // pooling))
    return build_pretraining_model(task, backbone)


def peer(size, precision: str, compiled: bool, frames, mask) -> Callable[[int], float]:
    """Trains so many steps in plain PyTorch, on a GPU if there is one."""
    import torch
    from pretrain_peer import PlainTraining

    training = PlainTraining(size, precision == "bfloat16", compiled)
    x, valid = (torch.from_numpy(values).to(training.device) for values in (frames, mask))

    def run(steps: int) -> float:
        for _ in range(steps):
            loss = training.step(x, valid)
        return loss.item()  # waits for the device

    return run


def matmul_rate(side: str, precision: str, repeats: int = 5, width: int = 2048) -> float:
    """FLOP/s of a square matrix product, best of a few, in one framework."""
    if side == "ours":
        import tensorflow as tf

        a = tf.cast(tf.random.normal((width, width)), precision)

        def product():
            tf.matmul(a, a)[0, 0].numpy()  # waits for the device
    elif side == "jax":
        import jax

        c = jax.random.normal(jax.random.key(0), (width, width), precision)
        multiply = jax.jit(jax.numpy.matmul)

        def product():
            multiply(c, c).block_until_ready()
    else:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        b = torch.randn(width, width, device=device).to(getattr(torch, precision))

        def product():
            (b @ b)[0, 0].item()

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2 * width**3 / min(times)


def set_cores(count: int) -> None:
    """Pins this process to so many cores, with as many threads; before any framework starts."""
    cores = sorted(os.sched_getaffinity(0))[-count:]
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps per turn")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=500)
    parser.add_argument(
        "--shortest", type=float, default=0.5, help="shortest segment, as a share of the length"
    )
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--serve", choices=["ours", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_cores(options.cores)
    if options.serve:
        serve(options)
        return
    sides = {}
    for side in ("torch", "ours"):
        if _of(side, options):
            sides[side] = Side("--serve", side)
            sides[side].ask("ready,0")
    times: dict[str, list[float]] = {name: [] for name in options.variants}
    for _ in range(options.repeats):
        for name in options.variants:
            times[name].append(sides[VARIANTS[name][0]].ask(f"{name},{options.steps}"))
    peak = {
        kind: {side: process.ask(f"matmul {kind},0") for side, process in sides.items()}
        for kind in ("float32", "bfloat16")
    }
    report(options, times, peak)


def _of(side: str, options: argparse.Namespace) -> list[str]:
    return [name for name in options.variants if VARIANTS[name][0] == side]


def serve(options: argparse.Namespace) -> None:
    """One side: builds its variants, then answers requests "variant,steps" with seconds a step."""
    size = Size(dropout=options.dropout)
    frames, mask = make_batch(options.batch, options.length, options.shortest)
    runs = {}
    for name in _of(options.serve, options):
        side, precision, compiled = VARIANTS[name]
        make = ours if side == "ours" else peer
        runs[name] = make(size, precision, compiled, frames, mask)
        start = time.perf_counter()
        runs[name](2)
        print(f"{name}: first two steps {time.perf_counter() - start:.1f} s", file=sys.stderr)
    for line in sys.stdin:
        name, steps = line.rsplit(",", 1)
        if name == "ready":
            answer = 0.0
        elif name.startswith("matmul"):
            answer = matmul_rate(options.serve, name.split()[1])
        else:
            start = time.perf_counter()
            runs[name](int(steps))
            answer = (time.perf_counter() - start) / int(steps)
        print(answer, flush=True)


def report(options, times: dict[str, list[float]], peak: dict[str, dict]) -> None:
    """Prints a Markdown table: frames per second, beside the peer's same and best, FLOP/s."""
    size = Size(dropout=options.dropout)
    total = options.batch * options.length
    flops = size.flops(options.batch, options.length)
    print(
        f"\n{options.cores} core(s), dropout {options.dropout}, {options.repeats} repeats of "
        f"{options.steps} steps, batch [{options.batch}, {options.length}, 74], lengths from "
        f"{options.shortest:.0%}"
    )
    print(
        "| variant | ms per step: median (range) | frames/s | over torch float32 | GFLOP/s "
        "| of a matmul |"
    )
    print("|---|---|---|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        # Ratios of turns taken side by side, so that a slow minute counts for both.
        beside = times.get("torch float32", values)
        ratio = statistics.median(b / v for b, v in zip(beside, values, strict=True))
        kind = "float32" if "float32" in name else "bfloat16"
        limit = max(peak[kind].values())
        print(
            f"| {name} | {median * 1e3:.0f} ({min(values) * 1e3:.0f} to {max(values) * 1e3:.0f}) "
            f"| {total / median:.0f} | {ratio:.2f} | {flops / median / 1e9:.0f} "
            f"| {flops / median / limit:.0%} |"
        )
    for kind, rates in peak.items():
        shown = ", ".join(f"{side} {rate / 1e9:.0f}" for side, rate in rates.items())
        print(f"matmul 2048 {kind}: {shown} GFLOP/s")
    for kind in ("float32", ""):
        best = {
            side: min(
                (statistics.median(v), n)
                for n, v in times.items()
                if n.startswith(side) and kind in n
            )
            for side in ("torch", "ours")
            if any(n.startswith(side) and kind in n for n in times)
        }
        if len(best) == 2:
            print(
                f"best {kind or 'of all'}: ours ({best['ours'][1]}) is "
                f"{best['torch'][0] / best['ours'][0]:.2f} times {best['torch'][1]}"
            )


if __name__ == "__main__":
    main()
