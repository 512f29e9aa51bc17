"""A pretraining step on TensorFlow, JAX and PyTorch, and a whole pretraining, on one GPU.

    python benchmarks/gpu.py [--shared ../shared] [--out TABLE] [--deadline 470] [--tiny]

Steps on a batch that lies on the device: TensorFlow compiled by XLA, Keras on JAX, plain PyTorch
(`nn.TransformerEncoder`), two sizes of model, bfloat16 and float32. At the small size also `fit`
with the callbacks of `pretrain`, a second start of JAX with what the first has compiled, TensorFlow
without XLA, and the same deterministic. Whole pretrainings are those of `pretrain_job.py`, all of
it compiled, with and without pooling. FLOP are those of the model's matrix products.

Each side runs in its own process. A few start up at once, the cheapest and most important first;
whoever is ready has the machine to itself, the others stopped (which counts in their time to the
first step), and what it measured is printed at once. After the deadline nothing is begun or waited
for. What fails is said. --tiny checks this program on a CPU, its numbers mean nothing.
"""

import argparse
import contextlib
import datetime
import functools
import importlib
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pretrain_size import Size
from pretrain_torch import build, make_batch, matmul_rate, peer
from side import Side, answer_file

BEGIN = time.perf_counter()
TASKS = [
    *(("JAX", "small"), ("TensorFlow, XLA", "small"), ("JAX", "large")),
    *(("TensorFlow, XLA", "large"), ("PyTorch", "small")),
    *(("PyTorch, compiled", "pooling 10"), ("JAX", "pooling 10")),
    *(("TensorFlow, XLA", "pooling 10"), ("PyTorch, compiled", "small")),
    *(("TensorFlow, XLA, callbacks", "small"), ("JAX, callbacks", "small")),
    *(("JAX", "pooling 1"), ("PyTorch, compiled", "pooling 1")),
    *(("TensorFlow, XLA", "pooling 1"), ("PyTorch, compiled", "large")),
    ("JAX, second start", "small"),
    *(("TensorFlow", "small"), ("TensorFlow, deterministic", "small")),
]
FULLY = ("JAX", "TensorFlow, XLA", "PyTorch", "PyTorch, compiled")
"""Sides measured in both precisions; others in the first."""

PRECISIONS = ("bfloat16", "float32")
SIZES = {
    "small": (Size(128, 3, 4, 256, dropout=0.0), 64, 500),
    "large": (Size(512, 8, 4, 1024, dropout=0.0), 128, 500),
}
TINY = dict.fromkeys(SIZES, (Size(16, 1, 2, 32, dropout=0.0), 4, 40))
COLUMNS = ["model, batch", "precision", "side", "ms a step: median (range)", "frames/s", "TFLOP/s"]
COLUMNS += ["its large product, TFLOP/s", "of it", "to first step, s", "where"]

Run = Callable[[int], float | None]
"""Trains so many steps; seconds a step, if it is not to be timed from outside."""


def on_tensorflow(size: Size, policy: str, jit: bool, frames: np.ndarray, mask: np.ndarray) -> Run:
    """The step that Keras's `fit` compiles, without its loop and its input."""
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy(policy)
    model = compiled_model(size, jit)
    batch = {"features": tf.constant(frames), "padding_mask": tf.constant(mask)}
    # The lengths are unknown to the graph, as in training.
    unknown = {
        key: tf.TensorSpec([len(frames), None, *x.shape[2:]], x.dtype) for key, x in batch.items()
    }
    step = tf.function(model.train_step, jit_compile=jit, input_signature=[unknown])

    def run(steps: int) -> None:
        for _ in range(steps):
            logs = step(batch)
        float(logs["loss"])  # waits for the device

    return run


def compiled_model(size: Size, jit: bool) -> Any:
    """Our model with its optimizer."""
    from mosei_ssl.models import LayerwiseAdamW

    model = build(size)
    optimizer = LayerwiseAdamW(learning_rate=1e-3, weight_decay=0.01, global_clipnorm=1.0)
    model.compile(optimizer, jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    return model


def with_callbacks(size: Size, policy: str, frames: np.ndarray, mask: np.ndarray) -> Run:
    """`fit` as `pretrain` calls it, on batches of the same shape; timed within an epoch."""
    import keras

    from mosei_ssl.config import PretrainConfig
    from mosei_ssl.data import segments_from_arrays
    from mosei_ssl.training.resumable_fit import fit
    from mosei_ssl.training.run_directory import RunDirectory

    keras.config.set_dtype_policy(policy)
    model = compiled_model(size, jit=True)
    rows = [values[:length] for values, length in zip(frames, mask.sum(1), strict=True)]
    ends: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            ends.append(time.perf_counter())

    def run(steps: int) -> float:
        ends.clear()
        segments = segments_from_arrays(rows * steps, np.zeros((len(rows) * steps, 6)))
        with tempfile.TemporaryDirectory() as folder:
            config = PretrainConfig(run=folder, batch_size=len(rows), max_lengths=1, epochs=1)
            kind = {"title": "benchmark", "score": dict, "with_labels": False}
            fit(model, RunDirectory(folder), segments, config, callbacks=[Clock()], **kind)
        return (ends[-1] - ends[0]) / max(1, steps - 1)

    return run


def on_jax(size: Size, policy: str, frames: np.ndarray, mask: np.ndarray) -> Run:
    """Trains so many steps: what Keras's `fit` compiles, without its loop."""
    import jax
    import keras

    keras.config.set_dtype_policy(policy)
    model = compiled_model(size, jit=True)
    optimizer = model.optimizer
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
    state = tuple([jax.numpy.array(np.asarray(v.value)) for v in group] for group in variables)

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = step(state, batch)
        jax.block_until_ready(state)

    return run


def serve(side: str, size: Size, batch: int, length: int, width: int) -> None:
    """A process of one side: answers each line it is sent.

    "first PRECISION" asks for seconds to its first step, the first time from the process's start;
    "PRECISION STEPS" for seconds a step, "matmul PRECISION" for FLOP/s.
    """
    file, begin = answer_file(), BEGIN
    framework = framework_of(side)
    frames, mask = make_batch(batch, length, 0.5)
    runs: dict[str, Run] = {}
    if framework != "torch":
        with contextlib.suppress(ImportError):  # JAX does without TensorFlow
            from mosei_ssl.training.devices import share_gpus

            share_gpus("deterministic" in side)
    if "deterministic" in side:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(0)
        tf.config.experimental.enable_op_determinism()
    for line in sys.stdin:
        what, number = line.split()
        answer: Any
        if what == "first":
            policy = "float32" if number == "float32" else f"mixed_{number}"
            if framework == "torch":
                run = peer(size, number, "compiled" in side, frames, mask)
            elif "callbacks" in side:
                run = with_callbacks(size, policy, frames, mask)
            elif framework == "jax":
                run = on_jax(size, policy, frames, mask)
            else:
                run = on_tensorflow(size, policy, "XLA" in side, frames, mask)
            run(1)
            answer = {"first": time.perf_counter() - begin, "where": describe(framework)}
            run(3)
            runs[number] = run
        elif what == "matmul":
            here = "ours" if framework == "tensorflow" else framework
            answer = matmul_rate(here, number, width=width)
        else:
            start = time.perf_counter()
            seconds = runs[what](int(number))
            answer = (time.perf_counter() - start) / int(number)
            answer = seconds if "callbacks" in side else answer
        print(json.dumps(answer), file=file, flush=True)
        begin = time.perf_counter()


def framework_of(side: str) -> str:
    """The package that a side runs on."""
    return {"JAX": "jax", "TensorFlow": "tensorflow", "PyTorch": "torch"}[side.split(",")[0]]


def describe(framework: str) -> str:
    """Version and device of a framework."""
    module = importlib.import_module(framework)
    if framework == "jax":
        device = module.devices()[0].device_kind
    elif framework == "torch":
        device = module.cuda.get_device_name() if module.cuda.is_available() else "cpu"
    else:
        gpus = module.config.list_physical_devices("GPU")
        details = module.config.experimental.get_device_details
        device = details(gpus[0]).get("device_name", "GPU") if gpus else "cpu"
    return f"{framework} {module.__version__} on {device}"


class Bench:
    """Runs tasks, and tells what they measured."""

    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder = options, folder
        self.sides: list[Side] = []
        self.lock, self.telling = threading.Lock(), threading.Lock()
        self.rows: list[str] = []
        self.notes: list[str] = []

    def text(self) -> str:
        """All that was measured, in Markdown."""
        head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
        return "\n".join([head, *sorted(self.rows), "", *sorted(self.notes), ""])

    def tell(self, line: str) -> None:
        """A row of the table, or a note: printed and kept at once."""
        with self.telling:
            (self.rows if line.startswith("|") else self.notes).append(line)
            print(line, flush=True)
            if self.options.out:
                self.options.out.write_text(self.text())

    def do(self, task: tuple[str, str]) -> None:
        """One task."""
        side, kind = task
        framework, tiny, log = framework_of(side), self.options.tiny, self.folder / "-".join(task)
        program, arguments = None, ["--serve", side, "--size", kind]
        if "pooling" in kind:
            program = [str(Path(__file__).with_name("pretrain_job.py"))]
            arguments = ["--serve", "ours" if framework == "tensorflow" else framework, "--jit"]
            arguments += ["--compiled", "--precision", "mixed_bfloat16"]
            arguments += ["--pooling", kind.split()[-1], "--shared", str(self.options.shared)]
            arguments += ["--cores", str(os.cpu_count()), "--segments", "24" if tiny else "2000"]
            arguments += ["--tiny"] * tiny
        # Of a second start that of the first: compiled programs are found again.
        cache = str(self.folder / re.sub(r"\W+", "-", f"cache {kind} {side.split(', second')[0]}"))
        variables = {
            **os.environ,
            "KERAS_BACKEND": "jax" if framework == "jax" else "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "MOSEI_SSL_CACHE": cache,
            "TORCHINDUCTOR_CACHE_DIR": cache,
        }
        if self.left() <= 0:
            self.tell(f"{side}, {kind}: not begun before the deadline")
            return
        with self.lock:  # nothing starts while another side measures
            process = Side(*arguments, program=program, stderr=log.open("w"), env=variables)
            self.sides.append(process)
        try:
            (self.job if program else self.steps)(side, kind, process)
        except Exception as error:
            said = (log.read_text().strip() or "nothing was said").splitlines()[-1][:200]
            self.tell(f"{side}, {kind}: {error!r}; said last: {said}")
        with self.lock:
            self.sides.remove(process)
            process.process.kill()
            process.process.wait()

    def left(self) -> float:
        """Seconds to the deadline."""
        return self.options.deadline - (time.perf_counter() - BEGIN)

    def ask(self, side: Side, request: object, patience: float = 300.0) -> Any:
        """An answer of a side, which has so many seconds, and until the deadline."""
        answer = side.ask(request, max(0.0, min(patience, self.left())))
        if answer is None:
            raise RuntimeError(f"failed or not in time at {request!r}")
        return answer

    @contextlib.contextmanager
    def alone(self, side: Side) -> Iterator[None]:
        """While all other sides are stopped."""
        with self.lock:
            others = [other.process for other in self.sides if other is not side]
            try:
                for process in others:
                    process.send_signal(signal.SIGSTOP)
                time.sleep(0.3)  # for what they have begun on the GPU
                yield
            finally:
                for process in others:
                    process.send_signal(signal.SIGCONT)

    def steps(self, side: str, name: str, process: Side) -> None:
        """Steps of one side at one size, precision by precision."""
        tiny = self.options.tiny
        size, batch, length = (TINY if tiny else SIZES)[name]
        repeats, steps = (2, 3) if tiny else (5, 20 if name == "small" else 10)
        product, whole = 0.0, side in FULLY
        for precision in PRECISIONS if whole and not tiny else PRECISIONS[:1]:
            ready = self.ask(process, f"first {precision}")
            with self.alone(process):
                times = [self.ask(process, f"{precision} {steps}", 60) for _ in range(repeats)]
                with contextlib.suppress(RuntimeError):
                    product = self.ask(process, f"matmul {precision}", 60) if whole else 0.0
            median = statistics.median(times)
            rate = size.flops(batch, length) / median
            cells = [
                f"width {size.hidden}, {size.layers} layers, [{batch}, {length}, 74]",
                *(precision, side, spread([seconds * 1e3 for seconds in times], ".2f")),
                *(f"{batch * length / median:.0f}", f"{rate / 1e12:.2f}"),
                *((f"{product / 1e12:.2f}", f"{rate / product:.0%}") if product else ("", "")),
                *(f"{ready['first']:.1f}", ready["where"]),
            ]
            self.tell(f"| {' | '.join(cells)} |")

    def job(self, side: str, kind: str, process: Side) -> None:
        """Epochs of a pretraining; the first, which compiles, apart."""
        steps, epochs = (1, 2) if self.options.tiny else (63, 10)
        first, error = self.ask(process, steps)["seconds"], None
        with self.alone(process):
            done = [self.ask(process, steps, 60) for _ in range(epochs - 1)]
        with contextlib.suppress(RuntimeError):
            error = self.ask(process, -1)
        rates = [turn["frames"] / turn["seconds"] for turn in done]
        data = "speech" if (self.options.shared / "data").exists() else "drawn frames"
        self.tell(
            f"job with {kind} on {data}, {side}, mixed_bfloat16: first epoch {first:.1f} s, then "
            f"{spread(rates, '.0f')} real frames/s; after {epochs} epochs of {steps} steps, error "
            f"on hidden timesteps (trivial: of the corpus mean): {error}"
        )


def spread(values: list[float], form: str) -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, help="file for the table")
    parser.add_argument("--deadline", type=float, default=470, help="seconds")
    parser.add_argument("--together", type=int, default=3, help="sides that get ready at a time")
    parser.add_argument("--tasks", default="", help="only those that this finds: 'JAX; small'")
    parser.add_argument("--tiny", action="store_true", help="on a CPU, meaningless numbers")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=list(SIZES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        sizes = TINY if options.tiny else SIZES
        serve(options.serve, *sizes[options.size], 256 if options.tiny else 8192)
        return
    chosen = options.tasks or ("small|pooling 10" if options.tiny else "")
    tasks = [task for task in TASKS if re.search(chosen, "; ".join(task))]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(options, Path(folder))
        with ThreadPoolExecutor(options.together) as pool:
            list(pool.map(bench.do, tasks))
    print(f"\n{datetime.date.today()}, {time.perf_counter() - BEGIN:.0f} s\n\n{bench.text()}")


if __name__ == "__main__":
    main()
