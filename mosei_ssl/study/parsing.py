"""Mappings from YAML into dataclasses, with errors that name the key."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from mosei_ssl.utils.errors import UserError

T = TypeVar("T")


def build(
    kind: type[T], values: Any, where: str = "", *, fixed: Mapping[str, Any] | None = None
) -> T:
    """Make a dataclass of a mapping; unknown keys and wrong types are errors.

    Args:
        kind: The dataclass.
        values: Mapping of its fields; None counts as empty.
        where: Dotted place in the file, for messages.
        fixed: Fields that the file may not set, with their values.

    Returns:
        An instance.

    Raises:
        UserError: With the key and what is allowed.

    Example:
        >>> from mosei_ssl.data import DataConfig
        >>> build(DataConfig, {"batch_size": 8}).batch_size
        8
    """
    fixed = dict(fixed or {})
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'the file'} must be a mapping of keys to values")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    allowed = [name for name in fields if name not in fixed]
    check_keys(values, allowed, where)
    found = {
        key: _convert(hints[key], value, _join(where, str(key))) for key, value in values.items()
    }
    for name in allowed:
        required = (
            fields[name].default is dataclasses.MISSING
            and fields[name].default_factory is dataclasses.MISSING
        )
        if required and name not in found:
            raise UserError(f"{_join(where, name)} is missing")
    try:
        return kind(**found, **fixed)
    except UserError as error:
        # Options know their ranges and perhaps their group, but not where in the file they are.
        above, _, group = where.rpartition(".")
        place = above if group and str(error).startswith(f"{group}.") else where
        raise UserError(_join(place, str(error))) from None


def check_keys(values: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    """Refuse keys that mean nothing.

    Args:
        values: The mapping.
        allowed: Keys that may occur.
        where: Dotted place in the file.

    Raises:
        UserError: Naming the key and the allowed ones.

    Example:
        >>> check_keys({"a": 1}, ["a"], "")
    """
    for key in values:
        if key not in allowed:
            raise UserError(
                f"unknown key {_join(where, str(key))!r}; allowed here: "
                f"{', '.join(sorted(allowed))}"
            )


def merge(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other, nested ones key by key; later ones win.

    Args:
        *mappings: The mappings. None in the place of a nested one counts as empty.

    Returns:
        A new mapping.

    Example:
        >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    result: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
                result[key] = merge(result[key], value)
            elif value is None and isinstance(result.get(key), Mapping):
                # In YAML, a section of which nothing is left but its name.
                continue
            else:
                result[key] = merge(value) if isinstance(value, Mapping) else value
    return result


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested mappings.

    Args:
        dotted: For instance {"optimizer.learning_rate": 1e-3}.

    Returns:
        For instance {"optimizer": {"learning_rate": 1e-3}}.

    Example:
        >>> nested({"a.b": 1, "a.c": 2, "d": 3})
        {'a': {'b': 1, 'c': 2}, 'd': 3}
    """
    result: dict[str, Any] = {}
    for key, value in dotted.items():
        for part in reversed(str(key).split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def dotted(mapping: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Turn nested mappings into dotted keys, the opposite of `nested`.

    Args:
        mapping: For instance {"optimizer": {"learning_rate": 1e-3}}.
        where: Dotted place of the mapping itself.

    Returns:
        For instance {"optimizer.learning_rate": 1e-3}.

    Example:
        >>> dotted({"a": {"b": 1}, "c": {}})
        {'a.b': 1}
    """
    result: dict[str, Any] = {}
    for key, value in mapping.items():
        place = _join(where, str(key))
        result |= dotted(value, place) if isinstance(value, Mapping) else {place: value}
    return result


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            raise UserError(
                f"{where} must be one of {', '.join(map(str, arguments))}, not {value!r}"
            )
        return value
    if origin is list:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, not {value!r}")
        return [_convert(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(value)]
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} must be a mapping, not {value!r}")
        return dict(value)
    return _convert_plain(hint, value, where)


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _convert(kind, value, where)
        except UserError as error:
            errors.append(str(error))
    raise UserError(" or ".join(errors))


def _convert_plain(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, str):
        # YAML reads 1e-3 (no point) as text.
        try:
            return float(value)
        except ValueError:
            raise UserError(f"{where} must be a number, not {value!r}") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise UserError(f"{where} must be {names.get(kind, kind.__name__)}, not {value!r}")
    return value
