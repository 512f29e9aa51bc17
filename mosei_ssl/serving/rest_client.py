"""TF Serving's REST interface."""

import base64
import json
import time
from typing import Any

import numpy as np

from mosei_ssl.serving.client import (
    BadAnswer,
    Client,
    InputRefused,
    RequestRejected,
    ServerError,
    ServerUnavailable,
)
from mosei_ssl.serving.examples import serialise
from mosei_ssl.serving.schema import EXAMPLES_SIGNATURE
from mosei_ssl.utils.errors import UserError

try:
    import httpx
except ImportError:
    raise UserError(
        "talking to a server over REST needs httpx: pip install 'mosei_ssl[serving]'."
    ) from None

_LARGEST_ANSWER = 64 * 2**20
# Overloaded, restarting, or behind a proxy that lost it: another try may succeed.
_TEMPORARY = {429, 502, 503}


class RestClient(Client):
    """Asks over HTTP.

    Segments are sent as serialised examples in base64: exact, a fraction of the size of decimal
    numbers, and NaN needs no extension of JSON.

    Args:
        url: `http://HOST:PORT`.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        **options: see `Client`.
    """

    def __init__(self, url: str, model_name: str, version: int | None = None, **options: Any):
        super().__init__(url.rstrip("/"), model_name, version, **options)
        self._path = f"/v1/models/{model_name}" + (
            "" if version is None else f"/versions/{version}"
        )
        try:
            self._http = httpx.Client(base_url=self.address, trust_env=False)
        except httpx.InvalidURL as error:
            raise UserError(f"{url!r} is not a URL of a server ({error}).") from None

    def close(self) -> None:
        self._http.close()

    def _send(self, segments: list[np.ndarray], seconds: float) -> dict[str, Any]:
        instances = [{"b64": base64.b64encode(serialise(rows)).decode()} for rows in segments]
        body = {"signature_name": EXAMPLES_SIGNATURE, "inputs": {"examples": instances}}
        answer = self._ask("POST", f"{self._path}:predict", seconds, body)
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise BadAnswer(f"{self.address} answered JSON without 'outputs': is it TF Serving?")
        return outputs

    def _status(self, seconds: float) -> dict[int, str]:
        answer = self._ask("GET", self._path, seconds)
        try:
            return {int(s["version"]): str(s["state"]) for s in answer["model_version_status"]}
        except (KeyError, TypeError, ValueError):
            raise BadAnswer(f"{self.address} does not answer as TF Serving does.") from None

    def _ask(self, method: str, path: str, seconds: float, body: Any = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        try:
            status, text = self._exchange(method, path, seconds, content)
        except httpx.TimeoutException:
            raise self._too_late() from None
        except httpx.DecodingError as error:
            raise BadAnswer(f"{self.address} answered what cannot be read ({error}).") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnavailable(
                f"{self.address} cannot be reached, or dropped the connection "
                f"({str(error) or type(error).__name__}). Is the server running there?"
            ) from error
        if status == 200:
            return _json_object(text, self.address)
        raise _failure(status, text, self)

    def _exchange(
        self, method: str, path: str, seconds: float, content: bytes | None
    ) -> tuple[int, bytes]:
        # httpx limits each wait, not their sum: who sends a byte a second would hold us forever.
        end = time.monotonic() + seconds
        headers = {"Content-Type": "application/json"}
        with self._http.stream(
            method, path, content=content, headers=headers, timeout=seconds
        ) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > end:
                    raise self._too_late()
                if size > _LARGEST_ANSWER:
                    raise BadAnswer(f"{self.address} does not stop answering: is it TF Serving?")
            return response.status_code, b"".join(parts)


def _json_object(text: bytes, address: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise BadAnswer(
            f"{address} did not answer with a JSON object but with {text[:60]!r}: is it TF Serving?"
        )
    return answer


def _failure(status: int, text: bytes, client: RestClient) -> ServerError:
    try:
        message = str(json.loads(text)["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        message = text[:200].decode("utf-8", errors="replace")
    message = " ".join(message.split())[:500]
    where = f"{client.address}, model {client.model_name!r}"
    if status in _TEMPORARY:
        return ServerUnavailable(f"{where}: the server is overloaded or starting ({message}).")
    if status == 504:
        return client._too_late()
    if status == 404:
        return RequestRejected(f"{where}: there is no such model or version ({message}).")
    if status == 400:
        return InputRefused(f"{where}: the server refuses the request ({message}).")
    if 400 < status < 500:
        return RequestRejected(f"{where}: the server refuses the request ({message}).")
    return ServerError(f"{where}: the server failed with HTTP status {status} ({message}).")
