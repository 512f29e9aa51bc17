"""The `.keras` files of runs: written whole, read in safe mode."""

from pathlib import Path

import keras

from mosei_ssl.models import load_keras_file as load_model
from mosei_ssl.utils.files import put_in_place

__all__ = ["load_model", "save_model"]


def save_model(model: keras.Model, path: Path) -> None:
    """Save as `.keras`, whole or not at all, also after a loss of power."""
    temporary = path.with_name(f"partial-{path.name}")
    model.save(temporary)
    put_in_place(temporary, path)
