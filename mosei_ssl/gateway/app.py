"""The HTTP application."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mosei_ssl.corpus.audio_files import FileFeatures, NotAudio, TooLong
from mosei_ssl.gateway.extraction import Extractor
from mosei_ssl.gateway.limits import Limits
from mosei_ssl.gateway.metrics import Metrics, Observed
from mosei_ssl.gateway.uploads import drain, read_upload
from mosei_ssl.serving import errors, output
from mosei_ssl.serving.drift import DriftWindow, quantities
from mosei_ssl.serving.inputs import audio_windows
from mosei_ssl.serving.predictor import Predictor, predict_records
from mosei_ssl.serving.signatures import MAX_FRAMES
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import out_of_range
from tfds_mosei.schema import FRAME_PERIOD, NUM_FEATURES

_STATUSES: dict[type[Exception], int] = {
    TooLong: 413,
    NotAudio: 415,
    errors.ServerUnavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.ServerError: 502,
    UserError: 422,
    TimeoutError: 504,
    ClientDisconnect: 499,  # which nobody reads
}
_PARAMETERS = {
    "window": (0.0, MAX_FRAMES * FRAME_PERIOD),
    "threshold": (0.0, 1.0),
    "full": (0, 1),
}
_RETRY = {"Retry-After": "1"}
_THREADS = 32


class Gateway:
    """What answers requests: features in processes, the model in threads.

    Args:
        predictor: the model, here or on a server; a client's time-out should be that of `limits`.
        limits: what is taken on at most.
        drift: with which to compare what comes in.
    """

    def __init__(self, predictor: Predictor, limits: Limits, drift: DriftWindow | None = None):
        self.predictor, self.limits, self.drift = predictor, limits, drift
        self.metrics = Metrics()
        self._admitted = 0
        self._threads = ThreadPoolExecutor(_THREADS, "predict")

    @contextlib.asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        """Processes from start to stop of the application."""
        self.extractor = Extractor(self.limits)
        try:
            await asyncio.to_thread(self.extractor.warm_up)
            with contextlib.suppress(errors.ServerError):  # which `ready` reports
                await self._in_thread(self.predictor.predict, [np.zeros((30, NUM_FEATURES))])
            yield
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self.extractor.close)

    async def emotions(self, request: Request) -> Response:
        """The records of a recording, as `mosei-ssl predict --format json` writes them."""
        with self._place():
            asked = _parameters(request)
            name, recording = await read_upload(request, self.limits)
            async with asyncio.timeout(self.limits.timeout):
                with self._timed("features"):
                    found = await self.extractor.features(recording)
                with self._timed("model"):
                    records = await self._in_thread(self._predict, name, found, asked)
        self.metrics.audio_seconds.inc(len(found.features) * FRAME_PERIOD)
        text = output.to_text(records, "json", full=asked.get("full") == 1)
        return Response(text, media_type="application/json")

    async def ready(self, request: Request) -> Response:
        """Whether the model would answer now."""
        # Of a model in this process nothing can be away.
        states = ["AVAILABLE"]
        if hasattr(self.predictor, "status"):
            states = list((await self._in_thread(self.predictor.status)).values())
        if "AVAILABLE" not in states:
            raise errors.ServerUnavailable(f"the model is not available: {states}")
        return JSONResponse({"status": "ready"})

    async def health(self, request: Request) -> Response:
        """Whether this process answers at all."""
        return JSONResponse({"status": "alive"})

    async def measures(self, request: Request) -> Response:
        """The metrics, for Prometheus."""
        self.metrics.deaths.set(self.extractor.deaths)
        for name, value in (self.drift.psi() if self.drift else {}).items():
            self.metrics.drift.labels(name).set(value)
        content = generate_latest(self.metrics.registry)
        return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _predict(
        self, name: str, found: FileFeatures, asked: dict[str, Any]
    ) -> list[dict[str, Any]]:
        window = asked.get("window", 15.0)
        segments = list(audio_windows(name, found.features, found.rate, window))
        given = (self.predictor, segments)
        records = list(predict_records(*given, threshold=asked.get("threshold")))
        if self.drift:
            answers = [[e["expected"] for e in record["emotions"].values()] for record in records]
            self.drift.add(map(quantities, (s.features for s in segments), answers))
        return records

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        # Unlike `asyncio.to_thread`, in a separate pool; a call that times out runs on.
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """A place among the requests in progress."""
        if self._admitted >= self.limits.queue:
            raise HTTPException(429, "too many requests are in progress: try again", _RETRY)
        self._admitted += 1
        self.metrics.in_progress.set(self._admitted)
        try:
            yield
        finally:
            self._admitted -= 1
            self.metrics.in_progress.set(self._admitted)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.metrics.stage_seconds.labels(stage).observe(time.perf_counter() - start)


def _parameters(request: Request) -> dict[str, float]:
    """What the query asks for; anything else in it is refused."""
    asked = {}
    for name, text in request.query_params.multi_items():
        if name not in _PARAMETERS:
            raise HTTPException(400, f"there is no parameter {name!r}: {', '.join(_PARAMETERS)}")
        try:
            asked[name] = float(text)
            problem = out_of_range(asked[name], *_PARAMETERS[name])
        except ValueError:
            problem = f"must be a number, not {text!r}"
        if problem:
            raise HTTPException(400, f"{name} {problem}")
    return asked


async def _refuse(request: Request, error: Exception) -> Response:
    """One line that says why, and the request's id."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        code, text, headers = error.status_code, error.detail, dict(error.headers or {})
    else:
        code = next((c for kind, c in _STATUSES.items() if isinstance(error, kind)), 500)
        text = str(error) or "this took too long"
        if code == 500:
            text = "an unforeseen error, see the log"
        if code == 503:
            headers = dict(_RETRY)
    await drain(request)
    body = {"error": text, "request_id": request.state.request_id}
    return JSONResponse(body, code, headers)


def create_app(
    predictor: Predictor, limits: Limits | None = None, drift: DriftWindow | None = None
) -> Observed:
    """The ASGI application that `mosei-ssl serve` runs.

    Args:
        predictor: a `LocalModel`, or what `connect` gives.
        limits: what is taken on at most.
        drift: what the training was like, `DriftWindow.of(EXPORT)`; its distance becomes a metric.

    Returns:
        An application for any ASGI server; its processes start and end with its lifespan.
    """
    gateway = Gateway(predictor, limits or Limits(), drift)
    description = json.loads(resources.files(__package__).joinpath("openapi.json").read_bytes())

    async def openapi(request: Request) -> Response:
        return JSONResponse(description)

    app = Starlette(
        routes=[
            Route("/v1/emotions", gateway.emotions, methods=["POST"]),
            Route("/healthz", gateway.health),
            Route("/readyz", gateway.ready),
            Route("/metrics", gateway.measures),
            Route("/openapi.json", openapi),
        ],
        exception_handlers=dict.fromkeys((HTTPException, *_STATUSES, Exception), _refuse),
        lifespan=gateway.running,
    )
    app.state.gateway = gateway
    return Observed(app, gateway.metrics)
