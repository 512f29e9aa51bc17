"""The client for a server's address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mosei_ssl.serving.manifest import verify
from mosei_ssl.utils.errors import UserError

if TYPE_CHECKING:
    from mosei_ssl.serving.client import Client


def connect(
    url: str,
    model_name: str = "emotion",
    version: int | None = None,
    *,
    label: str | None = None,
    export: str | Path | None = None,
    **options: Any,
) -> Client:
    """A client for a server's address.

    Args:
        url: `http://HOST:PORT` or `https://...` for REST (TF Serving's default port is 8501),
            `grpc://HOST:PORT` for gRPC (8500), `grpcs://...` for gRPC over TLS.
        model_name: name of the model on the server.
        version: which version; None for the highest.
        label: instead of `version`: the label of one, such as "stable".
        export: the export that runs there, `saved_models/NAME` or `NAME/VERSION`, in whose manifest
            are the threshold and the means of the training: with them answers are those of
            a `LocalModel` of it, relative to the recording too. It is verified.
        **options: `timeout` in seconds and `max_batch`; see `Client`.

    Returns:
        A client with `predict`, `status` and `close`; nothing has been sent yet.

    Raises:
        UserError: the address is not such a URL, what the protocol needs is not installed, or
            the export does not exist.

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
    options["label"] = label
    client: Client
    try:
        if parts.scheme in ("http", "https"):
            from mosei_ssl.serving.rest_client import RestClient

            client = RestClient(url, model_name, version, **options)
        else:
            from mosei_ssl.serving.grpc_client import GrpcClient

            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            tls = parts.scheme == "grpcs"
            client = GrpcClient(f"dns:///{host}:{port}", model_name, version, tls, **options)
    except ImportError as error:
        raise UserError(
            f"asking a server needs more packages ({error}): pip install 'mosei_ssl[serving]'"
        ) from None
    if export is not None:
        from mosei_ssl.serving.promotion import served_version

        found = verify(served_version(export, version, label))
        client.directory, client.manifest = found.directory, found.manifest
    return client
