"""How far apart in time feature rows are: a model trained on one period says nothing of another."""

import math

from mosei_ssl.utils.errors import UserError

_TOLERANCE = 0.05  # share of the period


def refuse_other_period(period: float | None, needed: float | None, whose: str, than: str) -> None:
    """Raise a `UserError` unless two row periods, in seconds or None for words, are the same.

    Examples:
        >>> refuse_other_period(0.05, 0.01, "talk.csd", "the model was trained on")
        Traceback (most recent call last):
        mosei_ssl.utils.errors.UserError: talk.csd has a row every 50 ms; the model was trained ...
    """
    same = period == needed
    if period is not None and needed is not None:
        same = math.isclose(period, needed, rel_tol=_TOLERANCE)
    if not same:
        raise UserError(
            f"{whose} has {_described(period)}; {than} {_described(needed)}: the two cannot "
            "be mixed. Use data with the same row period."
        )


def _described(period: float | None) -> str:
    return "a row per word" if period is None else f"a row every {1000 * period:g} ms"
