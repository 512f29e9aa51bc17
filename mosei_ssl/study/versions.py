"""Versions of the packages that a study's numbers depend on."""

from __future__ import annotations

import importlib.metadata

DECISIVE = ("mosei_ssl", "tensorflow", "keras", "numpy", "scikit-learn")
"""Packages another version of which may give other numbers."""


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
