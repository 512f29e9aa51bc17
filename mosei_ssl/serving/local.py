"""Running a SavedModel in this process."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.serving.manifest import MANIFEST, latest_version, verify
from mosei_ssl.serving.predictor import Predictor, pad
from mosei_ssl.serving.signatures import OUTPUTS, PREDICT_SIGNATURE
from mosei_ssl.utils.errors import DamagedExportError, UserError

_log = logging.getLogger(__name__)


class SignaturePredictor(Predictor):
    """What the function of a prediction signature answers."""

    def __init__(self, function: Callable[..., Mapping[str, Any]]):
        self._function = function

    def _answer(self, segments: list[np.ndarray]) -> Mapping[str, np.ndarray]:
        import tensorflow as tf

        features, length = pad(segments)
        outputs = self._function(features=tf.constant(features), length=tf.constant(length))
        return {name: outputs[name].numpy() for name in OUTPUTS}


class LocalModel(SignaturePredictor):
    """A SavedModel, loaded by plain TensorFlow; it answers as a server does.

    Args:
        directory: `NAME/VERSION`, `NAME` for its highest version, or the name of a preset.
        max_batch: most segments run at a time.

    Attributes:
        directory: the version directory.
        manifest: what the manifest says; empty without one, and then nothing was verified.

    Raises:
        DamagedExportError: it cannot be loaded, or has changed since it was exported.
        UserError: it is missing, or lacks the signature.

    Examples:
        >>> model = LocalModel(saved_model)
        >>> model.predict([np.zeros((100, 74))])["intensity"].shape
        (1, 6)
    """

    def __init__(self, directory: str | Path, max_batch: int = 32):
        self.max_batch = max_batch
        self.directory = latest_version(directory)
        if (self.directory / MANIFEST).is_file():
            self.manifest = verify(self.directory).manifest
        else:
            _log.warning("%s has no manifest: its origin is unknown", self.directory)
        # The signature's functions live as long as the loaded object does.
        self._loaded = _load(self.directory)
        super().__init__(self._loaded.signatures[PREDICT_SIGNATURE])


def _load(directory: Path):
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(directory))
    except Exception as error:
        # Damage shows up as OSError, protobuf, key and TensorFlow errors alike.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DamagedExportError(
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
    return loaded
