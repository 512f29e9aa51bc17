"""The functions that a server runs, built around an emotion model."""

import keras
import tensorflow as tf

from mosei_ssl.serving.schema import (
    EMBEDDING_SIGNATURE,
    EMOTIONS,
    EXAMPLE_FEATURE,
    EXAMPLES_SIGNATURE,
    MAX_FRAMES,
    NUM_FEATURES,
    OUTPUTS,
    PREDICT_SIGNATURE,
)


class ServingModule(tf.Module):
    """An emotion model as plain TensorFlow functions over raw COVAREP rows.

    Every check is an operation of the graph, so that a server without Python makes it too, and
    fails the request with INVALID_ARGUMENT.

    Args:
        model: EmotionModel. Its weights are shared, not copied.

    Example:
        >>> module = ServingModule(emotion_model)
        >>> tf.saved_model.save(module, "export", signatures=module.signatures())
    """

    def __init__(self, model: keras.Model):
        super().__init__(name="serving")
        # The Keras model itself stays out of what is saved; only its weights are tracked.
        self.weights = [variable.value for variable in model.variables]
        self._functions = _functions(model)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures by name.

        Returns:
            `serving_default` and `embedding`, from `features` float32 [B, T, 74] and `length`
            int32 [B]; `serving_examples`, from `examples`, [B] serialised `tf.train.Example`.
        """
        return self._functions


def _functions(model: keras.Model) -> dict[str, tf.types.experimental.ConcreteFunction]:
    predictor = model.to_predictor()

    def predict(features, length):
        outputs = predictor(_model_inputs(features, length))
        # Names go with every row: servers batch and split all outputs along the first axis.
        names = tf.tile(tf.constant([EMOTIONS]), [tf.shape(features)[0], 1])
        return {**{name: outputs[name] for name in OUTPUTS}, "emotions": names}

    def serving_default(features, length):
        return predict(*_check(features, length))

    def serving_examples(examples):
        return predict(*_parse(examples))

    def embedding(features, length):
        features, length = _check(features, length)
        return {"embedding": model.embedding(_model_inputs(features, length), training=False)}

    segments = (
        tf.TensorSpec([None, None, NUM_FEATURES], tf.float32, name="features"),
        tf.TensorSpec([None], tf.int32, name="length"),
    )
    examples = (tf.TensorSpec([None], tf.string, name="examples"),)
    return {
        name: tf.function(function, autograph=False).get_concrete_function(*specs)
        for name, function, specs in (
            (PREDICT_SIGNATURE, serving_default, segments),
            (EXAMPLES_SIGNATURE, serving_examples, examples),
            (EMBEDDING_SIGNATURE, embedding, segments),
        )
    }


def _model_inputs(features, length):
    frames = tf.range(tf.shape(features)[1])
    return {"features": features, "padding_mask": frames[None, :] < length[:, None]}


def _check(features, length):
    # A server does not compare what it is fed with the declared shape, and the optimiser drops a
    # check that the declared shape seems to answer; this operation makes the shape unknown.
    features = tf.raw_ops.PlaceholderWithDefault(input=features, shape=tf.TensorShape(None))
    length = tf.raw_ops.PlaceholderWithDefault(input=length, shape=tf.TensorShape(None))
    shape = tf.shape(features)
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                tf.reduce_all(
                    [
                        tf.equal(tf.rank(features), 3),
                        tf.equal(tf.reduce_sum(shape[2:3]), NUM_FEATURES),
                    ]
                ),
                [f"features must be [batch, frames, {NUM_FEATURES}] raw COVAREP rows, not", shape],
                summarize=8,
            )
        ]
    ):
        features = tf.ensure_shape(tf.identity(features), [None, None, NUM_FEATURES])
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                tf.reduce_all(tf.equal(tf.shape(length), shape[:1])),
                ["length must be [batch], as many as segments, not", tf.shape(length)],
                summarize=8,
            )
        ]
    ):
        length = tf.ensure_shape(tf.identity(length), [None])
    return _check_length(features, length, tf.shape(features)[1])


def _check_length(features, length, frames):
    limits = [
        tf.debugging.Assert(
            frames <= MAX_FRAMES,
            [f"segments may have at most {MAX_FRAMES} frames, cut longer ones; given:", frames],
        ),
        tf.debugging.Assert(
            tf.reduce_all((length >= 1) & (length <= frames)),
            ["every length must be from 1 to the number of frames", frames, "; given:", length],
            summarize=64,
        ),
    ]
    with tf.control_dependencies(limits):
        return tf.identity(features), tf.identity(length)


def _parse(examples):
    rows = tf.io.parse_example(
        examples, {EXAMPLE_FEATURE: tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int32)}
    )[EXAMPLE_FEATURE]
    numbers = rows.row_lengths()
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                tf.reduce_all((numbers > 0) & (numbers % NUM_FEATURES == 0)),
                [
                    f"every example needs frames x {NUM_FEATURES} floats under the key "
                    f"'{EXAMPLE_FEATURE}', at least one frame; found:",
                    numbers,
                ],
                summarize=64,
            )
        ]
    ):
        length = tf.identity(numbers) // NUM_FEATURES
    frames = tf.reduce_max(tf.concat([length, [0]], axis=0))
    # Checked before anything is padded to the longest.
    with tf.control_dependencies(
        [
            tf.debugging.Assert(
                frames <= MAX_FRAMES,
                [f"segments may have at most {MAX_FRAMES} frames, cut longer ones; given:", frames],
            )
        ]
    ):
        width = frames * NUM_FEATURES
    padded = rows.to_tensor(shape=tf.stack([rows.nrows(), width]))
    return tf.reshape(padded, [rows.nrows(), frames, NUM_FEATURES]), length
