"""Writing a SavedModel that TF Serving loads as it is."""

import errno
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from mosei_ssl.models import EmotionModel
from mosei_ssl.serving.deployment import write_deployment
from mosei_ssl.serving.lengths import train_seconds
from mosei_ssl.serving.manifest import stamp, write_manifest
from mosei_ssl.serving.model_card import write_model_card
from mosei_ssl.serving.portable import check_formats, write_portable
from mosei_ssl.serving.warmup import write_warmup
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import folder_to_disk, is_whole, storage_errors_told

if TYPE_CHECKING:
    from mosei_ssl.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)


def export(
    run: str | Path, to: str | Path, *, formats: Sequence[str] = (), licence: str | None = None
) -> Path:
    """Export the emotion model of a finished run.

    Args:
        run: directory of a fine-tuning run.
        to: `saved_models/NAME`; the next free version is made in it.
        formats: further formats to put beside the SavedModel, keys of `portable.FORMATS`.
        licence: licence of the data, for the model card.

    Returns:
        The new version directory, `to`/VERSION.

    Raises:
        UserError: no such run, another kind of run, an unreadable model, a place that cannot be
            written, or a Keras backend other than TensorFlow.

    Example:
        >>> export("runs/ssl100", "saved_models/emotion")
        PosixPath('saved_models/emotion/1')
    """
    from mosei_ssl.training.run_directory import RunDirectory

    _require_tensorflow()
    directory = RunDirectory(run).open("finetune").require_finished()
    model = load_emotion_model(directory / "model.keras")
    info = directory.info
    provenance = {
        "run": {
            "name": Path(run).resolve().name,
            **{key: info.get(key) for key in ("kind", "seed", "result", "versions")},
            "freeze_backbone": _froze_backbone(directory),
        },
        "dataset": _described_dataset(directory),
    }
    predictions = directory / "predictions-test.npz"
    return export_model(
        model,
        to,
        provenance,
        formats=formats,
        predictions=predictions if predictions.is_file() else None,
        licence=licence,
    )


def _froze_backbone(run: "RunDirectory") -> bool | None:
    """Whether the backbone kept its weights; None where the run's options are gone."""
    try:
        return bool(run.config().get("freeze_backbone"))
    except UserError:
        return None


def _described_dataset(run: "RunDirectory") -> dict[str, Any]:
    """What the run says of its dataset and, if that is still there, how long its segments are."""
    dataset = dict(run.info.get("dataset") or {})
    try:
        seconds = train_seconds(run.config()["data"]["data_dir"], dataset)
    except (UserError, KeyError, TypeError):
        # A model is exported without its options, too; what they would tell is left out.
        seconds = None
    return dataset if seconds is None else dataset | {"train_seconds": seconds}


def load_emotion_model(file: str | Path) -> EmotionModel:
    """Load an emotion model from a `.keras` file, in safe mode: no code in it is run.

    Args:
        file: the file.

    Returns:
        The model.

    Raises:
        UserError: the file is missing, damaged, or holds another model.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file} is missing: finish the run, or name another.")
    if not is_whole(file):
        raise UserError(f"{file} is damaged or cut short: copy it again, or repeat the run.")
    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        # Keras reports a damaged archive by many unrelated exception classes.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{file} cannot be loaded ({type(error).__name__}: {first[:200]}): it is damaged or "
            "was written by another version. Copy it again, or repeat the run."
        ) from error
    if not isinstance(model, EmotionModel):
        raise UserError(f"{file} holds a {type(model).__name__}, not an EmotionModel.")
    return model


def export_model(
    model: EmotionModel,
    to: str | Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    formats: Sequence[str] = (),
    predictions: Path | None = None,
    licence: str | None = None,
) -> Path:
    """Export an emotion model that is in memory.

    The version appears under its number only when it is complete: TF Serving, which polls the
    folder, never sees a part of it.

    Args:
        model: a built EmotionModel in float32.
        to: `saved_models/NAME`; the next free version is made in it.
        provenance: what it came from, for the manifest: `run` and `dataset`.
        formats: further formats, keys of `portable.FORMATS`.
        predictions: what evaluation left of the run, for the model card.
        licence: licence of the data, for the model card.

    Returns:
        The new version directory.

    Raises:
        UserError: the place cannot be written, a format is unknown or its converter not
            installed, or the Keras backend is not TensorFlow.
    """
    _require_tensorflow()
    check_formats(formats)
    to = Path(to)
    if (to / "saved_model.pb").is_file():
        raise UserError(
            f"{to} is an exported version itself, which more files would spoil: give the folder of "
            f"versions, {to.parent}."
        )
    try:
        to.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".export-", dir=to))
    except OSError as error:
        raise UserError(f"cannot write to {to}: {error.strerror or error}.") from None
    try:
        with storage_errors_told(to, lambda: "Nothing was exported"):
            version = _build(model, building, to, provenance, formats, predictions, licence)
    except OSError as error:
        raise UserError(f"cannot write to {to}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    _log.debug("exported %s", version)
    return version


def _build(
    model: EmotionModel,
    building: Path,
    to: Path,
    provenance: Mapping[str, Any] | None,
    formats: Sequence[str],
    predictions: Path | None,
    licence: str | None,
) -> Path:
    building.chmod(0o755)
    _write_saved_model(model, building)
    write_warmup(building)
    write_portable(model, building, formats)
    manifest = {**stamp(), **(provenance or {}), "model": _describe(model)}
    write_model_card(building, to.resolve().name, manifest, predictions, licence)
    write_manifest(building, manifest)
    write_deployment(to)
    folder_to_disk(building)
    return _publish(building, to)


def _write_saved_model(model: EmotionModel, directory: Path) -> None:
    import tensorflow as tf

    from mosei_ssl.serving.signatures import serving_signatures

    tf.saved_model.save(tf.Module(), str(directory), signatures=serving_signatures(model))


def _describe(model: EmotionModel) -> dict[str, Any]:
    return {
        "class": type(model).__name__,
        "backbone": type(model.backbone).__name__,
        "parameters": int(model.count_params()),
        "embedding_dim": int(model.embedding_dim),
    }


def _publish(building: Path, to: Path) -> Path:
    """Give the finished directory the next free number, also when others export at the time."""
    taken = [int(entry.name) for entry in to.iterdir() if entry.name.isdecimal()]
    number = max([0, *taken]) + 1
    while True:
        version = to / str(number)
        try:
            # A rename onto a folder with something in it fails; it never replaces one.
            building.rename(version)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            number += 1
            continue
        return version


def _require_tensorflow() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"a SavedModel is made with Keras's TensorFlow backend, and this is "
            f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow. The run itself may have "
            "been trained with another."
        )
