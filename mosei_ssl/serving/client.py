"""What clients of a TF Serving server have in common, whichever protocol they speak."""

import abc
import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tenacity

from mosei_ssl.serving import errors
from mosei_ssl.serving.predictor import Predictor
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import OptionError, out_of_range
from tfds_mosei.schema import EMOTIONS

ATTEMPTS = 4
"""How often a batch is sent at most, unless it is refused."""


class Client(Predictor, contextlib.AbstractContextManager):
    """A client of a TF Serving server: retries and a deadline around each request.

    Predicting changes nothing on a server, so a request is repeated when it may have been lost:
    the server was absent, overloaded, or dropped the connection. What the server refused is
    repeated once only: a server that batches gives all requests of a batch the error of one.

    Args:
        address: where the server is, for messages.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        label: instead of `version`: the label of one, such as "stable".
        timeout: seconds within which a batch must be answered, retries included. Over REST it
            bounds each wait, and the whole of the answer's content: a server that sends its
            headers byte by byte takes longer.
        max_batch: most segments in a request; servers that batch refuse more than their own limit.
    """

    def __init__(
        self,
        address: str,
        model_name: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        max_batch: int = 32,
    ):
        if problem := out_of_range(timeout, 0, math.inf, above=True):
            raise OptionError("--", "timeout", problem)
        if version is not None and label is not None:
            raise UserError("give either a version or a label, not both.")
        self.max_batch = max_batch
        self.address = address
        self.model_name = model_name
        self.version, self.label = version, label
        self.timeout = timeout

    def status(self) -> dict[int, str]:
        """State of the version, or of each one that is served, such as `{1: "AVAILABLE"}`."""
        return self._with_retries(self._status, time.monotonic() + self.timeout)

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def _send(self, segments: list[np.ndarray], seconds: float) -> dict[str, Any]:
        """Ask once; outputs by name, [B, 6] in anything that numpy takes."""

    @abc.abstractmethod
    def _status(self, seconds: float) -> dict[int, str]:
        """Ask once."""

    def _answer(self, segments: list[np.ndarray]) -> Mapping[str, np.ndarray]:
        send = functools.partial(self._send, segments)
        end = time.monotonic() + self.timeout
        try:
            outputs = self._with_retries(send, end)
        except errors.InputRefused:
            # The segments have been checked, so the fault may well be in another client's.
            outputs = self._with_retries(send, end)
        return {name: self._checked(outputs, name, len(segments)) for name in OUTPUTS}

    def _with_retries(self, ask: Callable[[float], Any], end: float) -> Any:
        def ask_in_time() -> Any:
            left = end - time.monotonic()
            if left <= 0:
                raise self._too_late()
            return ask(left)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.ServerUnavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(self.timeout),
            reraise=True,
        )(ask_in_time)

    def _checked(self, outputs: dict[str, Any], name: str, count: int) -> np.ndarray:
        try:
            values = np.asarray(outputs[name], dtype=np.float64)
            if values.shape == (count, len(EMOTIONS)) and np.isfinite(values).all():
                return values
            problem = f"{name!r} has shape {list(values.shape)}, or values that are not finite"
        except (KeyError, TypeError, ValueError, OverflowError):
            problem = f"{name!r} is missing or not numbers"
        raise self._nonsense(
            f"answered, but {problem}; [{count}, {len(EMOTIONS)}] numbers were expected. Is the "
            "model on it an export of mosei_ssl?"
        )

    def _nonsense(self, what: str) -> errors.BadAnswer:
        return errors.BadAnswer(f"{self.address} {what}")

    def _too_late(self) -> errors.DeadlineExceeded:
        return errors.DeadlineExceeded(
            f"{self.address} did not answer within {self.timeout:g} s. Give a longer --timeout, or "
            "fewer segments at a time."
        )

    def _unreachable(self, reason: str) -> errors.ServerUnavailable:
        return errors.ServerUnavailable(
            f"{self.address} cannot be reached, is overloaded, or dropped the connection "
            f"({reason}). Is the server running there?"
        )

    def _failure(self, kind: type[errors.ServerError], status: str, details: str) -> Exception:
        """The error for an answer that reports one."""
        details = " ".join(details.split())[:500]
        if kind is errors.DeadlineExceeded:
            return self._too_late()
        if kind is errors.ServerUnavailable:
            return self._unreachable(details)
        where = f"{self.address}, model {self.model_name!r}"
        if kind is errors.ModelNotFound:
            return kind(f"{where}: there is no such model or version ({details}).")
        if issubclass(kind, errors.RequestRejected):
            return kind(f"{where}: the server refuses the request ({details}).")
        return kind(f"{where}: the server failed with {status} ({details}).")
