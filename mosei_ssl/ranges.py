"""Bounds of options."""

import math

from mosei_ssl.errors import UserError


def check_range(
    name: str,
    value: float,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> None:
    """Refuse a value outside its bounds.

    Args:
        name: the option, for the message.
        value: its value; NaN lies outside of any bounds.
        least: smallest value.
        most: largest value.
        above: `least` itself is refused.
        below: `most` itself is refused.

    Raises:
        UserError: the value is outside; the message names the bounds.

    Example:
        >>> check_range("head.dropout", 2.0, 0, 1, below=True)
        Traceback (most recent call last):
        mosei_ssl.errors.UserError: head.dropout must be at least 0 and below 1, not 2.0
    """
    high_enough = value > least if above else value >= least
    low_enough = value < most if below else value <= most
    if high_enough and low_enough and math.isfinite(value):
        return
    bounds = []
    if math.isfinite(least):
        bounds.append(f"above {least}" if above else f"at least {least}")
    if math.isfinite(most):
        bounds.append(f"below {most}" if below else f"at most {most}")
    raise UserError(f"{name} must be {' and '.join(bounds) or 'finite'}, not {value!r}")
