"""Names, order, types and units of everything an example holds."""

import collections
import functools
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfds_mosei.errors import CorpusError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow_datasets as tfds

_logger = logging.getLogger(__name__)

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

_OLDER_NAMES = 36  # COVAREP before mid-2015 named no HMPDM and HMPDD columns

VUV_COLUMN = FEATURE_NAMES.index("VUV")  # 1 where the voice is on, 0 where it is off

FRAME_PERIOD = 0.01
"""Seconds from one feature row to the next."""

FEATURE_ROOT = "COVAREP"
"""Root name of the feature file."""

LABEL_ROOT = "All Labels"
"""Root name of the label file."""

# Labels are multiples of 1/6 stored as float32: a half must round up however it was stored.
_HALF_TOLERANCE = 1e-6

LABELLED_SPLITS: tuple[str, ...] = ("train", "validation", "test")


def four_class(intensity: "np.ndarray") -> "np.ndarray":
    """Round intensities half up to the four classes 0, 1, 2, 3 of the dataset's authors.

    Args:
        intensity: any shape, float; values outside [0, 3] count as 0 or 3.

    Returns:
        int32 array of the same shape.

    Examples:
        >>> four_class([0.5, 1.4999, 7.0]).tolist()
        [1, 1, 3]

    References:
        Zadeh et al., "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
        Interpretable Dynamic Fusion Graph", ACL 2018.
    """
    import numpy as np

    clipped = np.clip(np.asarray(intensity, dtype=np.float64), 0.0, 3.0)
    return np.floor(clipped + 0.5 + _HALF_TOLERANCE).astype(np.int32)


SYNONYMS = {
    "creakprob": "creak",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "sadness": "sad",
    "angry": "anger",
    "surprised": "surprise",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
}
"""Other spellings of columns, as `plain_name` leaves them."""


def plain_name(name: str) -> str:
    """A column's name without case, spaces, underscores and leading zeros, synonyms resolved."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    plain = re.sub(r"(?<!\d)0+(?=\d)", "", plain)
    return SYNONYMS.get(plain, plain)


def column_order(
    names: Sequence[str] | None, wanted: Sequence[str], place: object
) -> list[int] | None:
    """Where each of the wanted columns is in a file that names its columns.

    None where the names say nothing: there are none, or they only number the columns. Names that
    are not exactly the wanted ones are a `CorpusError`: order by position would be a guess.
    """
    found = [plain_name(name) for name in names or ()]
    numbered = {re.sub(r"\d+$", "", name) for name in found}
    if len(found) < 2 or (len(numbered) == 1 and len({*found}) == len(wanted) == len(found)):
        return None
    plain = [plain_name(name) for name in wanted]
    if found == plain[:_OLDER_NAMES] and len(wanted) == NUM_FEATURES:
        _warn_once(
            f"{len(found)} names for {len(wanted)} columns, as older COVAREP wrote them: the "
            "others are taken to follow in the usual order."
        )
        return list(range(len(wanted)))
    if sorted(found) == sorted(plain):
        return [found.index(name) for name in plain]
    unknown = [name for name, known in zip(names or (), found, strict=True) if known not in plain]
    twice = [name for name, count in collections.Counter(found).items() if count > 1]
    missing = [name for name, known in zip(wanted, plain, strict=True) if known not in found]
    wrong = (("not known", unknown), ("twice", twice), ("missing", missing))
    details = "; ".join(f"{what}: {', '.join(found)}" for what, found in wrong if found)
    listed = ", ".join(names or ()) if len(found) <= len(LABEL_NAMES) else f"{len(found)} names"
    message = (
        f"{place}: the columns are named {listed}; {details}. The names {', '.join(wanted)} are "
        "needed, in any order: correct the names in the file, or leave them out if the columns are "
        "in this order."
    )
    raise CorpusError(" ".join(message.split()))  # names may hold line breaks


@functools.lru_cache
def _warn_once(text: str) -> None:
    _logger.warning(text)


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
