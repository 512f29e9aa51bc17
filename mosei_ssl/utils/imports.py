"""Code that runs when a package is imported that many users never need."""

import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import PathFinder
from typing import Any

Execute = Callable[[Any], None]
"""Runs the code of the module that it is given."""

_HOOKS: dict[str, Callable[[Execute, Any], None]] = {}


def hook(package: str, how: Callable[[Execute, Any], None]) -> None:
    """Have a package, once it is imported, executed by `how(execute, module)`."""
    _HOOKS[package] = how


def after_import(package: str, then: Callable[[], object]) -> None:
    """Call `then` once a package has been imported: now, if it already is."""
    if sys.modules.get(package):
        then()
        return

    def how(execute: Execute, module: Any) -> None:
        execute(module)
        then()

    hook(package, how)


class _Finder:
    """Finds packages as Python does, and puts the hooks around the code of some."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        how = _HOOKS.get(name)
        spec: Any = PathFinder.find_spec(name, path, target) if how else None
        if spec is not None and how is not None:
            spec.loader.exec_module = partial(how, spec.loader.exec_module)
        return spec


sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
