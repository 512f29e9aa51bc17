"""Requests that a server runs before it takes others, so that the first user does not wait."""

import logging
from pathlib import Path

from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.serving.signatures import (
    EMBEDDING_SIGNATURE,
    EXAMPLE_FEATURE,
    EXAMPLES_SIGNATURE,
    PREDICT_SIGNATURE,
)
from tfds_mosei.schema import NUM_FEATURES

_log = logging.getLogger(__name__)

WARMUP = f"{EXTRA_ASSETS}/tf_serving_warmup_requests"
"""The name is TF Serving's."""

LENGTHS = (50, 100, 200, 400, 650, 1000, 1660, 3000, 6000, 12_000)
"""Frames: from half a second to the longest that is answered; in MOSEI the median is 650 and 95 %
are below 1,660."""

BATCH_SIZES = (1, 8)
_LARGEST = 16_000
"""Frames, padding included, beyond which warming up would take longer than it saves."""


def write_warmup(directory: Path) -> Path | None:
    """Write warm-up requests for every signature of a SavedModel, over the usual lengths.

    The file is a TFRecord of PredictionLog messages; None where TF Serving's protos are not
    installed.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        # A hint: nothing is wrong with the export, and most are never put on a server.
        _log.info(
            "without warm-up requests, so a server's first answers will be slow; "
            "mosei_ssl[serving] brings what writes them (tensorflow-serving-api)"
        )
        return None
    import tensorflow as tf

    file = directory / WARMUP
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in _requests():
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString(deterministic=True))
    return file


def _requests() -> list:
    """PredictRequest messages without a model name, which the server knows."""
    import tensorflow as tf

    rows = tf.train.FloatList(value=[0.0] * (LENGTHS[0] * NUM_FEATURES))
    feature = {EXAMPLE_FEATURE: tf.train.Feature(float_list=rows)}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    examples = tf.make_tensor_proto([example.SerializeToString()])
    shapes = [(b, t) for t in LENGTHS for b in BATCH_SIZES if b * t <= _LARGEST]
    return [
        *(_request(PREDICT_SIGNATURE, **_zeros(*shape)) for shape in shapes),
        _request(EMBEDDING_SIGNATURE, **_zeros(*shapes[0])),
        _request(EXAMPLES_SIGNATURE, examples=examples),
    ]


def _request(signature: str, **inputs):
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    return request


def _zeros(batch: int, frames: int) -> dict:
    import tensorflow as tf

    features = tf.make_tensor_proto(0.0, tf.float32)
    length = tf.make_tensor_proto(frames, tf.int32)
    # One value stands for all of them, so that hours of zeros take a few bytes.
    for tensor, shape in ((features, (batch, frames, NUM_FEATURES)), (length, (batch,))):
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
    return {"features": features, "length": length}
