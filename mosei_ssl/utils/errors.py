"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Bad input, reported in one message: what is wrong, where, and what to do.

    The command line prints the message alone and exits with code 2; ``--debug`` shows the
    traceback. Programs can catch it as a ``ValueError``.
    """
