"""What Keras takes from the environment when it is imported, checked before it is."""

import importlib.util
import json
import os
from pathlib import Path

from mosei_ssl.utils.errors import UserError

BACKENDS = ("tensorflow", "jax")


def check_keras_settings() -> None:
    """Raise a `UserError` that names the variable or file with which this package cannot work."""
    if (legacy := os.environ.get("TF_USE_LEGACY_KERAS", "")).lower() in ("1", "true"):
        raise UserError(
            f"TF_USE_LEGACY_KERAS is {legacy}, which stands for Keras 2; Keras 3 is needed: unset "
            "it, or set TF_USE_LEGACY_KERAS=0."
        )
    home = os.path.expanduser("~")
    home = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    file = Path(os.path.expanduser(os.environ.get("KERAS_HOME", home)), "keras.json")
    try:
        settings = json.loads(file.read_text())
    except (OSError, ValueError):
        settings = {}  # which is what Keras makes of it
    if not isinstance(settings, dict):
        raise UserError(f"{file} holds no mapping of settings: delete it.")
    where, backend = "KERAS_BACKEND", os.environ.get("KERAS_BACKEND")
    if not backend:
        where, backend = f"backend in {file}", settings.get("backend", BACKENDS[0])
    if backend not in BACKENDS:
        raise UserError(
            f"{where} is {backend}; tensorflow or jax is needed: set KERAS_BACKEND=tensorflow."
        )
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"{where} is {backend}, which is not installed: pip install 'mosei_ssl[{backend}]', or "
            "set KERAS_BACKEND=tensorflow."
        )
    needed = {
        "floatx": ("float32",),
        "image_data_format": ("channels_last", "channels_first"),
        "epsilon": (1e-07,),
    }
    for name, allowed in needed.items():
        value = settings.get(name, allowed[0])
        if value not in allowed and not (name == "epsilon" and isinstance(value, float)):
            raise UserError(
                f"{name} in {file} is {value}; {allowed[0]} is needed: correct it there, or set "
                "KERAS_HOME to another folder."
            )
