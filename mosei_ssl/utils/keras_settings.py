"""What Keras takes from the environment when it is imported, checked before it is."""

import contextlib
import importlib.util
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mosei_ssl.utils.errors import UserError

BACKENDS = ("tensorflow", "jax")

_PREDICTS = "numpy"
"""What answers but cannot train; TensorFlow takes 5 s to import."""

_own_process = _only_predicts = False

# What Keras and TensorFlow offer more for where it is installed; most of a second to import.
_OPTIONAL = ("matplotlib", "pandas", "sklearn")
# What Keras's NumPy backend imports for convolutions and Fourier transforms alone.
_JAX = ("jax", "jax.lax", "keras.src.backend.jax.math")


def own_process(*, predicts: bool) -> None:
    """Have Keras imported with no more than this package's command uses.

    If that only `predicts`, Keras runs on NumPy, unless the user has chosen a backend.
    """
    global _own_process, _only_predicts
    _own_process, _only_predicts = True, predicts


@contextlib.contextmanager
def keras_import() -> Iterator[None]:
    """Keras imported meanwhile is on NumPy, if that is enough or there is no TensorFlow."""
    _, backend = _chosen()
    on_numpy = backend == BACKENDS[0] and (_only_predicts or not _installed(BACKENDS[0]))
    absent: dict[str, Any] = {}
    if on_numpy or _own_process:
        absent = dict.fromkeys((*_OPTIONAL, "jax") if backend == BACKENDS[0] else _OPTIONAL)
    if on_numpy or (backend == _PREDICTS and not _installed("jax")):
        absent |= {name: _Absent(name) for name in _JAX}
        os.environ["KERAS_BACKEND"] = _PREDICTS
    absent = {name: stand_in for name, stand_in in absent.items() if not sys.modules.get(name)}
    sys.modules.update(absent)
    try:
        yield
    finally:
        if on_numpy:
            del os.environ["KERAS_BACKEND"]
        for name in absent:
            sys.modules.pop(name, None)


class _Absent(types.ModuleType):
    """Stands for a module that is imported, but not used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")


def check_keras_settings(*, trains: bool = True) -> None:
    """Raise a `UserError` that names the variable or file with which this package cannot work.

    Without training NumPy is enough, and takes TensorFlow's place where that is not installed.
    """
    if (legacy := os.environ.get("TF_USE_LEGACY_KERAS", "")).lower() in ("1", "true"):
        raise UserError(
            f"TF_USE_LEGACY_KERAS is {legacy}, which stands for Keras 2; Keras 3 is needed: unset "
            "it, or set TF_USE_LEGACY_KERAS=0."
        )
    file, settings = _settings()
    where, backend = _chosen()
    if backend not in (BACKENDS if trains else (*BACKENDS, _PREDICTS)):
        raise UserError(
            f"{where} is {backend}; tensorflow or jax is needed: set KERAS_BACKEND=tensorflow."
        )
    if trains and not _installed(BACKENDS[0]):
        raise UserError(
            "datasets, training and exports need TensorFlow, which is not installed: "
            "pip install 'mosei_ssl[train]'"
        )
    if backend not in (BACKENDS[0], _PREDICTS) and not _installed(backend):
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


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _settings() -> tuple[Path, dict[str, Any]]:
    """Keras's file, and what is in it."""
    home = os.path.expanduser("~")
    home = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    file = Path(os.path.expanduser(os.environ.get("KERAS_HOME", home)), "keras.json")
    try:
        settings = json.loads(file.read_text())
    except (OSError, ValueError):
        settings = {}  # which is what Keras makes of it
    if not isinstance(settings, dict):
        raise UserError(f"{file} holds no mapping of settings: delete it.")
    return file, settings


def _chosen() -> tuple[str, str]:
    """Where the backend was chosen, and which."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return "KERAS_BACKEND", backend
    file, settings = _settings()
    return f"backend in {file}", settings.get("backend", BACKENDS[0])
