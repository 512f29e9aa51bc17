"""The same model in TensorFlow and in other runtimes, in one process; part of `serving.py`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEGMENT = 650
TARGETS = {"bare Keras": 1.3, "ONNX Runtime": 1.5}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    values = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return dict(zip(("p50", "p95", "p99"), map(float, values), strict=True))


def take_turns(
    calls: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each call: ten in a row, then one by one, one caller after the other.

    A server runs one model, whose code and weights its caches hold: ten in a row. One by one,
    every call finds the caches full of the others'.
    """
    for call in calls.values():
        for _ in range(20):
            call()
    seconds: dict[str, dict[str, list[float]]] = {
        name: {"clock": [], "processor": [], "clock, alternating": []} for name in calls
    }
    for _ in range(repeats // 10):
        for name, call in calls.items():
            for _ in range(10):
                clock, processor_time = time.perf_counter(), time.process_time()
                call()
                seconds[name]["processor"].append(time.process_time() - processor_time)
                seconds[name]["clock"].append(time.perf_counter() - clock)
    for _ in range(repeats):
        for name, call in calls.items():
            clock = time.perf_counter()
            call()
            seconds[name]["clock, alternating"].append(time.perf_counter() - clock)
    return seconds


def compare_runtimes(
    model, exported: Path, frames: int, repeats: int
) -> dict[str, dict[str, list[float]]]:
    """One segment in this process: the export, bare Keras, ONNX Runtime, OpenVINO."""
    import onnxruntime
    import openvino
    import tensorflow as tf

    from mosei_ssl.serving.portable import to_onnx
    from mosei_ssl.serving.signatures import OUTPUTS

    rows = np.random.default_rng(1).normal(size=(1, frames, 74)).astype(np.float32)
    length = np.array([frames], np.int32)
    loaded = tf.saved_model.load(str(exported))
    served = loaded.signatures["serving_default"]
    predictor = model.to_predictor()
    forward = tf.function(lambda x: predictor(x))
    inputs = {"features": tf.constant(rows), "padding_mask": tf.ones([1, frames], tf.bool)}
    tensors = {"features": tf.constant(rows), "length": tf.constant(length)}

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        to_onnx(model), settings, providers=["CPUExecutionProvider"]
    )
    core = openvino.Core()
    whole = core.read_model(str(exported))
    numbers = [r for r in whole.get_results() if r.output(0).get_any_name() in OUTPUTS]
    compiled = core.compile_model(
        openvino.Model(numbers, whole.get_parameters(), "emotion"),
        "CPU",
        {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"},
    )
    arrays = {"features": rows, "length": length}
    return take_turns(
        {
            "serving_default": lambda: served(**tensors)["intensity"].numpy(),
            "bare Keras": lambda: forward(inputs)["intensity"].numpy(),
            "ONNX Runtime": lambda: session.run(list(OUTPUTS), arrays),
            "OpenVINO": lambda: compiled(arrays),
        },
        repeats,
    )


def describe_runtimes(
    name: str, runtimes: dict[int, dict[str, dict[str, list[float]]]]
) -> tuple[list[str], list[str]]:
    """What `compare_runtimes` found for a model at each length: text, and targets missed."""
    rows = [
        [frames, kind, *(percentiles(times[kind])["p50"] for times in calls.values())]
        for frames, calls in runtimes.items()
        for kind in calls["serving_default"]
    ]
    header = ["frames", "time", *runtimes[SEGMENT]]
    of_segment = {
        row[1]: dict(zip(header[2:], row[2:], strict=True)) for row in rows if row[0] == SEGMENT
    }
    told, missed = [], []
    for other, target in TARGETS.items():
        ratios = {kind: p50["serving_default"] / p50[other] for kind, p50 in of_segment.items()}
        told.append(
            f"{ratios['clock']:.2f} times {other} (target: {target}; in processor time "
            f"{ratios['processor']:.2f}; alternating {ratios['clock, alternating']:.2f})"
        )
        missed += [f"{other} ({name})"] if ratios["clock"] > target else []
    return [
        f"{name}:\n",
        table(header, rows),
        f"For 650 frames (6.5 s) `serving_default` takes {' and '.join(told)}.\n",
    ], missed


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown."""
    cells = [[f"{c:.2f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
