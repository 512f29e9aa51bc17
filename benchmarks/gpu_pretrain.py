"""Pretraining on one device with Keras on JAX, beside plain PyTorch: frames/s and utilisation.

Needs no TensorFlow: `mosei_ssl.models`, Keras and JAX on the one side; on the other, if torch is
there, `nn.TransformerEncoder` (whose attention is PyTorch's SDPA), bfloat16 autocast and
`torch.compile`. The sides take turns on a batch that lies on the device. Utilisation is the
floating-point operations of the model's matrix products over what one large product reaches on
the same device in the same precision. On a machine without a GPU it runs on the CPU, which checks
this program and nothing else; `--tiny` makes that quick.

Run: python benchmarks/gpu_pretrain.py [--batch 64] [--length 500] [--pooling 1] [--tiny]
"""

import argparse
import dataclasses
import datetime
import functools
import importlib.util
import os
import statistics
import time
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "jax"
# PyTorch shares the device.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import keras
import numpy as np
from pretrain_size import Size
from pretrain_torch import build, make_batch

from mosei_ssl.models import LayerwiseAdamW


def ours(size, precision: str, pooling: int, frames, mask) -> Callable[[int], None]:
    """Trains so many steps: what Keras's `fit` compiles, without its loop."""
    keras.config.set_dtype_policy(precision)
    model = build(size, pooling)
    optimizer = LayerwiseAdamW(learning_rate=1e-3, weight_decay=0.01, global_clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    batch = {"features": jax.device_put(frames), "padding_mask": jax.device_put(mask)}

    def loss(trainable, other, inputs):
        outputs, other = model.stateless_call(trainable, other, inputs, training=True)
        return model.objective(outputs)[0], other

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, inputs):
        trainable, other, kept = state
        (_, other), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, other, inputs)
        trainable, kept = optimizer.stateless_apply(kept, gradients, trainable)
        return trainable, other, kept

    # Copies: the first step gives its inputs' memory away, and the model keeps its own.
    state = jax.tree.map(
        lambda variable: jax.numpy.array(np.asarray(variable)),
        (
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
            [v.value for v in optimizer.variables],
        ),
    )

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = step(state, batch)
        jax.block_until_ready(state)

    return run


def peer(size, bfloat16: bool, compiled: bool, frames, mask) -> Callable[[int], None]:
    """Trains so many steps in plain PyTorch."""
    import torch
    from pretrain_peer import PlainTraining

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    training = PlainTraining(size, bfloat16, compiled, device)
    x, valid = torch.from_numpy(frames).to(device), torch.from_numpy(mask).to(device)

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = training.step(x, valid)
        loss.item()  # waits for the device

    return run


def matmul_rate(precision: str, width: int) -> float:
    """FLOP/s of a square product on JAX's device."""
    a = jax.numpy.ones((width, width), precision)
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(a))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(product(a))
        times.append(time.perf_counter() - start)
    return 2 * width**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=500)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--pooling", type=int, default=1, help="ours: frames per timestep")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=20, help="steps per turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="leave torch.compile out"
    )
    parser.add_argument("--tiny", action="store_true", help="seconds on a CPU, meaningless numbers")
    options = parser.parse_args()
    if options.tiny:
        options.batch, options.length, options.hidden, options.layers = 4, 40, 16, 1
        options.steps, options.repeats = 2, 2
    runs: dict[str, tuple[str, Callable[[int], None]]] = {}
    frames, mask = make_batch(options.batch, options.length, 0.5)
    size = Size(options.hidden, options.layers, 4, 2 * options.hidden, dropout=options.dropout)
    if importlib.util.find_spec("torch"):
        for precision in ("float32", "bfloat16"):
            for compiled in (False, True) if options.compile else (False,):
                run = peer(size, precision == "bfloat16", compiled, frames, mask)
                runs[f"torch {precision}{' compiled' if compiled else ''}"] = precision, run
    else:
        print("torch is not installed: nothing to compare with")
    for precision in ("float32", "bfloat16"):
        policy = "float32" if precision == "float32" else "mixed_bfloat16"
        runs[f"ours {precision}"] = (
            precision,
            ours(size, policy, options.pooling, frames, mask),
        )
    for name, (_, run) in runs.items():
        start = time.perf_counter()
        run(2)
        print(f"{name}: first two steps {time.perf_counter() - start:.1f} s", flush=True)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, (_, run) in runs.items():
            start = time.perf_counter()
            run(options.steps)
            times[name].append((time.perf_counter() - start) / options.steps)
    report(options, size, runs, times)


def report(options, size, runs: dict, times: dict[str, list[float]]) -> None:
    """Prints a Markdown table with hardware and date."""
    device = jax.devices()[0]
    print(
        f"\n{datetime.date.today()}, {device.device_kind} ({device.platform}), JAX "
        f"{jax.__version__}, Keras {keras.__version__}, batch [{options.batch}, "
        f"{options.length}, 74], pooling {options.pooling}, {options.repeats} repeats of "
        f"{options.steps} steps, dropout {options.dropout}"
    )
    print("| variant | ms per step: median (range) | frames/s | TFLOP/s | of a matmul |")
    print("|---|---|---|---|---|")
    width = 8192 if device.platform == "gpu" else 512
    limits = {name: matmul_rate(name, width) for name in ("float32", "bfloat16")}
    for name, values in times.items():
        median = statistics.median(values)
        # With pooling ours has fewer timesteps, of twice the columns.
        pooling = options.pooling if name.startswith("ours") else 1
        pooled = dataclasses.replace(size, features=size.features * (1 if pooling == 1 else 2))
        rate = pooled.flops(options.batch, options.length // pooling) / median
        print(
            f"| {name} | {median * 1e3:.2f} ({min(values) * 1e3:.2f} to {max(values) * 1e3:.2f}) "
            f"| {options.batch * options.length / median:.0f} | {rate / 1e12:.2f} "
            f"| {rate / limits[runs[name][0]]:.0%} |"
        )
    best = {
        side: min(statistics.median(v) for n, v in times.items() if n.startswith(side))
        for side in ("torch", "ours")
        if any(n.startswith(side) for n in times)
    }
    if len(best) == 2:
        print(f"best of ours over best of torch: {best['torch'] / best['ours']:.2f}")


if __name__ == "__main__":
    main()
