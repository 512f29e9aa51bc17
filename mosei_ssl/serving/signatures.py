"""The functions that a server runs: their names, limits and graphs.

Importing this module does not import TensorFlow, which clients over REST do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mosei_ssl.data.context import CONTEXT_FRAMES
from tfds_mosei.schema import EMOTIONS, NUM_FEATURES

if TYPE_CHECKING:
    import tensorflow as tf

    from mosei_ssl.models import EmotionModel

MAX_FRAMES = 12_000
"""Longest segment that is answered (two minutes); attention over more would exhaust a server."""

PREDICT_SIGNATURE = "serving_default"
CONTEXT_SIGNATURE = "serving_context"
EXAMPLES_SIGNATURE = "serving_examples"
EMBEDDING_SIGNATURE = "embedding"

EXAMPLE_FEATURE = "features"
"""Key of the rows in a serialised `tf.train.Example`, a flat list of T x 74 floats."""

OUTPUTS = ("intensity", "class", "present", "expected")
"""Numeric outputs [B, 6] of both prediction signatures; `emotions` [B, 6] names the columns."""


def serving_signatures(
    model: EmotionModel, *, context: bool = True
) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """The functions of an export by name.

    `serving_default` and `embedding` take `features` float32 [B, T, 74] and `length` int32 [B];
    `serving_examples` takes `examples`, [B] serialised `tf.train.Example`; `serving_context`, for
    models trained in `context`, what `serving_default` takes, and of each segment's recording (or
    speaker) the means of all raw rows, `recording_mean` float32 [B, 74], and their number,
    `recording_frames` int32 [B]: see `mosei_ssl.data.context.in_context`. Every check is an
    operation of the graph, so that a server without Python makes it too, and fails the request
    with INVALID_ARGUMENT. The weights are copied as constants: a server folds what depends on
    them alone, once, and reads no variable per request.
    """
    import tensorflow as tf

    answers = frozen_answers(model)
    center = model.backbone.standardize.center.numpy()

    def predict(features, length):
        outputs = answers(features, length)
        # Names go with every row: servers batch and split all outputs along the first axis.
        names = tf.tile(tf.constant([EMOTIONS]), [tf.shape(features)[0], 1])
        return {**{name: outputs[name] for name in OUTPUTS}, "emotions": names}

    def serving_default(features, length):
        return predict(*_check(features, length))

    def serving_context(features, length, recording_mean, recording_frames):
        features, length = _check(features, length)
        recording_mean, recording_frames = _check_context(length, recording_mean, recording_frames)
        frames = tf.cast(recording_frames, tf.float32)[:, None]
        share = frames / (frames + CONTEXT_FRAMES)
        shift = share * (recording_mean - center)
        return predict(features - shift[:, None], length)

    def serving_examples(examples):
        return predict(*_parse(examples))

    def embedding(features, length):
        return {"embedding": answers(*_check(features, length))["embedding"]}

    in_context = (
        *_segment_specs(),
        tf.TensorSpec([None, NUM_FEATURES], tf.float32, "recording_mean"),
        tf.TensorSpec([None], tf.int32, "recording_frames"),
    )
    return {
        name: tf.function(function, autograph=False).get_concrete_function(*specs)
        for name, function, specs in (
            (PREDICT_SIGNATURE, serving_default, _segment_specs()),
            *([(CONTEXT_SIGNATURE, serving_context, in_context)] if context else []),
            (EXAMPLES_SIGNATURE, serving_examples, [tf.TensorSpec([None], tf.string, "examples")]),
            (EMBEDDING_SIGNATURE, embedding, _segment_specs()),
        )
    }


def frozen_answers(model: EmotionModel) -> tf.types.experimental.PolymorphicFunction:
    """All that a model answers, as one function without checks and without variables.

    It maps `features` float32 [B, T, 74] and `length` int32 [B] to a dict of the `OUTPUTS`, each
    [B, 6], and `embedding` float32 [B, E]; outputs that a caller does not use are pruned.
    """
    import keras
    import tensorflow as tf

    from mosei_ssl.models import emotion_predictions

    weights = [(variable, variable.numpy()) for variable in model.variables]

    def answers(features, length):
        frames = tf.range(tf.shape(features)[1])
        inputs = {"features": features, "padding_mask": frames[None, :] < length[:, None]}
        constants = [(variable, tf.constant(value)) for variable, value in weights]
        with keras.StatelessScope(state_mapping=constants):
            logits = model(inputs, training=False)
            outputs = {name: tf.identity(x) for name, x in emotion_predictions(logits).items()}
            outputs["embedding"] = tf.identity(model.embedding(inputs, training=False))
        # Keras's argmax reinterprets bits, an operation that other runtimes do not have.
        outputs["class"] = tf.argmax(tf.nn.softmax(logits), axis=-1, output_type=tf.int32)
        return outputs

    return tf.function(answers, input_signature=_segment_specs(), autograph=False)


def _segment_specs():
    import tensorflow as tf

    return (
        tf.TensorSpec([None, None, NUM_FEATURES], tf.float32, name="features"),
        tf.TensorSpec([None], tf.int32, name="length"),
    )


def _require(condition, *message):
    import tensorflow as tf

    # The usual assertion is a branch, which costs a server more than the check does.
    return tf.raw_ops.Assert(
        condition=condition, data=[tf.convert_to_tensor(part) for part in message], summarize=64
    )


def _check(features, length):
    import tensorflow as tf

    # A server does not compare what it is fed with the declared shape, and the optimiser drops a
    # check that the declared shape seems to answer; this operation makes the shape unknown.
    features = tf.raw_ops.PlaceholderWithDefault(input=features, shape=tf.TensorShape(None))
    length = tf.raw_ops.PlaceholderWithDefault(input=length, shape=tf.TensorShape(None))
    shape = tf.shape(features)
    width = tf.reduce_sum(shape[2:3])
    right_shapes = [
        _require(
            tf.equal(tf.rank(features), 3) & tf.equal(width, NUM_FEATURES),
            f"features must be [batch, frames, {NUM_FEATURES}] raw COVAREP rows, not",
            shape,
        ),
        _require(
            tf.equal(tf.rank(length), 1) & tf.equal(tf.size(length), tf.reduce_sum(shape[:1])),
            "length must be [batch], as many as segments, not",
            tf.shape(length),
        ),
    ]
    with tf.control_dependencies(right_shapes):
        features = tf.ensure_shape(tf.identity(features), [None, None, NUM_FEATURES])
        length = tf.ensure_shape(tf.identity(length), [None])
    frames = tf.shape(features)[1]
    right_lengths = [
        _few_enough(frames),
        _require(
            tf.reduce_all((length >= 1) & (length <= frames)),
            "every length must be from 1 to the number of frames",
            frames,
            "; given:",
            length,
        ),
    ]
    with tf.control_dependencies(right_lengths):
        return tf.identity(features), tf.identity(length)


def _check_context(length, recording_mean, recording_frames):
    import tensorflow as tf

    # As above.
    mean = tf.raw_ops.PlaceholderWithDefault(input=recording_mean, shape=tf.TensorShape(None))
    frames = tf.raw_ops.PlaceholderWithDefault(input=recording_frames, shape=tf.TensorShape(None))
    right_shapes = [
        _require(
            tf.equal(tf.rank(mean), 2)
            & tf.reduce_all(tf.shape(mean)[:1] == tf.size(length))
            & tf.reduce_all(tf.shape(mean)[1:2] == NUM_FEATURES),
            f"recording_mean must be [batch, {NUM_FEATURES}], not",
            tf.shape(mean),
        ),
        _require(
            tf.equal(tf.rank(frames), 1) & tf.equal(tf.size(frames), tf.size(length)),
            "recording_frames must be [batch], not",
            tf.shape(frames),
        ),
    ]
    with tf.control_dependencies(right_shapes):
        mean = tf.ensure_shape(tf.identity(mean), [None, NUM_FEATURES])
        frames = tf.ensure_shape(tf.identity(frames), [None])
    right_values = [
        _require(tf.reduce_all(tf.math.is_finite(mean)), "recording_mean must be finite"),
        _require(tf.reduce_all(frames >= 0), "recording_frames must not be negative"),
    ]
    with tf.control_dependencies(right_values):
        return tf.identity(mean), tf.identity(frames)


def _few_enough(frames):
    return _require(
        frames <= MAX_FRAMES,
        f"segments may have at most {MAX_FRAMES} frames, cut longer ones; given:",
        frames,
    )


def _parse(examples):
    import tensorflow as tf

    spec = tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int32)
    rows = tf.io.parse_example(examples, {EXAMPLE_FEATURE: spec})[EXAMPLE_FEATURE]
    numbers = rows.row_lengths()
    whole_frames = _require(
        tf.reduce_all((numbers > 0) & tf.equal(numbers % NUM_FEATURES, 0)),
        f"every example needs frames x {NUM_FEATURES} floats under the key '{EXAMPLE_FEATURE}', "
        "at least one frame; found:",
        numbers,
    )
    with tf.control_dependencies([whole_frames]):
        length = tf.identity(numbers) // NUM_FEATURES
    frames = tf.reduce_max(tf.concat([length, [0]], axis=0))
    # Checked before anything is padded to the longest.
    with tf.control_dependencies([_few_enough(frames)]):
        width = frames * NUM_FEATURES
    padded = rows.to_tensor(shape=tf.stack([rows.nrows(), width]))
    return tf.reshape(padded, [rows.nrows(), frames, NUM_FEATURES]), length


def serialise(rows: np.ndarray) -> bytes:
    """The bytes of a `tf.train.Example` with the float32 rows, without TensorFlow.

    The message is Example.features (1) > Features.feature (1) > map entry of key (1) and value
    (2) > Feature.float_list (2) > FloatList.value (1), packed.
    """
    values = np.ascontiguousarray(rows, dtype="<f4").tobytes()
    feature = field(2, field(1, values))
    entry = field(1, EXAMPLE_FEATURE.encode()) + field(2, feature)
    return field(1, field(1, entry))


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    head = bytearray([number << 3 | 2])
    size = len(content)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + content
