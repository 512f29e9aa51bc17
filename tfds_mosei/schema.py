"""Names, order, types and units of everything an example holds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import tensorflow_datasets as tfds

EMOTIONS: tuple[str, ...] = ("happy", "sad", "anger", "surprise", "disgust", "fear")
"""The six emotions in the order of the label files; each from 0 (absent) to 3 (strong)."""

LABEL_NAMES: tuple[str, ...] = ("sentiment", *EMOTIONS)
"""The seven columns of the label files; sentiment from -3 to 3."""

FEATURE_NAMES: tuple[str, ...] = (
    *("F0", "VUV", "NAQ", "QOQ", "H1H2", "PSP", "MDQ", "peakSlope", "Rd", "Rd_conf", "creak"),
    *(f"MCEP_{i}" for i in range(25)),
    *(f"HMPDM_{i}" for i in range(25)),
    *(f"HMPDD_{i}" for i in range(13)),
)
"""The 74 COVAREP columns in file order."""

NUM_FEATURES = len(FEATURE_NAMES)

VUV_COLUMN = FEATURE_NAMES.index("VUV")
"""Column that is 1 where the voice is on, 0 where it is off."""

FRAME_PERIOD = 0.01
"""Seconds from one feature row to the next."""

FEATURE_ROOT = "COVAREP"
"""Root name of the feature file."""

LABEL_ROOT = "All Labels"
"""Root name of the label file."""

HALF_TOLERANCE = 1e-6
"""Labels are multiples of 1/6 stored as float32: a half must round up however it was stored."""

LABELLED_SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""The splits that a folds file assigns videos to."""


def four_class(intensity: "np.ndarray") -> "np.ndarray":
    """Round intensities half up to the four classes 0, 1, 2, 3 of the dataset's authors.

    Args:
        intensity: any shape, float; values outside [0, 3] count as 0 or 3.

    Returns:
        int32 array of the same shape.

    Example:
        >>> four_class([0.5, 1.4999, 7.0]).tolist()
        [1, 1, 3]

    References:
        Zadeh et al., "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
        Interpretable Dynamic Fusion Graph", ACL 2018.
    """
    import numpy as np

    clipped = np.clip(np.asarray(intensity, dtype=np.float64), 0.0, 3.0)
    return np.floor(clipped + 0.5 + HALF_TOLERANCE).astype(np.int32)


def column_order(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Where each of the wanted columns is in a file that names its columns.

    Case and surrounding spaces do not matter. None if the names are not exactly the wanted ones.
    """
    found = [name.strip().lower() for name in names]
    if sorted(found) != sorted(name.lower() for name in wanted):
        return None
    return [found.index(name.lower()) for name in wanted]


def example_features() -> "tfds.features.FeaturesDict":
    """Names, shapes and types of an example's parts, as TFDS describes them."""
    import numpy as np
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict(
        {
            "video_id": tfds.features.Text(doc="Id of the video (YouTube id in MOSEI)."),
            "segment_id": tfds.features.Scalar(
                np.int32, doc="Row of the segment among the video's labels; -1 for none."
            ),
            "interval": tfds.features.Tensor(
                shape=(2,), dtype=np.float32, doc="Start and end in seconds."
            ),
            "features": tfds.features.Tensor(
                shape=(None, NUM_FEATURES),
                dtype=np.float32,
                # Many times faster to write than lists of floats, and as fast to read.
                encoding=tfds.features.Encoding.BYTES,
                doc="COVAREP rows every 10 ms, as published; may hold NaN and -inf.",
            ),
            "emotions": tfds.features.Tensor(
                shape=(len(EMOTIONS),),
                dtype=np.float32,
                doc=f"{', '.join(EMOTIONS)}: 0 to 3 each, not exclusive; NaN where unlabelled.",
            ),
            "sentiment": tfds.features.Scalar(np.float32, doc="-3 to 3; NaN where unlabelled."),
        }
    )
