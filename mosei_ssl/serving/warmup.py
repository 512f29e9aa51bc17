"""Requests that a server runs before it takes others, so that the first user does not wait."""

import logging
from pathlib import Path

from mosei_ssl.serving.schema import (
    EMBEDDING_SIGNATURE,
    EXAMPLE_FEATURE,
    EXAMPLES_SIGNATURE,
    EXTRA_ASSETS,
    NUM_FEATURES,
    PREDICT_SIGNATURE,
)

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
    """Write warm-up requests for every signature, over the usual lengths.

    Args:
        directory: a SavedModel.

    Returns:
        The file, a TFRecord of PredictionLog messages; None where TF Serving's protos are not
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
        for request in warmup_requests():
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString(deterministic=True))
    return file


def warmup_requests() -> list:
    """The requests themselves.

    Returns:
        PredictRequest messages without a model name, which the server knows.
    """
    from tensorflow_serving.apis import predict_pb2

    requests = []
    shapes = [(b, t) for t in LENGTHS for b in BATCH_SIZES if b * t <= _LARGEST]
    for signature in (PREDICT_SIGNATURE, EMBEDDING_SIGNATURE):
        for batch, frames in shapes if signature == PREDICT_SIGNATURE else shapes[:1]:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = signature
            # One value stands for all of them, so that hours of zeros take a few bytes.
            request.inputs["features"].CopyFrom(_filled([batch, frames, NUM_FEATURES], 0.0))
            request.inputs["length"].CopyFrom(_filled([batch], frames))
            requests.append(request)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = EXAMPLES_SIGNATURE
    request.inputs["examples"].CopyFrom(_example(LENGTHS[0]))
    return [*requests, request]


def _filled(shape: list[int], value: float | int):
    import tensorflow as tf

    kind = tf.float32 if isinstance(value, float) else tf.int32
    proto = tf.make_tensor_proto(value, kind)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _example(frames: int):
    import tensorflow as tf

    values = tf.train.FloatList(value=[0.0] * (frames * NUM_FEATURES))
    feature = {EXAMPLE_FEATURE: tf.train.Feature(float_list=values)}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return tf.make_tensor_proto([example.SerializeToString()])
