"""The recording in a request: its body, or the one file of a form; in memory, never on disk."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from pathlib import PurePosixPath

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mosei_ssl.gateway.limits import Limits

_DRAIN_SECONDS = 2.0


async def read_upload(request: Request, limits: Limits) -> tuple[str, bytes]:
    """Name and bytes of the recording that was sent.

    Raises:
        HTTPException: too large (413), too slow (408), empty or a broken form (400).
    """
    try:
        async with asyncio.timeout(limits.timeout):
            body = await _body(request, limits.max_megabytes)
    except TimeoutError:
        raise HTTPException(408, f"the recording did not arrive in {limits.timeout:g} s") from None
    name = "recording"
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        name, body = await _file_of_form(request, body)
    if not body:
        raise HTTPException(400, "there is no recording in the request: its body is empty")
    return name, body


async def _body(request: Request, megabytes: float) -> bytes:
    too_large = HTTPException(413, f"the recording has more than {megabytes:g} MB")
    most = megabytes * 1e6
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise too_large
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > most:
            raise too_large
    return bytes(received)


class _FormParser(MultiPartParser):
    spool_max_size = sys.maxsize
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def _file_of_form(request: Request, body: bytes) -> tuple[str, bytes]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _FormParser(request.headers, stream(), max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the form cannot be read: {error.message}") from None
    files = [value for _, value in form.multi_items() if not isinstance(value, str)]
    if not files or not parser.complete:
        raise HTTPException(400, "the form must hold one file, the recording, to its end")
    with files[0].file as file:
        file.seek(0)
        content = file.read()
    name = PurePosixPath((files[0].filename or "").replace("\\", "/")).stem[:200]
    return name if name.isprintable() and name else "recording", content


async def drain(request: Request) -> None:
    """Take in what a client still sends: otherwise it may never read why it was refused."""
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in request.stream():
                pass
