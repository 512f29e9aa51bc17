"""A pretraining step on TensorFlow, JAX and PyTorch, and a whole `pretrain`, on one GPU.

    python benchmarks/gpu.py [--sizes small large] [--tiny]

Two sizes of model, in float32 and bfloat16: TensorFlow through Keras's `fit`, compiled by XLA, with
its input; Keras on JAX and plain PyTorch (`nn.TransformerEncoder`), also compiled, on a batch that
lies on the device. Each side of each size runs in its own process. All get ready at once, which
takes minutes of compilation; then they take turns, one at a time. "Of a product" is the
floating-point operations of the model's matrix products over those of the fastest large product of
any side in that precision. Then `mosei-ssl pretrain` runs on a synthetic corpus, on TensorFlow and
on JAX. What is not installed, or fails, is left out, and said. Meant to take less than 8 minutes on
a card, which has not been tried; --tiny, two minutes of a CPU, checks this program alone.
"""

import argparse
import contextlib
import datetime
import functools
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pretrain_size import Size
from pretrain_torch import build, make_batch, matmul_rate, ours, peer
from side import Side

SIDES = {
    "TensorFlow, XLA": "tensorflow",
    "JAX": "jax",
    "PyTorch": "torch",
    "PyTorch, compiled": "torch",
}
PRECISIONS = ("float32", "bfloat16")
SIZES = {
    "small": (Size(128, 3, 4, 256, dropout=0.0), 64, 500),
    "large": (Size(512, 8, 4, 1024, dropout=0.0), 128, 500),
}
TINY = {"small": (Size(16, 1, 2, 32, dropout=0.0), 4, 40)}

Run = Callable[[int], object]


def on_jax(size: Size, policy: str, frames: np.ndarray, mask: np.ndarray) -> Run:
    """Trains so many steps: what Keras's `fit` compiles, without its loop."""
    import jax
    import keras

    from mosei_ssl.models import LayerwiseAdamW

    keras.config.set_dtype_policy(policy)
    model = build(size)
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
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = [[jax.numpy.array(np.asarray(v.value)) for v in group] for group in variables]

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = step(state, batch)
        jax.block_until_ready(state)

    return run


def jax_matmul_rate(precision: str, width: int) -> float:
    """FLOP/s of a square product on JAX's device, best of a few."""
    import jax

    a = jax.numpy.ones((width, width), precision)
    product = jax.jit(lambda x: x @ x)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(product(a))
        times.append(time.perf_counter() - start)
    return 2 * width**3 / min(times)


def serve(side: str, size: Size, batch: int, length: int, width: int) -> None:
    """A process of one side: seconds of its first steps, then an answer to each line it is sent.

    "PRECISION STEPS" asks for seconds a step, "matmul PRECISION" for FLOP/s.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print, too
    framework = SIDES[side]
    frames, mask = make_batch(batch, length, 0.5)
    runs: dict[str, Run] = {}
    first = {}
    if framework == "tensorflow":
        from mosei_ssl.training.devices import share_gpus

        share_gpus()
    for precision in PRECISIONS:
        start = time.perf_counter()
        if framework == "torch":
            run = peer(size, precision, "compiled" in side, frames, mask)
        else:
            policy = "float32" if precision == "float32" else f"mixed_{precision}"
            run = (
                on_jax(size, policy, frames, mask)
                if framework == "jax"
                else ours(size, policy, True, frames, mask)
            )
        run(1)
        first[precision] = time.perf_counter() - start
        run(2)
        runs[precision] = run
    print(json.dumps({"first": first, "where": describe(framework)}), file=answers, flush=True)
    for line in sys.stdin:
        what, number = line.split()
        if what == "matmul" and framework == "jax":
            answer = jax_matmul_rate(number, width)
        elif what == "matmul":
            answer = matmul_rate("torch" if framework == "torch" else "ours", number, width=width)
        else:
            start = time.perf_counter()
            runs[what](int(number))
            answer = (time.perf_counter() - start) / int(number)
        print(json.dumps(answer), file=answers, flush=True)


def describe(framework: str) -> str:
    """Version and device of a framework."""
    version = importlib.import_module(framework).__version__
    if framework == "jax":
        import jax

        device = jax.devices()[0].device_kind
    elif framework == "torch":
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details
        device = details(gpus[0]).get("device_name", "GPU") if gpus else "cpu"
    return f"{framework} {version} on {device}"


def environment(framework: str, folder: Path) -> dict[str, str]:
    """Variables of a process: its backend, a part of the GPU, and nothing compiled before."""
    backend = "jax" if framework == "jax" else "tensorflow"
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "MOSEI_SSL_CACHE": str(folder / "cache"),
    }


def pretrain_job(framework: str, folder: Path, frames: int, tiny: bool) -> str:
    """Run `mosei-ssl pretrain`; frames per second after the first epoch, by when rows appear."""
    run, epochs = folder / f"run-{framework}", 2 if tiny else 6
    command = [sys.executable, "-m", "mosei_ssl", "pretrain", "--run", str(run)]
    command += ["--data-dir", str(folder), "--epochs", str(epochs), "--max-lengths", "1"]
    command += ["--batch-size", "64", "--precision", "mixed_bfloat16", "--jit-compile", "true"]
    if tiny:
        command += ["--backbone.hidden-dim", "16", "--backbone.num-layers", "1"]
    log, ends, begin = folder / f"{framework}.log", [], time.perf_counter()
    process = subprocess.Popen(command, stderr=log.open("w"), env=environment(framework, folder))
    while process.poll() is None:
        with contextlib.suppress(OSError):
            lines = (run / "history.csv").read_text().count("\n") - 1
            ends += [time.perf_counter()] * (lines - len(ends))
        time.sleep(0.01)
    if process.returncode or len(ends) != epochs:
        return f"`pretrain` on {framework} failed: {last_line(log)}"
    rate = frames * (epochs - 1) / (ends[-1] - ends[0])
    return (
        f"`pretrain` on {framework}, mixed_bfloat16, batches of 64, pooling 10: first epoch after "
        f"{ends[0] - begin:.0f} s, then {rate:.0f} real frames/s, validation and saving included"
    )


def last_line(log: Path) -> str:
    """What a process said last."""
    return (log.read_text().strip() or "nothing was said").splitlines()[-1][:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--tiny", action="store_true", help="on a CPU, meaningless numbers")
    parser.add_argument("--serve", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = TINY if options.tiny else {name: SIZES[name] for name in options.sizes}
    width, steps, repeats = (256, 2, 2) if options.tiny else (8192, 20, 5)
    if options.serve:
        serve(options.serve, *sizes[options.sizes[0]], width)
        return
    begin = time.perf_counter()
    frameworks = {name for name in SIDES.values() if importlib.util.find_spec(name)}
    for name in sorted({*SIDES.values()} - frameworks):
        print(f"{name} is not installed: left out", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus = None
        if "tensorflow" in frameworks:
            code = f"""
import tfds_mosei
from mosei_ssl.data import DataConfig, load_segments
tfds_mosei.build("synthetic", data_dir={place!r}, size={8 if options.tiny else 200})
print(load_segments(DataConfig(data_dir={place!r}), "train").lengths.sum())"""
            corpus = subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment("tensorflow", folder) | {"CUDA_VISIBLE_DEVICES": ""},
            )
        measure(sizes, frameworks, folder, steps, repeats)
        if corpus:
            frames = int((corpus.communicate()[0].split() or ["0"])[-1])
            if not frames:
                print("the synthetic corpus could not be built: no `pretrain`")
            for name in ("tensorflow", "jax"):
                if name in frameworks and frames:
                    print(pretrain_job(name, folder, frames, options.tiny), flush=True)
    print(f"{time.perf_counter() - begin:.0f} s in all")


def measure(
    sizes: dict[str, tuple[Size, int, int]],
    frameworks: set[str],
    folder: Path,
    steps: int,
    repeats: int,
) -> None:
    """Prints a Markdown table of all sides and sizes."""
    logs = {
        (side, size): folder / f"{side}-{size}.log"
        for size in sizes
        for side, framework in SIDES.items()
        if framework in frameworks
    }
    sides = {}
    for (side, size), log in logs.items():
        settings = {"stderr": log.open("w"), "env": environment(SIDES[side], folder)}
        sides[side, size] = Side("--serve", side, "--sizes", size, **settings)

    def ask(key: tuple[str, str], request: str = "") -> Any:
        answer = sides[key].ask(request) if key in sides else None
        if answer is None and key in sides:
            del sides[key]
            print(f"{', '.join(key)} failed: {last_line(logs[key])}", flush=True)
        return answer

    ready = {key: ask(key) for key in list(sides)}
    times: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(repeats):
        for side, size in list(sides):
            for precision in PRECISIONS:
                if seconds := ask((side, size), f"{precision} {steps}"):
                    times.setdefault((size, precision, side), []).append(seconds)
    peak = {
        precision: max((ask(key, f"matmul {precision}") or 0.0 for key in list(sides)), default=0.0)
        for precision in PRECISIONS
    }
    for process in sides.values():
        process.process.communicate()
    print(f"\n{datetime.date.today()}; {'; '.join(sorted({ready[key]['where'] for key in sides}))}")
    print(f"{repeats} repeats of {steps} steps; first steps while all sides got ready at once\n")
    columns = ["model, batch", "side", "precision", "ms a step: median (range)", "frames/s"]
    columns += ["TFLOP/s", "of a product", "first step, s"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for (name, precision, side), found in sorted(times.items()):
        size, batch, length = sizes[name]
        median = statistics.median(found)
        rate = size.flops(batch, length) / median
        cells = [
            f"width {size.hidden}, {size.layers} layers, [{batch}, {length}, 74]",
            *(side, precision),
            f"{median * 1e3:.2f} ({min(found) * 1e3:.2f} to {max(found) * 1e3:.2f})",
            f"{batch * length / median:.0f}",
            f"{rate / 1e12:.2f}",
            f"{rate / peak[precision]:.0%}",
            f"{ready[side, name]['first'][precision]:.1f}",
        ]
        print(f"| {' | '.join(cells)} |")
    products = ", ".join(f"{rate / 1e12:.1f} in {p}" for p, rate in peak.items())
    print(f"\nlarge product: {products} TFLOP/s")


if __name__ == "__main__":
    main()
