"""What an example holds, as TFDS describes it."""

import numpy as np
import tensorflow_datasets as tfds

from tfds_mosei.schema import EMOTIONS, NUM_FEATURES


def example_features() -> tfds.features.FeaturesDict:
    """Names, shapes and types of an example's parts.

    Returns:
        ``video_id``, ``segment_id``, ``interval`` [2] s, ``features`` [T, 74], ``emotions`` [6]
        and ``sentiment``.
    """
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
