"""Models in files: runs, `.keras` files and the presets that come with the package."""

from pathlib import Path

import keras

from mosei_ssl import presets
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import is_whole

_FILES = ("backbone.keras", "model.keras")


def load_keras_file(file: Path) -> keras.Model:
    """Loads a `.keras` file in safe mode, not compiled: no code in it is run.

    Raises a UserError if it is missing, cut short, damaged or from another version.
    """
    if not file.is_file():
        raise UserError(f"{file} is missing: repeat the run that writes it, or name another.")
    if not is_whole(file):
        raise UserError(
            f"{file} cannot be read (damaged or cut short): copy it again, or repeat the run that "
            "writes it."
        )
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        # zipfile, h5py, json and Keras each report a damaged file by other exceptions.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{file} cannot be read ({type(error).__name__}: {first[:200]}): it is damaged or "
            "was written by another version; copy it again, or repeat the run that writes it."
        ) from error


def load_preset(preset: str | Path) -> keras.Model:
    """Loads the backbone of a run directory or preset, or whatever a `.keras` file holds."""
    path = presets.find(preset)
    if not path.exists() and path.name == str(preset) and path.suffix != ".keras":
        raise UserError(
            f"there is neither a run nor a preset named {str(preset)!r}; presets: "
            f"{', '.join(presets.names())}."
        )
    if path.is_dir():
        found = [path / name for name in _FILES if (path / name).is_file()]
        if not found:
            raise UserError(f"{path} holds neither {' nor '.join(_FILES)}: finish its run first.")
        path = found[0]
    return load_keras_file(path)
