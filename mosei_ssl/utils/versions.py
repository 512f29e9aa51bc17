"""Versions of the packages that a study's numbers depend on."""

from __future__ import annotations

import importlib.metadata

DECISIVE = ("mosei_ssl", "tensorflow", "keras", "numpy", "scikit-learn")
"""Packages another version of which may give other numbers."""

_OF_BACKEND = {"jax": ("jax", "jaxlib"), "torch": ("torch",)}
"""Packages that compute in TensorFlow's place; it is there whichever does, for the data."""


def keras_backend() -> str:
    """Name the backend that Keras computes with, wherever that was set.

    Returns:
        "tensorflow", "jax" or "torch".

    Example:
        >>> keras_backend()  # doctest: +SKIP
        'tensorflow'
    """
    import keras

    return str(keras.backend.backend())


def decisive_packages(backend: str) -> tuple[str, ...]:
    """Name the packages that a study's numbers depend on.

    Args:
        backend: Keras's backend.

    Returns:
        Names of distributions.

    Example:
        >>> decisive_packages("jax")[-2:]
        ('jax', 'jaxlib')
    """
    return (*DECISIVE, *_OF_BACKEND.get(backend, ()))


def package_versions(packages: tuple[str, ...] = DECISIVE) -> dict[str, str]:
    """Look up installed versions.

    Args:
        packages: Names of distributions.

    Returns:
        Version by name; "-" for a package that is not installed.

    Example:
        >>> package_versions(("no-such-package",))
        {'no-such-package': '-'}
    """
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "-"
    return found
