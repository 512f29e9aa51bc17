"""What a gateway tells Prometheus, and its log, of every request."""

import functools
import logging
import re
import time
import uuid

import prometheus_client as prometheus
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("mosei_ssl.gateway")

_GOOD_ID = re.compile(r"[\w.:+=/-]{1,128}", re.ASCII)
_PREFIX = "mosei_gateway"
_QUIET = ("/healthz", "/readyz", "/metrics")
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)


class Metrics:
    """The numbers of one gateway."""

    def __init__(self) -> None:
        registry = self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        counter = functools.partial(prometheus.Counter, namespace=_PREFIX, registry=registry)
        gauge = functools.partial(prometheus.Gauge, namespace=_PREFIX, registry=registry)
        histogram = functools.partial(
            prometheus.Histogram, namespace=_PREFIX, registry=registry, buckets=_SECONDS
        )
        self.requests = counter("requests", "Answers by HTTP status.", ["code"])
        self.seconds = histogram("request_seconds", "From request to answer.")
        self.stage_seconds = histogram("stage_seconds", "Waiting included.", ["stage"])
        self.in_progress = gauge("in_progress", "Requests admitted and not yet answered.")
        self.audio_seconds = counter("audio_seconds", "Length of the audio answered.")
        self.drift = gauge("drift_psi", "Distance from the training.", ["quantity"])
        self.deaths = gauge("extraction_deaths", "Processes that died before they answered.")


class Observed:
    """Gives every request an id, a line in the log and its place in the metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        start, code = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - start
            if scope["path"] not in _QUIET:
                self.metrics.requests.labels(code).inc()
                self.metrics.seconds.observe(seconds)
                # As Python writes text: a path may hold line breaks.
                line = "%s %r %d %.3f s id=%s"
                _log.info(line, scope["method"], scope["path"], code, seconds, request_id)
