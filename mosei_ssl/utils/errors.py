"""The one exception a user is meant to read, and those kinds of it that scripts tell apart."""

from typing import ClassVar


class UserError(ValueError):
    """Bad input, reported in one message: what is wrong, where, and what to do.

    The command line prints the message alone and exits with code 2; ``--debug`` shows the
    traceback. Programs can catch it as a ``ValueError``.

    Attributes:
        exit_code: that of the command line.
    """

    exit_code: ClassVar[int] = 2


class DamagedExportError(UserError):
    """An export is not as it was written: damaged on the way, or tampered with."""

    exit_code = 3
