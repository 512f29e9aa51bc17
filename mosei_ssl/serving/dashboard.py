"""A Grafana dashboard of the gateway and of TF Serving."""

import json
from typing import Any

_RATE = "[$__rate_interval]"
_P = "histogram_quantile({q}, sum by (le{by}) (rate({metric}_bucket" + _RATE + ")))"


def _quantiles(metric: str, by: str = "") -> list[tuple[str, str]]:
    legend = f" {{{{{by}}}}}" if by else ""
    by = f", {by}" if by else ""
    return [(_P.format(q=q, by=by, metric=metric), f"p{int(q * 100)}{legend}") for q in (0.5, 0.99)]


_PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        "Answers of the gateway, by status",
        "reqps",
        [(f"sum by (code) (rate(mosei_gateway_requests_total{_RATE}))", "{{code}}")],
    ),
    ("From request to answer", "s", _quantiles("mosei_gateway_request_seconds")),
    ("Features and model", "s", _quantiles("mosei_gateway_stage_seconds", "stage")),
    (
        "Requests in progress",
        "short",
        [("sum by (instance) (mosei_gateway_in_progress)", "{{instance}}")],
    ),
    (
        "Audio per second",
        "s",
        [(f"sum(rate(mosei_gateway_audio_seconds_total{_RATE}))", "seconds of audio")],
    ),
    (
        "Memory of the gateways, without their processes",
        "bytes",
        [('process_resident_memory_bytes{job=~".*-gateway"}', "{{instance}}")],
    ),
    (
        "Drift (PSI): the five farthest from the training",
        "short",
        [("topk(5, max by (quantity) (mosei_gateway_drift_psi))", "{{quantity}}")],
    ),
    (
        "TF Serving: requests by status",
        "reqps",
        [
            (
                f'sum by (status) (rate({{__name__=":tensorflow:serving:request_count"}}{_RATE}))',
                "{{status}}",
            )
        ],
    ),
]


def dashboard(name: str) -> str:
    """The dashboard's JSON, to be imported into Grafana; it asks for the Prometheus to read."""
    panels: list[dict[str, Any]] = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(65 + index), "expr": expression, "legendFormat": legend}
                for index, (expression, legend) in enumerate(targets)
            ],
        }
        for number, (title, unit, targets) in enumerate(_PANELS)
    ]
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    content = {
        "title": f"Emotions: {name}",
        "uid": None,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(content, indent=1) + "\n"
