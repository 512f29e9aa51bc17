"""What goes into and comes out of an export: names, shapes, limits."""

from typing import NamedTuple

import numpy as np

NUM_FEATURES = 74
"""COVAREP columns of a row."""

FRAME_PERIOD = 0.01
"""Seconds from one row to the next."""

MAX_FRAMES = 12_000
"""Longest segment that is answered (two minutes); attention over more would exhaust a server."""

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
"""Emotions in the order of MOSEI's label file, the columns of every output."""

PREDICT_SIGNATURE = "serving_default"
EXAMPLES_SIGNATURE = "serving_examples"
EMBEDDING_SIGNATURE = "embedding"

EXAMPLE_FEATURE = "features"
"""Key of the rows in a serialised `tf.train.Example`, a flat list of T x 74 floats."""

OUTPUTS = ("intensity", "class", "present", "expected")
"""Numeric outputs [B, 6] of both prediction signatures; `emotions` [B, 6] names them."""

EXTRA_ASSETS = "assets.extra"
"""Folder of a SavedModel that TensorFlow leaves to others."""


class Segment(NamedTuple):
    """A stretch of speech to be judged, whatever it was read or computed from.

    Attributes:
        name: what it is a part of, such as a video id.
        start: its start in seconds.
        end: its end in seconds.
        features: float32 [T, 74], raw COVAREP rows.
        truth: [6] labelled intensities, where they are known.
    """

    name: str
    start: float
    end: float
    features: np.ndarray
    truth: np.ndarray | None = None
