"""Running a model in this process."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from mosei_ssl import presets
from mosei_ssl.serving.manifest import MANIFEST, latest_version, verify
from mosei_ssl.serving.predictor import Predictor, pad
from mosei_ssl.serving.signatures import OUTPUTS, PREDICT_SIGNATURE
from mosei_ssl.utils.errors import DamagedExportError, UserError

if TYPE_CHECKING:
    from mosei_ssl.models import EmotionModel

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


class KerasPredictor(Predictor):
    """What an `EmotionModel` answers, on the backend that Keras runs on."""

    max_frames = 12_000  # a fourth of the memory, and quicker on NumPy

    def __init__(self, model: "EmotionModel"):
        self._predictor = model.to_predictor()

    # NumPy's products are too small for threads, which only wait for each other.
    @threadpool_limits.wrap(limits=1, user_api="blas")
    def _answer(self, segments: list[np.ndarray]) -> Mapping[str, np.ndarray]:
        import keras

        features, length = pad(segments)
        padding_mask = np.arange(features.shape[1]) < length[:, None]
        outputs = self._predictor({"features": features, "padding_mask": padding_mask})
        return {name: keras.ops.convert_to_numpy(outputs[name]) for name in OUTPUTS}


class LocalModel(Predictor):
    """A model in this process; it answers as a server does.

    A run or a preset is run by Keras, on whatever backend; an export is a SavedModel, which plain
    TensorFlow runs.

    Args:
        directory: `NAME/VERSION`, `NAME` for its highest version, the directory of a fine-tuning
            run, or the name of a preset.
        max_batch: most segments run at a time.

    Attributes:
        directory: the version directory, or that of the run.
        manifest: what the manifest says, or the run; empty without one, and then nothing was
            verified.

    Raises:
        DamagedExportError: it cannot be loaded, or has changed since it was exported.
        UserError: it is missing, unfinished or of another kind, lacks the signature, or needs
            TensorFlow, which is not installed.

    Examples:
        >>> model = LocalModel(saved_model)
        >>> model.predict([np.zeros((100, 74))])["intensity"].shape
        (1, 6)
    """

    directory: Path

    def __init__(self, directory: str | Path, max_batch: int = 32):
        self.max_batch = max_batch
        place = presets.find(directory)
        run = place if (place / "run.json").is_file() else None
        # A preset is a run with its export.
        if run is None or any(place.glob("*/saved_model.pb")):
            self.directory = latest_version(place)
            if (self.directory / MANIFEST).is_file():
                self.manifest = verify(self.directory).manifest
            else:
                _log.warning("%s has no manifest: its origin is unknown", self.directory)
        self._runner: Predictor
        if run is None:
            # The signature's functions live as long as the loaded object does.
            self._loaded = _load(self.directory)
            self._runner = SignaturePredictor(self._loaded.signatures[PREDICT_SIGNATURE])
            return
        from mosei_ssl.serving.origin import described, open_run, origin  # Keras takes a second

        opened, model = open_run(run)
        self._runner = KerasPredictor(model)
        self.max_frames = self._runner.max_frames
        if not self.manifest:
            self.directory = run
            self.manifest = {**origin(opened), "model": described(model)}

    def _answer(self, segments: list[np.ndarray]) -> Mapping[str, np.ndarray]:
        return self._runner._answer(segments)


def _load(directory: Path):
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise UserError(
            f"{directory} is a SavedModel, which TensorFlow runs ({error}): "
            "pip install 'mosei_ssl[train]', or give the run or the preset that it was made from."
        ) from None
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
