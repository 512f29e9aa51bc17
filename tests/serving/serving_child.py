"""The stand-in server as a process: not in conftest.py, a name that several modules have."""

import contextlib


def serve(arguments, pipe) -> int:
    """The stand-in server, until the other end of the pipe says or closes anything."""
    import standin

    def wait():
        with contextlib.suppress(EOFError):
            pipe.recv()

    standin.main(arguments, pipe.send, wait)
    return 0
