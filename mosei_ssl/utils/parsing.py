"""Options from YAML files and command lines: checked, with errors that name the option."""

import dataclasses
import functools
import json
import os
import types
import typing
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import OptionError

T = TypeVar("T")

CONFIGS = Path(__file__).parents[1] / "configs"
"""Where the options that come with the package are."""

_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    type(None): "null",
}


def from_mapping(cls: type[T], values: Any, where: str = "") -> T:
    """Make a dataclass of options, nested ones too, from plain values such as those of a YAML file.

    Where a field's type has a registry, such as `mosei_ssl.config.BackboneConfig`, the value of its
    `discriminator` picks the class. None counts as empty, and text is read as YAML where a field's
    type asks for it. A `UserError` names the option, beginning with `where`, and what is allowed.
    """
    group = f"{where}." if where else ""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise OptionError("", where or "the file", f"must be a mapping of options, not {values!r}")
    kind = chosen(cls, values, where)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            allowed = f"{nearest(str(name), fields)}; allowed here: {', '.join(fields)}"
            raise OptionError(group, str(name), f"is not an option{allowed}")
    hints = typing.get_type_hints(kind)
    for name in required_options(kind):
        if values.get(name) is None:
            raise OptionError(group, name, "is missing")
    found = {name: _convert(hints[name], value, group, name) for name, value in values.items()}
    try:
        return kind(**found)
    except OptionError as error:
        # Options know their own group at most, not where in a file they are.
        raise OptionError(group, error.name, error.problem) from None


def required_options(cls: type) -> list[str]:
    """Names of the fields without a default."""
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is missing]


def chosen(cls: type[T], values: Mapping[str, Any] | None, where: str = "") -> type[T]:
    """The class that `values` pick from the registry of `cls`; `cls` itself if it has none."""
    registry = getattr(cls, "registry", None)
    if registry is None or cls in registry.values():
        return cls
    discriminator: str = cls.discriminator  # type: ignore[attr-defined]
    name = (values or {}).get(discriminator, next(iter(registry)))
    if not isinstance(name, str) or name not in registry:
        choices = f"must be one of {', '.join(registry)}, not {name!r}"
        raise OptionError(f"{where}." if where else "", discriminator, choices)
    return registry[name]


def _convert(hint: Any, value: Any, group: str, name: str) -> Any:
    place = f"{group}{name}"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    item: Any = arguments[0] if arguments else None
    if isinstance(value, list) and dataclasses.is_dataclass(item):
        return [from_mapping(item, part, f"{place}[{i}]") for i, part in enumerate(value)]  # type: ignore[arg-type]
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, place)  # type: ignore[arg-type]
    if origin is dict and (value is None or isinstance(value, Mapping)):
        return dict(value or {})
    if type(value) is hint or (value is None and type(None) in arguments):
        return value
    from jsonargparse import ArgumentError

    try:
        # jsonargparse takes None for any type.
        if value is not None:
            return _checker(hint).parse_object({"value": value})["value"]
    except ArgumentError:
        pass
    raise OptionError(group, name, f"must be {_described(hint)}, not {value!r}")


@functools.cache
def _checker(hint: Any) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


def _described(hint: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        names = ", ".join(map(str, arguments))
        return f"one of {names}" if len(arguments) > 1 else names
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_described, arguments))
    if origin is list:
        return "a list such as [a, b]"
    kind = origin or hint
    return _KINDS.get(kind, getattr(kind, "__name__", str(kind)))


def nearest(name: str, names: Iterable[str]) -> str:
    """The closest of some names in brackets, or nothing if none is close."""
    close = get_close_matches(name, list(names), 1)
    return f" (nearest: {close[0]})" if close else ""


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, empty if the file is; anything wrong is a `UserError`.

    Those that come with the package are known by their names: `small_pretrain`.
    """
    import yaml

    shipped = {file.stem: file for file in CONFIGS.glob("*.yaml")}
    try:
        file = Path(path) if Path(path).exists() else shipped.get(str(path), Path(path))
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        known = "" if Path(path).suffix else f" (shipped: {', '.join(sorted(shipped))})"
        raise UserError(f"cannot read {path}: {error.strerror}{known}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise UserError(f"{path} must hold options and their values, not {content!r}")
    return content or {}


def merge(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other, nested ones key by key; later ones win.

    None in the place of a nested mapping, in YAML a section with nothing in it, counts as empty.
    """
    result: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            before = result.get(key)
            if isinstance(before, Mapping) and (value is None or isinstance(value, Mapping)):
                result[key] = merge(before, value or {})
            else:
                result[key] = merge(value) if isinstance(value, Mapping) else value
    return result


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested mappings: ``{"a.b": 1}`` into ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for key, value in dotted.items():
        for part in reversed(str(key).split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def changed(new: Mapping[str, Any], old: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the options that differ, with what they are and were where that is short."""
    found = []
    for key in sorted({*new, *old}):
        now, before = new.get(key), old.get(key)
        if isinstance(now, Mapping) and isinstance(before, Mapping):
            found += changed(now, before, f"{prefix}{key}.")
        elif now != before:
            texts = [v if isinstance(v, str) else json.dumps(v) for v in (now, before)]
            short = max(map(len, texts)) <= 200
            found.append(f"{prefix}{key}" + (": now {}, before {}".format(*texts) if short else ""))
    return found
