"""The `.keras` files of runs: written whole, read in safe mode."""

from pathlib import Path

import keras

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import is_whole, put_in_place


def save_model(model: keras.Model, path: Path) -> None:
    """Save as `.keras`, whole or not at all, also after a loss of power."""
    temporary = path.with_name(f"partial-{path.name}")
    model.save(temporary)
    put_in_place(temporary, path)


def load_model(path: str | Path) -> keras.Model:
    """Load a `.keras` file in safe mode: no code in the file is run.

    Args:
        path: the file.

    Returns:
        The model, not compiled.

    Raises:
        UserError: the file is missing, cut short, or not what it should be.

    Example:
        >>> model = load_model("runs/ssl100/model.keras")  # doctest: +SKIP
    """
    import mosei_ssl.layers
    import mosei_ssl.models  # noqa: F401  (registers what the file names)

    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing: repeat the run that writes it.")
    if not is_whole(path):
        raise UserError(
            f"{path} cannot be read (damaged or cut short): repeat the run that writes it."
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # zipfile, h5py, json and Keras each have their own way to say that a file is damaged.
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]}): the "
            "file is damaged or from another version; repeat the run that writes it."
        ) from error
