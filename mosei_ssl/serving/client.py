"""Clients of a TF Serving server that holds an export."""

import abc
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tenacity

from mosei_ssl.serving.batching import check_rows, plan_batches
from mosei_ssl.serving.schema import EMOTIONS, OUTPUTS
from mosei_ssl.utils.errors import UserError


class ServerError(UserError):
    """A server did not answer as it should; the message says what happened."""


class ServerUnavailable(ServerError):
    """It cannot be reached, is overloaded, or dropped the connection: worth another try."""


class DeadlineExceeded(ServerError):
    """It did not answer in the time allowed."""


class RequestRejected(ServerError):
    """It found fault with the request: unknown model, bad tensors."""


class InputRefused(RequestRejected):
    """It found fault with the tensors, of this request or of another one in the same batch."""


class BadAnswer(ServerError):
    """What came back is not an answer of this kind of model."""


class Client(abc.ABC):
    """What both protocols have in common: batches, retries and deadlines.

    Predicting changes nothing on a server, so a request is repeated when it may have been lost:
    the server was not there, was overloaded, or dropped the connection. It is not repeated when
    the server found fault with it, but for once: a server that batches gives all requests of a
    batch the error of a single one.

    Args:
        address: where the server is, for messages.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        timeout: seconds within which a batch must be answered, retries included. Over REST it
            bounds each wait, and all of the answer's content: a server that sends its headers
            byte by byte takes longer.
        attempts: how often a batch is sent at most, but for one that was refused.
        max_batch: most segments in a request; servers that batch refuse more than their own limit.
        max_frames: most frames in a request, padding included.
    """

    def __init__(
        self,
        address: str,
        model_name: str,
        version: int | None = None,
        timeout: float = 30.0,
        attempts: int = 4,
        max_batch: int = 32,
        max_frames: int = 48_000,
    ):
        if not (math.isfinite(timeout) and timeout > 0):
            raise UserError(f"--timeout is {timeout}: give a positive number of seconds.")
        self.address = address
        self.model_name = model_name
        self.version = version
        self.timeout = timeout
        self.attempts = attempts
        self.max_batch = max_batch
        self.max_frames = max_frames

    def predict(
        self,
        segments: Sequence[np.ndarray],
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, np.ndarray]:
        """Predict the emotions of segments.

        Args:
            segments: N arrays [T, 74] of raw COVAREP rows; lengths may differ.
            progress: called with the number of segments done since the last call.

        Returns:
            `intensity`, `present`, `expected` float32 and `class` int32, each [N, 6], in the
            order of the segments.

        Raises:
            UserError: a segment has another width, no frame, or too many.
            ServerError: the server cannot be reached in time, refuses, or answers nonsense.
        """
        rows = check_rows(segments)
        answers = {name: np.zeros((len(rows), len(EMOTIONS)), np.float32) for name in OUTPUTS}
        answers["class"] = answers["class"].astype(np.int32)
        for batch in plan_batches([len(r) for r in rows], self.max_batch, self.max_frames):
            part = [rows[index] for index in batch]
            send = functools.partial(self._send, part)
            end = time.monotonic() + self.timeout
            try:
                outputs = self._with_retries(send, end)
            except InputRefused:
                if self.attempts == 1:
                    raise
                # The rows have been checked, so it may well have been somebody else's.
                outputs = self._with_retries(send, end)
            for name, values in answers.items():
                values[batch] = _checked(outputs, name, len(batch), self.address)
            if progress:
                progress(len(batch))
        return answers

    def status(self) -> dict[int, str]:
        """State of each version on the server, such as `{1: "AVAILABLE"}`.

        Raises:
            ServerError: the server cannot be reached, or does not have the model.
        """
        return self._with_retries(self._status, time.monotonic() + self.timeout)

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def _send(self, segments: list[np.ndarray], seconds: float) -> dict[str, Any]:
        """Ask once; outputs by name, [B, 6] in anything that numpy takes."""

    @abc.abstractmethod
    def _status(self, seconds: float) -> dict[int, str]:
        """Ask once."""

    def _with_retries(self, ask: Callable[[float], Any], end: float) -> Any:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ServerUnavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),
            stop=tenacity.stop_after_attempt(self.attempts)
            | tenacity.stop_before_delay(self.timeout),
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                left = end - time.monotonic()
                if left <= 0:
                    raise self._too_late()
                return ask(left)
        raise self._too_late()

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self.address} did not answer within {self.timeout:g} s. Give a longer --timeout, or "
            "fewer segments at a time."
        )


def _checked(outputs: dict[str, Any], name: str, count: int, address: str) -> np.ndarray:
    try:
        values = np.asarray(outputs[name], dtype=np.float64)
        if values.shape == (count, len(EMOTIONS)) and np.isfinite(values).all():
            return values
        problem = f"{name!r} has shape {list(values.shape)}, or values that are not finite"
    except (KeyError, TypeError, ValueError, OverflowError):
        problem = f"{name!r} is missing or not numbers"
    raise BadAnswer(
        f"{address} answered, but {problem}; expected are [{count}, {len(EMOTIONS)}] numbers. Is "
        "the model on it an export of mosei_ssl?"
    )


def connect(
    url: str, model_name: str = "emotion", version: int | None = None, **options: Any
) -> Client:
    """A client for a server's address.

    Args:
        url: `http://HOST:PORT` or `https://...` for REST (TF Serving's default port is 8501),
            `grpc://HOST:PORT` for gRPC (8500), `grpcs://...` for gRPC over TLS.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        **options: see `Client`.

    Returns:
        A client; nothing has been sent yet.

    Raises:
        UserError: the address is no such URL, or what the protocol needs is not installed.

    Example:
        >>> with connect("grpc://localhost:8500", "emotion", timeout=5) as client:
        ...     answers = client.predict([rows])
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError(f"{url!r} is not a URL of a server ({error}).") from None
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
        raise UserError(
            f"{url!r} is not the URL of a server: give http://HOST:8501 for REST or "
            "grpc://HOST:8500 for gRPC."
        )
    if parts.scheme in ("http", "https"):
        from mosei_ssl.serving.rest_client import RestClient

        return RestClient(url, model_name, version, **options)
    from mosei_ssl.serving.grpc_client import GrpcClient

    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return GrpcClient(
        f"{host}:{port or 8500}", model_name, version, tls=parts.scheme == "grpcs", **options
    )
