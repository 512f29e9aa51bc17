"""Versions of the packages that numbers depend on."""

import importlib.metadata
from collections.abc import Iterable

import mosei_ssl

# Packages another version of which may give other numbers.
_DECISIVE = ("mosei_ssl", "tensorflow", "keras", "numpy", "scikit-learn")


def keras_backend() -> str:
    """Name of the backend that Keras computes with, wherever that was set."""
    import keras

    return str(keras.backend.backend())


def decisive_packages(backend: str) -> tuple[str, ...]:
    """Distributions that numbers depend on with this backend."""
    # TensorFlow is always there, for the data.
    return (*_DECISIVE, "jax", "jaxlib") if backend == "jax" else _DECISIVE


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution; "-" where it is not installed."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    # A checkout that is on the path without having been installed has no metadata.
    if package == "mosei_ssl":
        return mosei_ssl.__version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"
