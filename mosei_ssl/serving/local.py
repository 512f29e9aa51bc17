"""Running a SavedModel in this process."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.serving.batching import check_rows, pad, plan_batches
from mosei_ssl.serving.manifest import MANIFEST, latest_version, verify
from mosei_ssl.serving.schema import EMOTIONS, OUTPUTS, PREDICT_SIGNATURE
from mosei_ssl.utils.errors import UserError

_log = logging.getLogger(__name__)


class LocalModel:
    """A SavedModel, loaded by plain TensorFlow; what is answered is what a server answers.

    Args:
        directory: `NAME/VERSION`, or `NAME` for its highest version.
        max_batch: most segments run at a time.
        max_frames: most frames run at a time, padding included.

    Attributes:
        directory: the version directory.
        has_manifest: whether it could be verified.
        manifest: what the manifest says; empty without one.

    Raises:
        UserError: it is not there, not loadable, without the signature, or was changed since it
            was exported.

    Example:
        >>> LocalModel("saved_models/emotion").predict([rows])["intensity"].shape
        (1, 6)
    """

    def __init__(self, directory: str | Path, max_batch: int = 32, max_frames: int = 48_000):
        self.directory = latest_version(directory)
        self.has_manifest = (self.directory / MANIFEST).is_file()
        self.manifest: dict[str, Any] = {}
        if self.has_manifest:
            self.manifest = verify(self.directory).manifest
        else:
            _log.warning("%s has no manifest: its origin is unknown", self.directory)
        self.max_batch = max_batch
        self.max_frames = max_frames
        self._signature = _load(self.directory)

    def predict(
        self,
        segments: Sequence[np.ndarray],
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, np.ndarray]:
        """Predict the emotions of segments.

        Args:
            segments: N arrays [T, 74] of raw COVAREP rows; lengths may differ.
            progress: called with the number of segments done since the last call.

        Returns:
            `intensity`, `present`, `expected` float32 and `class` int32, each [N, 6].

        Raises:
            UserError: a segment has another width, no frame, or too many.
        """
        import tensorflow as tf

        rows = check_rows(segments)
        answers = {name: np.zeros((len(rows), len(EMOTIONS)), np.float32) for name in OUTPUTS}
        answers["class"] = answers["class"].astype(np.int32)
        for batch in plan_batches([len(r) for r in rows], self.max_batch, self.max_frames):
            features, length = pad([rows[index] for index in batch])
            outputs = self._signature(features=tf.constant(features), length=tf.constant(length))
            for name, values in answers.items():
                values[batch] = outputs[name].numpy()
            if progress:
                progress(len(batch))
        return answers


def _load(directory: Path):
    import tensorflow as tf

    try:
        # Its functions live as long as the loaded object does.
        loaded = tf.saved_model.load(str(directory))
    except Exception as error:
        # Damage shows up as OSError, protobuf, key and TensorFlow errors alike.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{directory} cannot be loaded as a SavedModel ({type(error).__name__}: {first[:200]})."
            " Fetch or export it again."
        ) from error
    signature = loaded.signatures.get(PREDICT_SIGNATURE)
    if signature is None or not set(OUTPUTS) <= set(signature.structured_outputs):
        raise UserError(
            f"{directory} is a SavedModel of something else: its signatures are "
            f"{', '.join(loaded.signatures) or 'none'}, and {PREDICT_SIGNATURE!r} with the outputs "
            f"{', '.join(OUTPUTS)} is needed."
        )

    def run(**inputs):
        return loaded.signatures[PREDICT_SIGNATURE](**inputs)

    return run
