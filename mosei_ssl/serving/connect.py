"""The client for a server's address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mosei_ssl.utils.errors import UserError

if TYPE_CHECKING:
    from mosei_ssl.serving.client import Client


def connect(
    url: str, model_name: str = "emotion", version: int | None = None, **options: Any
) -> Client:
    """A client for a server's address.

    Args:
        url: `http://HOST:PORT` or `https://...` for REST (TF Serving's default port is 8501),
            `grpc://HOST:PORT` for gRPC (8500), `grpcs://...` for gRPC over TLS.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        **options: `label` instead of a version, `timeout` in seconds and `max_batch`; see `Client`.

    Returns:
        A client with `predict`, `status` and `close`; nothing has been sent yet.

    Raises:
        UserError: the address is not such a URL, or what the protocol needs is not installed.

    Examples:
        >>> with connect("http://localhost:8501", "emotion", timeout=5) as client:
        ...     client.predict([])["intensity"].shape  # nothing to ask
        (0, 6)
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 8500
        if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
            raise ValueError("give http://HOST:8501 for REST or grpc://HOST:8500 for gRPC")
    except ValueError as error:
        raise UserError(f"{url!r} is not the URL of a server ({error}).") from None
    try:
        if parts.scheme in ("http", "https"):
            from mosei_ssl.serving.rest_client import RestClient

            return RestClient(url, model_name, version, **options)
        from mosei_ssl.serving.grpc_client import GrpcClient
    except ImportError as error:
        raise UserError(
            f"asking a server needs more packages ({error}): pip install 'mosei_ssl[serving]'"
        ) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    tls = parts.scheme == "grpcs"
    return GrpcClient(f"dns:///{host}:{port}", model_name, version, tls, **options)
