"""TF Serving's REST interface."""

import base64
import json
import time
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from mosei_ssl.serving import errors
from mosei_ssl.serving.client import Client
from mosei_ssl.serving.signatures import EXAMPLES_SIGNATURE, serialise
from mosei_ssl.utils.errors import UserError

_LARGEST_ANSWER = 64 * 2**20
_KINDS: dict[int, type[errors.ServerError]] = {
    400: errors.InputRefused,
    404: errors.ModelNotFound,
    # Overloaded, restarting, or behind a proxy that lost it: another try may succeed.
    **dict.fromkeys((429, 502, 503), errors.ServerUnavailable),
    504: errors.DeadlineExceeded,
}


class RestClient(Client):
    """Asks over HTTP, at `http://HOST:PORT`.

    Segments are sent as serialised examples in base64: exact, a fraction of the size of decimal
    numbers, and NaN needs no extension of JSON.
    """

    def __init__(self, url: str, model_name: str, version: int | None = None, **options: Any):
        super().__init__(url.rstrip("/"), model_name, version, **options)
        self._path = f"/v1/models/{quote(model_name, safe='')}"
        self._path += "" if version is None else f"/versions/{version}"
        self._chosen = self._path
        if self.label is not None:
            self._chosen += f"/labels/{quote(self.label, safe='')}"
        try:
            self._http = httpx.Client(base_url=self.address, trust_env=False)
        except httpx.InvalidURL as error:
            raise UserError(f"{url!r} is not a URL of a server ({error}).") from None

    def close(self) -> None:
        self._http.close()

    def _send(self, segments: list[np.ndarray], seconds: float) -> dict[str, Any]:
        instances = [{"b64": base64.b64encode(serialise(rows)).decode()} for rows in segments]
        body = {"signature_name": EXAMPLES_SIGNATURE, "inputs": {"examples": instances}}
        answer = self._ask("POST", f"{self._chosen}:predict", seconds, json.dumps(body).encode())
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            raise self._nonsense("answered JSON without 'outputs': is it TF Serving?")
        return outputs

    def _status(self, seconds: float) -> dict[int, str]:
        answer = self._ask("GET", self._path, seconds)
        try:
            return {int(s["version"]): str(s["state"]) for s in answer["model_version_status"]}
        except (KeyError, TypeError, ValueError):
            raise self._nonsense("does not answer as TF Serving does.") from None

    def _ask(
        self, method: str, path: str, seconds: float, content: bytes | None = None
    ) -> dict[str, Any]:
        try:
            status, text = self._exchange(method, path, seconds, content)
        except httpx.TimeoutException:
            raise self._too_late() from None
        except httpx.DecodingError as error:
            raise self._nonsense(f"sent an unreadable answer ({error}).") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if status != 200:
            told = answer.get("error") if isinstance(answer, dict) else None
            details = str(told or text[:200].decode("utf-8", errors="replace"))
            default = errors.RequestRejected if 400 < status < 500 else errors.ServerError
            raise self._failure(_KINDS.get(status, default), f"HTTP status {status}", details)
        if not isinstance(answer, dict):
            raise self._nonsense(f"answered {text[:60]!r}, not a JSON object: is it TF Serving?")
        return answer

    def _exchange(
        self, method: str, path: str, seconds: float, content: bytes | None
    ) -> tuple[int, bytes]:
        # httpx limits each wait, not their sum: one byte a second would hold the client forever.
        end = time.monotonic() + seconds
        headers = {"Content-Type": "application/json"}
        with self._http.stream(
            method, path, content=content, headers=headers, timeout=seconds
        ) as response:
            received = bytearray()
            for part in response.iter_bytes():
                received += part
                if time.monotonic() > end:
                    raise self._too_late()
                if len(received) > _LARGEST_ANSWER:
                    raise self._nonsense("does not stop answering: is it TF Serving?")
            return response.status_code, bytes(received)
