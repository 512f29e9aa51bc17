"""Writing a SavedModel that TF Serving loads as it is."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mosei_ssl.data import load_prepared
from mosei_ssl.models import EmotionModel
from mosei_ssl.serving.deployment import write_deployment
from mosei_ssl.serving.drift import quantities, write_reference
from mosei_ssl.serving.local import SignaturePredictor
from mosei_ssl.serving.manifest import stamp, verify, write_manifest
from mosei_ssl.serving.model_card import write_model_card
from mosei_ssl.serving.origin import described, open_run, origin
from mosei_ssl.serving.portable import check_formats, write_portable
from mosei_ssl.serving.signatures import PREDICT_SIGNATURE, serving_signatures
from mosei_ssl.serving.warmup import write_warmup
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import folder_to_disk, lock, storage_errors_reported
from tfds_mosei import find_prepared

_REFERENCE = 1000  # segments whose distribution an export keeps


def export(
    run: str | Path, to: str | Path, *, formats: Sequence[str] = (), licence: str | None = None
) -> Path:
    """Export the emotion model of a finished run.

    Args:
        run: directory of a fine-tuning run.
        to: `saved_models/NAME`; the next free version is made in it.
        formats: further formats to put beside the SavedModel: "litert", "litert-float16",
            "litert-int8", "onnx".
        licence: licence of the data, for the model card.

    Returns:
        The new version directory, `to`/VERSION.

    Raises:
        UserError: no such run, another kind of run, an unreadable model, a place that cannot be
            written, or a Keras backend other than TensorFlow.

    Examples:
        >>> export(finished_run, tmp_path / "saved_models" / "emotion").name
        '1'
    """
    directory, model = open_run(run)
    predictions = directory / "predictions-test.npz"
    return export_model(
        model,
        to,
        origin(directory),
        formats=formats,
        predictions=predictions if predictions.is_file() else None,
        licence=licence,
        train=_train_segments(directory),
    )


def _train_segments(run: RunDirectory) -> list[np.ndarray]:
    """Segments of the run's train split, evenly drawn; none if the dataset is no longer there."""
    dataset = run.info.get("dataset") or {}
    try:
        name = dataset["name"].split("/")[0]
        found = load_prepared(find_prepared(run.config()["data_dir"], name), "train")
    except (UserError, KeyError):
        return []
    if found.metadata.get("fingerprint") != dataset.get("fingerprint"):
        return []
    return [found.rows(index) for index in range(0, len(found), -(-len(found) // _REFERENCE))]


def export_model(
    model: EmotionModel,
    to: str | Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    formats: Sequence[str] = (),
    predictions: Path | None = None,
    licence: str | None = None,
    train: Sequence[np.ndarray] = (),
) -> Path:
    """Export an emotion model that is in memory.

    The version appears under its number only when it is complete: TF Serving, which polls the
    folder, never sees a part of it.

    Args:
        model: a built EmotionModel in float32.
        to: `saved_models/NAME`; the next free version is made in it.
        provenance: what it came from, for the manifest: `run` and `dataset`.
        formats: further formats, as for `export`.
        predictions: the run's `predictions-SPLIT.npz`, for the scores in the model card.
        licence: licence of the data, for the model card.
        train: raw rows [T, 74] of segments of the training, with which a gateway compares those
            that it is asked about.

    Returns:
        The new version directory.

    Raises:
        UserError: the place cannot be written, a format is unknown or its converter not
            installed, or the Keras backend is not TensorFlow.

    Examples:
        >>> version = export_model(emotion_model, tmp_path / "in_memory")
        >>> sorted(path.name for path in version.parent.iterdir())
        ['1', 'deployment']
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"a SavedModel is made with Keras's TensorFlow backend, and this is "
            f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow. The run itself may have "
            "been trained with another."
        )
    check_formats(formats)

    def write(building: Path, name: str) -> None:
        in_context = (provenance or {}).get("run", {}).get("context") is not False
        signatures = serving_signatures(model, context=in_context)
        tf.saved_model.save(tf.Module(), str(building), signatures=signatures)
        write_warmup(building, signatures)
        if train:
            answers = SignaturePredictor(signatures[PREDICT_SIGNATURE]).predict(train)["expected"]
            write_reference(building, np.stack(list(map(quantities, train, answers))))
        write_portable(model, building, formats)
        manifest = {**stamp(), **(provenance or {}), "model": described(model)}
        write_model_card(building, name, manifest, predictions, licence)
        write_manifest(building, manifest)

    return _new_version(Path(to), write)


def export_preset(name: str, to: str | Path) -> Path:
    """Export a model that comes with the package as the next version in `to`, which it returns.

    Raises:
        UserError: no such preset, one that has changed, or a place that cannot be written.

    Examples:
        >>> export_preset("emotion-small", tmp_path / "small").name
        '1'
    """
    source = verify(name).directory
    return _new_version(Path(to), lambda building, _: shutil.copytree(source, building))


def _new_version(to: Path, write: Callable[[Path, str], object]) -> Path:
    """The next free version in `to`, made by `write` from an empty place and the model's name."""
    place = to.resolve()
    version = next((p for p in (place, *place.parents) if (p / "saved_model.pb").is_file()), None)
    if version is None and place.name.isdecimal():
        version = place
    if version is not None:
        raise UserError(
            f"{to} is a version directory, or inside one. --to must be the model's folder, where "
            f"the next version number is chosen automatically: give {version.parent}."
        )
    try:
        to.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(
                prefix=".export-", dir=to, ignore_cleanup_errors=True
            ) as folder,
            storage_errors_reported(to, lambda: "Nothing was exported"),
        ):
            building = Path(folder, "version")
            write(building, place.name)
            folder_to_disk(building)
            return _publish(building, to)
    except OSError as error:
        raise UserError(f"cannot write to {to}: {error.strerror or error}.") from error


def _publish(building: Path, to: Path) -> Path:
    """Give the finished directory the next free number."""
    with lock(to, f"waiting for another export to {to}", wait=True):
        taken = [int(entry.name) for entry in to.iterdir() if entry.name.isdecimal()]
        version = max(taken, default=0) + 1
        write_deployment(to, version)
        # A rename onto a folder with something in it fails; it never replaces one.
        return building.rename(to / str(version))
