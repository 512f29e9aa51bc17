"""Exports for small devices and other runtimes: LiteRT (TFLite) and ONNX."""

import functools
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosei_ssl.models import EmotionModel
from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.serving.signatures import frozen_answers
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_bytes
from tfds_mosei.schema import NUM_FEATURES

FORMATS = {
    "litert": f"{EXTRA_ASSETS}/model.tflite",
    "litert-float16": f"{EXTRA_ASSETS}/model_float16.tflite",
    "litert-int8": f"{EXTRA_ASSETS}/model_int8.tflite",
    "onnx": f"{EXTRA_ASSETS}/model.onnx",
}
"""Where each format is put in an export."""


def check_formats(formats: Sequence[str]) -> None:
    """Raise a UserError for an unknown format, or one whose converter is not installed."""
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"unknown export format {name!r}; known: {', '.join(FORMATS)}.")
    if "onnx" in formats and importlib.util.find_spec("tf2onnx") is None:
        raise UserError(
            "the format 'onnx' needs tf2onnx: install mosei_ssl[portable], or leave it out."
        )


def write_portable(model: EmotionModel, directory: Path, formats: Sequence[str]) -> None:
    """Write an emotion model in other formats, keys of `FORMATS`, beside its SavedModel."""
    for name in formats:
        convert = to_onnx if name == "onnx" else functools.partial(to_litert, precision=name[7:])
        write_bytes(directory / FORMATS[name], convert(model))


def to_litert(model: EmotionModel, precision: str = "") -> bytes:
    """Convert an emotion model to LiteRT.

    It takes one segment at a time, unpadded: `features` float32 [1, T, 74], any T. That is what a
    device asks, and more than one unknown dimension would need TensorFlow's own kernels. Its
    signature `serving_default` answers as an export does, without `emotions`. Weights are stored
    in the `precision` "" (float32), "float16", or "int8" (large weights only, one scale per
    channel; activations stay in floating point).
    """
    import tensorflow as tf

    answers = frozen_answers(model).python_function

    def one_segment(features):
        return answers(features, tf.fill([1], tf.shape(features)[1]))

    spec = tf.TensorSpec([1, None, NUM_FEATURES], tf.float32, name="features")
    function = tf.function(one_segment, input_signature=[spec], autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        signatures = {"serving_default": function.get_concrete_function()}
        tf.saved_model.save(tf.Module(), folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def to_onnx(model: EmotionModel) -> bytes:
    """Convert an emotion model to ONNX.

    It maps `features` float32 [B, T, 74] and `length` int32 [B] to the outputs of an export,
    without `emotions`, and `embedding`. Nothing checks the lengths.
    """
    import tensorflow as tf
    from tf2onnx import optimizer, tf_loader, tfonnx

    function = frozen_answers(model).get_concrete_function()
    inputs = [tensor.name for tensor in function.inputs]
    outputs = [tensor.name for tensor in function.outputs]
    names = ["features", "length", *sorted(function.structured_outputs)]
    graph_def = tf_loader.from_function(function, inputs, outputs)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        converted = tfonnx.process_tf_graph(
            graph,
            opset=18,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=dict(zip([*inputs, *outputs], names, strict=True)),
            custom_op_handlers={"SelectV2": (_select, [])},
            continue_on_error=False,
        )
        passes = dict(optimizer._get_optimizers())
        # Together with another pass it loses a reshape, and batches of two fail.
        passes.pop("reshape_optimizer", None)
        converted = optimizer.optimize_graph(converted, catch_errors=False, optimizers=passes)
        return converted.make_model("mosei_ssl emotion model").SerializeToString()


def _select(_context: object, node: Any, _name: str, _args: object) -> None:
    # tf2onnx multiplies by the condition instead, and what is not chosen comes through as NaN.
    node.type = "Where"
