"""Groups of options: dataclasses whose values are checked, in Python as on the command line."""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from mosei_ssl.utils.errors import UserError


class OptionError(UserError):
    """A value that an option of a group (dotted, with its full stop) cannot have."""

    def __init__(self, group: str, name: str, problem: str):
        super().__init__(f"{group}{name} {problem}")
        self.group, self.name, self.problem = group, name, problem


def ranged(
    default: Any,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> Any:
    """A dataclass field with bounds, which `Options` checks; `above` and `below` exclude them."""
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return field(default=default, metadata={"bounds": bounds})


@dataclass(kw_only=True)
class Options:
    """A group of options, whose ranges and choices are checked when it is made.

    Attributes:
        group: its name within a stage's options, with its full stop.
        common: dotted names of the options that `--help` shows, where it leaves some to
            `--help-all`.
    """

    group: ClassVar[str] = ""
    common: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            choices = _choices(hints[option.name])
            problem = None
            if choices and value not in choices and isinstance(value, str):
                problem = f"must be one of {', '.join(choices)}, not {value!r}"
            bounds = option.metadata.get("bounds")
            if bounds and isinstance(value, int | float) and not isinstance(value, bool):
                problem = out_of_range(value, **bounds)
            if problem:
                raise OptionError(self.group, option.name, problem)


def _choices(hint: Any) -> list[str]:
    """The strings that a Literal, or a union with one, allows."""
    if typing.get_origin(hint) is Literal:
        return [value for value in typing.get_args(hint) if isinstance(value, str)]
    return [value for part in typing.get_args(hint) for value in _choices(part)]


def out_of_range(
    value: float, least: float, most: float, *, above: bool = False, below: bool = False
) -> str | None:
    """What is wrong with a value that is outside its bounds (see `ranged`) or not finite."""
    high_enough = value > least if above else value >= least
    low_enough = value < most if below else value <= most
    if high_enough and low_enough and math.isfinite(value):
        return None
    bounds = []
    if math.isfinite(least):
        bounds.append(f"above {least}" if above else f"at least {least}")
    if math.isfinite(most):
        bounds.append(f"below {most}" if below else f"at most {most}")
    return f"must be {' and '.join(bounds) or 'finite'}, not {value!r}"
