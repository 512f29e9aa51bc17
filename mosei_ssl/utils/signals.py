"""SIGTERM and Ctrl-C, answered when nothing is lost by it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """Work was asked to stop (SIGTERM or Ctrl-C); the same command goes on with it."""


class StopRequest:
    """What a signal asked of this process, and whether it may be answered at once.

    Attributes:
        asked: whether a signal has come.
        held: while true, a signal is noted only, for whoever is in the middle of something to look
            at `asked`; else it raises KeyboardInterrupt, which libraries let through, at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self.held = False

    def listen(self) -> None:
        """Have signals come here, again if a library took them over: TensorFlow's clusters do."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self.take)

    def hold(self) -> None:
        """Note signals only, from now on."""
        self.held = True

    def release(self) -> None:
        """Answer signals at once from now on, one that came meanwhile too."""
        self.held = False
        if self.asked:
            raise KeyboardInterrupt

    def take(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        self.asked = True
        if not self.held:
            raise KeyboardInterrupt

    def ask_again(self) -> None:
        """Send the signal once more, unless the work has ended."""
        if _outermost is self:
            os.kill(os.getpid(), signal.SIGTERM)


_outermost: StopRequest | None = None


@contextlib.contextmanager
def stop_politely() -> Iterator[StopRequest]:
    """Turn SIGTERM and Ctrl-C into `Interrupted`, and restore what they did before at the end.

    Within another such block it gives that one's request. Python handles signals in the main
    thread only; in another one they keep doing what they did.

    Yields:
        The request, for who would rather be stopped at a moment of its own.

    Raises:
        Interrupted: a signal came while it was not held back.

    Example:
        >>> with stop_politely() as stop:
        ...     stop.asked
        False
    """
    global _outermost
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
        return
    if _outermost is not None:
        yield _outermost
        return
    stop = _outermost = StopRequest()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    hook = sys.unraisablehook

    def unraisable(found: Any) -> None:
        # A signal answered within a destructor, out of which Python lets no exception.
        if issubclass(found.exc_type, KeyboardInterrupt) and stop.asked:
            threading.Timer(0.05, stop.ask_again).start()
        else:
            hook(found)

    try:
        sys.unraisablehook = unraisable
        stop.listen()
        yield stop
    except KeyboardInterrupt:
        if not stop.asked:
            raise
        raise Interrupted("stopped; nothing is lost") from None
    finally:
        _outermost = None
        sys.unraisablehook = hook
        for number, handler in before.items():
            # None stands for a handler that Python did not set and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
