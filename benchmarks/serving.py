"""What an export costs: beside bare Keras and other runtimes, through sockets, and made smaller.

    python benchmarks/serving.py [--run RUN] [--data-dir DIR] [--out benchmarks/results] [--quick]

Without ``--run`` a model of the default size with random weights is measured; with it, that run's
model too, and with ``--data-dir`` also what the smaller formats cost in scores. Runtimes take
turns, ten requests in a row, on one core and with one thread each, by the clock and in processor
time; targets are judged by the clock. Other work on that core is counted by the clock too:
``chrt -f 1 python benchmarks/serving.py`` keeps the core free meanwhile, and gives it back before
sockets are measured. Sockets are those of the tests' stand-in server: its absolute numbers say
nothing of TF Serving's. Exits with 1 if a target is missed.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from serving_runtimes import SEGMENT, compare_runtimes, describe_runtimes, percentiles, table

STANDIN = Path(__file__).parents[1] / "tests" / "serving" / "standin.py"
LENGTHS = (100, 650, 1660)
BATCHES = (1, 8, 32)
FIRST_REQUEST_TARGET = 3.0


def build_model(run: str | None):
    """The run's emotion model, or one of the default size with random weights."""
    from mosei_ssl.config import TransformerConfig
    from mosei_ssl.models import EmotionModel, build_backbone
    from mosei_ssl.training.saved_models import load_model

    if run:
        return load_model(Path(run) / "model.keras")
    draw = np.random.default_rng(0)
    backbone = build_backbone(TransformerConfig(), draw.normal(size=74), draw.uniform(0.5, 2, 74))
    return EmotionModel(backbone)


class Server:
    """The tests' stand-in server, in its own process."""

    def __init__(self, base: Path, *options: str):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [sys.executable, STANDIN, base, "--threads", "1", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        ports = json.loads(self.process.stdout.readline())
        self.urls = {
            "REST": f"http://127.0.0.1:{ports['rest']}",
            "gRPC": f"grpc://127.0.0.1:{ports['grpc']}",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(20)


def speech(count: int, frames: int) -> list[np.ndarray]:
    """Segments of one length."""
    draw = np.random.default_rng(2)
    return [draw.normal(size=(frames, 74)).astype(np.float32) for _ in range(count)]


def ask_repeatedly(client, segments: list[np.ndarray], repeats: int) -> list[float]:
    """Seconds of each of so many requests."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        client.predict(segments)
        seconds.append(time.perf_counter() - start)
    return seconds


def first_requests(base: Path, repeats: int, options: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of a server's first answer, and the median of those after it."""
    from mosei_ssl.serving import connect
    from mosei_ssl.serving.errors import ModelNotFound

    with Server(base, *options) as server, connect(server.urls["gRPC"]) as client:
        # Neither the connection nor what a client does for the first time is what is measured.
        client.status()
        with (
            connect(server.urls["gRPC"], "absent") as absent,
            contextlib.suppress(ModelNotFound),
        ):
            absent.predict(speech(1, SEGMENT))
        seconds = ask_repeatedly(client, speech(1, SEGMENT), repeats)
    return seconds[0], float(np.median(seconds[1:]))


def load(base: Path, repeats: int) -> tuple[list[dict], list[dict]]:
    """Latency by protocol, batch size and length; throughput by number of clients."""
    from mosei_ssl.serving import connect

    shapes, crowds = [], []
    with Server(base) as server:
        for protocol, url in server.urls.items():
            with connect(url, max_batch=64) as client:
                client.max_frames = 10**6  # never split a request
                for batch in BATCHES:
                    for frames in LENGTHS:
                        segments = speech(batch, frames)
                        ask_repeatedly(client, segments, 3)
                        seconds = ask_repeatedly(client, segments, max(repeats // batch, 10))
                        shapes.append(
                            {
                                "protocol": protocol,
                                "batch": batch,
                                "frames": frames,
                                **percentiles(seconds),
                                "segments_per_second": batch / float(np.mean(seconds)),
                            }
                        )
            for clients in (1, 4, 16):
                crowds.append({"protocol": protocol, **crowd(url, clients, repeats)})
    return shapes, crowds


def crowd(url: str, clients: int, repeats: int) -> dict[str, float]:
    """Several clients at once, a segment per request."""
    from mosei_ssl.serving import connect

    seconds: list[float] = []
    each = max(repeats // clients, 5)

    def ask() -> None:
        with connect(url, timeout=120) as client:
            seconds.extend(ask_repeatedly(client, speech(1, SEGMENT), each))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(seconds) / (time.perf_counter() - start)
    return {"clients": clients, **percentiles(seconds), "segments_per_second": rate}


def formats(model, data_dir: str | None, dataset: str | None) -> list[dict]:
    """Size of every format, and the scores it gives on the test split."""
    from ai_edge_litert.interpreter import Interpreter

    from mosei_ssl.metrics import evaluate_predictions
    from mosei_ssl.serving.portable import to_litert, to_onnx
    from mosei_ssl.serving.signatures import OUTPUTS

    segments = labels = None
    if data_dir:
        from mosei_ssl.config import DataConfig
        from mosei_ssl.data import load_segments

        split = load_segments(DataConfig(data_dir=data_dir, dataset=dataset), "test").labelled()
        segments, labels = list(split), split.emotions
    rows = []
    truth = None
    for precision in ("", "float16", "int8"):
        content = to_litert(model, precision)
        row: dict[str, Any] = {
            "format": f"LiteRT {precision or 'float32'}",
            "kilobytes": len(content) / 1e3,
        }
        if segments is not None:
            run = Interpreter(model_content=content, num_threads=1).get_signature_runner()
            answers = [run(features=np.ascontiguousarray(s)[None]) for s in segments]
            found = {name: np.concatenate([a[name] for a in answers]) for name in OUTPUTS}
            truth = truth or found
            row["max_difference_present"] = float(np.abs(found["present"] - truth["present"]).max())
            row.update(evaluate_predictions(labels, found)["overall"])
        rows.append(row)
    rows.append({"format": "ONNX float32", "kilobytes": len(to_onnx(model)) / 1e3})
    return rows


def plot(shapes: list[dict], file: Path) -> None:
    """Latency and throughput against batch size, a line per length."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 7), sharex=True, layout="constrained")
    for column, protocol in enumerate(("gRPC", "REST")):
        for frames in LENGTHS:
            rows = [s for s in shapes if (s["protocol"], s["frames"]) == (protocol, frames)]
            batch = [row["batch"] for row in rows]
            [line] = axes[0, column].plot(
                batch, [row["p50"] for row in rows], "o-", label=f"{frames / 100:g} s of speech"
            )
            axes[0, column].fill_between(
                batch,
                [row["p50"] for row in rows],
                [row["p99"] for row in rows],
                color=line.get_color(),
                alpha=0.2,
            )
            rates = [row["segments_per_second"] for row in rows]
            axes[1, column].plot(batch, rates, "o-", color=line.get_color())
        axes[0, column].set(title=protocol, yscale="log", xscale="log", ylabel="ms (p50 to p99)")
        axes[1, column].set(xlabel="segments per request", ylabel="segments per second")
        axes[1, column].set_xticks(BATCHES, [str(b) for b in BATCHES])
        axes[1, column].set_ylim(bottom=0)
    axes[0, 0].legend()
    figure.savefig(file, dpi=120)


def processor() -> str:
    """Name of the processor, as the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), "unknown")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", help="a finished fine-tuning run")
    parser.add_argument("--data-dir", help="prepared datasets, to score the smaller formats on")
    parser.add_argument("--dataset", help="which of them")
    parser.add_argument("--out", default="benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that it works")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # As the deployment files set it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from mosei_ssl.serving import export_model

    repeats = 20 if options.quick else 200
    model = build_model(options.run)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    described, missed = [], []
    with tempfile.TemporaryDirectory() as folder:
        cores = os.sched_getaffinity(0)
        exported = export_model(model, Path(folder) / "emotion")
        models = {"Default size, random weights": (build_model(None), Path(folder) / "default")}
        if options.run:
            models = {"The run's model": (model, None), **models}
        for name, (measured, to) in models.items():
            place = export_model(measured, to) if to else exported
            os.sched_setaffinity(0, {max(cores)})
            runtimes = {n: compare_runtimes(measured, place, n, repeats) for n in LENGTHS}
            os.sched_setaffinity(0, cores)
            text, failed = describe_runtimes(name, runtimes)
            described += text
            missed += failed
        alone = os.sched_getscheduler(0) == os.SCHED_FIFO
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        warm = [first_requests(exported.parent, 30, ()) for _ in range(1 if options.quick else 3)]
        cold = first_requests(exported.parent, 30, ("--no-warmup",))
        shapes, crowds = load(exported.parent, 20 if options.quick else 60)
    sizes = formats(model, options.data_dir, options.dataset)
    plot(shapes, out / "serving.png")

    first = float(np.median([a / b for a, b in warm]))
    missed += ["warm-up"] if first >= FIRST_REQUEST_TARGET else []
    packages = ("tensorflow", "keras", "onnxruntime", "openvino", "ai-edge-litert")
    command = " ".join(
        [
            *(["chrt -f 1"] if alone else []),
            "python benchmarks/serving.py",
            *(["--run RUN"] if options.run else []),
            *(["--data-dir DIR"] if options.data_dir else []),
        ]
    )
    parts = [
        "# Serving\n",
        f"{date.today()}, {processor()}, {len(cores)} cores (load average "
        f"{os.getloadavg()[0]:.0f} at the end), Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f".\nModel: {type(model.backbone).__name__}, {model.count_params():,} weights"
        + ("" if options.run else ", random")
        + f". Command: `{command}`.\n",
        "## In one process, one core, one thread each: ms per segment (p50)\n",
        *described,
        "TensorFlow runs without oneDNN (`TF_ENABLE_ONEDNN_OPTS=0`), as in the deployment files. "
        "Bare Keras is the same model as a compiled function. Runtimes take turns of ten requests; "
        "alternating, turns of one, where each finds the processor's caches full of the others'."
        + (" The core was kept free by real-time priority.\n" if alone else "\n"),
        "## First request, 650 frames over gRPC, to the stand-in server\n",
        f"After warm-up {first:.2f} times the median of those that follow (median of {len(warm)} "
        f"starts; target: {FIRST_REQUEST_TARGET:g}); without warm-up {cold[0] / cold[1]:.1f} "
        "times.\n",
        "## Through sockets, to the stand-in server (which is not TF Serving), one client\n",
        table(
            ["protocol", "segments", "frames", "p50 ms", "p95 ms", "p99 ms", "segments/s"],
            [list(row.values()) for row in shapes],
        ),
        "![latency and throughput](serving.png)\n",
        "Several clients at once, one segment of 650 frames a request:\n",
        table(
            ["protocol", "clients", "p50 ms", "p95 ms", "p99 ms", "segments/s"],
            [list(row.values()) for row in crowds],
        ),
        "## Other formats\n",
        table(
            list(sizes[0]),
            [
                [
                    f"{row[k]:.4f}"
                    if isinstance(row.get(k), float) and k != "kilobytes"
                    else row.get(k, "")
                    for k in sizes[0]
                ]
                for row in sizes
            ],
        ),
        f"Targets missed: {', '.join(missed) or 'none'}.\n",
    ]
    (out / "serving.md").write_text("\n".join(parts), encoding="utf-8")
    print("\n".join(parts))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
