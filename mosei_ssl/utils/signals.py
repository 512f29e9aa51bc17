"""SIGTERM and Ctrl-C, answered when nothing is lost by it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """Work was asked to stop by SIGTERM or Ctrl-C; the same command resumes it."""

    def __init__(self, message: str, number: int = signal.SIGTERM):
        super().__init__(message)
        self.exit_code = 128 + number  # 143 after SIGTERM, 130 after Ctrl-C


class StopRequest:
    """A signal that asks this process to stop, and whether it may be answered at once."""

    def __init__(self) -> None:
        self.number = 0  # of the signal; 0 as long as none has come
        self._held = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Only note a first signal within the block, which looks at `number` when it suits.

        A second one stops at once, as does the first outside of the block or at its end.
        """
        self.check()
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    def check(self) -> None:
        """Answer a signal that was noted, or lost: Python lets no exception out of a destructor."""
        if self.number:
            raise KeyboardInterrupt

    def take(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        first, self.number = not self.number, number
        if not (self._held and first):
            raise KeyboardInterrupt


_outermost: StopRequest | None = None


@contextlib.contextmanager
def stop_politely() -> Iterator[StopRequest]:
    """Turn SIGTERM and Ctrl-C into `Interrupted`, and restore what they did before at the end.

    Within another such block it gives that one's request. Python handles signals in the main
    thread only; in another one they keep doing what they did.
    """
    global _outermost
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
        return
    if _outermost is not None:
        yield _outermost
        return
    stop = _outermost = StopRequest()
    before = {number: signal.signal(number, stop.take) for number in _SIGNALS}
    try:
        yield stop
    except KeyboardInterrupt:
        if not stop.number:
            raise
        raise Interrupted("stopped; what was saved is kept", stop.number) from None
    finally:
        _outermost = None
        for number, handler in before.items():
            # None stands for a handler that Python did not set and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
