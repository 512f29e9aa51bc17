"""Requests that a server runs before it takes others, so that the first user does not wait."""

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.serving.signatures import (
    CONTEXT_SIGNATURE,
    EMBEDDING_SIGNATURE,
    EXAMPLES_SIGNATURE,
    PREDICT_SIGNATURE,
    field,
    serialise,
)
from tfds_mosei.schema import NUM_FEATURES

WARMUP = f"{EXTRA_ASSETS}/tf_serving_warmup_requests"
"""The name is TF Serving's."""

LENGTHS = (50, 100, 200, 400, 650, 1000, 1660, 3000, 6000, 12_000)
"""Frames: from half a second to the longest that is answered; in MOSEI the median is 650 and 95 %
are below 1,660."""

BATCH_SIZES = (1, 8)
_EXAMPLES = (50, 650)  # which cannot be written shorter than they are
_LARGEST = 16_000
"""Frames, padding included, beyond which warming up would take longer than it saves."""


def write_warmup(directory: Path, signatures: Container[str]) -> None:
    """Write warm-up requests for the signatures of a SavedModel, over the usual lengths."""
    import tensorflow as tf

    file = directory / WARMUP
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in _requests():
            if signature in signatures:
                # PredictionLog.predict_log (6) > PredictLog.request (1)
                writer.write(field(6, field(1, _request(signature, inputs))))


def _requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Signatures and inputs."""
    import tensorflow as tf

    def zeros(batch: int, frames: int) -> dict[str, Any]:
        # One value stands for all of them, so that hours of zeros take a few bytes.
        features = tf.make_tensor_proto(0.0, shape=[batch, frames, NUM_FEATURES])
        return {"features": features, "length": tf.make_tensor_proto(frames, shape=[batch])}

    shapes = [(b, t) for t in LENGTHS for b in BATCH_SIZES if b * t <= _LARGEST]
    recording = {
        "recording_mean": tf.make_tensor_proto(0.0, shape=[1, NUM_FEATURES]),
        "recording_frames": tf.make_tensor_proto([3000]),
    }
    for shape in shapes:
        yield PREDICT_SIGNATURE, zeros(*shape)
        if shape[0] == 1:
            yield CONTEXT_SIGNATURE, zeros(*shape) | recording
    yield EMBEDDING_SIGNATURE, zeros(*shapes[0])
    for frames in _EXAMPLES:
        example = serialise(np.zeros((frames, NUM_FEATURES)))
        yield EXAMPLES_SIGNATURE, {"examples": tf.make_tensor_proto([example])}


def _request(signature: str, inputs: Mapping[str, Any]) -> bytes:
    """The bytes of a PredictRequest without a model name, which the server knows.

    TensorFlow has only the tensors. The message is model_spec (1) > ModelSpec.signature_name (3),
    and inputs (2), map entries of key (1) and TensorProto (2).
    """
    entries = [
        field(2, field(1, name.encode()) + field(2, tensor.SerializeToString()))
        for name, tensor in inputs.items()
    ]
    return field(1, field(3, signature.encode())) + b"".join(entries)
