"""Requests that a server runs before it takes others, so that the first user does not wait."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.serving.signatures import (
    EMBEDDING_SIGNATURE,
    EXAMPLES_SIGNATURE,
    PREDICT_SIGNATURE,
    serialise,
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


def write_warmup(directory: Path) -> None:
    """Write warm-up requests for every signature of a SavedModel, over the usual lengths.

    Nothing is written where TF Serving's protos are not installed.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        # A hint: nothing is wrong with the export, and most are never put on a server.
        _log.info(
            "no warm-up requests were written, so a server's first answers will be slow; install "
            "mosei_ssl[serving] to get them"
        )
        return
    import tensorflow as tf

    file = directory / WARMUP
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in _requests():
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString(deterministic=True))


def _requests() -> Iterator[Any]:
    """PredictRequest messages without a model name, which the server knows."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    def request(signature: str, **inputs: Any) -> Any:
        message = predict_pb2.PredictRequest()
        message.model_spec.signature_name = signature
        for name, tensor in inputs.items():
            message.inputs[name].CopyFrom(tensor)
        return message

    def zeros(batch: int, frames: int) -> dict[str, Any]:
        # One value stands for all of them, so that hours of zeros take a few bytes.
        features = tf.make_tensor_proto(0.0, shape=[batch, frames, NUM_FEATURES])
        return {"features": features, "length": tf.make_tensor_proto(frames, shape=[batch])}

    shapes = [(b, t) for t in LENGTHS for b in BATCH_SIZES if b * t <= _LARGEST]
    for shape in shapes:
        yield request(PREDICT_SIGNATURE, **zeros(*shape))
    yield request(EMBEDDING_SIGNATURE, **zeros(*shapes[0]))
    example = serialise(np.zeros((LENGTHS[0], NUM_FEATURES)))
    yield request(EXAMPLES_SIGNATURE, examples=tf.make_tensor_proto([example]))
