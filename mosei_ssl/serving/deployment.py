"""Configuration of TF Serving for an export: the files that its server and its image read."""

import re
from pathlib import Path

import jinja2

from mosei_ssl.serving.dashboard import dashboard
from mosei_ssl.utils.files import write_text

DEPLOYMENT = "deployment"
"""Folder beside the versions; TF Serving only looks at folders whose name is a number."""

CONFIGS = ("models.config", "batching.config", "monitoring.config")
ORCHESTRATION = (
    "docker-compose.yml",
    "Dockerfile",
    "kustomization.yaml",
    "kubernetes.yaml",
    "gateway.yaml",
    "prometheus.yml",
    "alerts.yml",
)
IMAGE = "tensorflow/serving:2.19.1"
"""Images come out long after TensorFlow does; this is the newest that is known to be published.

An older server runs an export as long as it knows the operations in it, which
`tests/serving/test_real_speech.py` tries in an environment with that TensorFlow.
"""


def render(template: str, **values: object) -> str:
    """Fill in a template of this package, named without its ending `.j2`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mosei_ssl.serving"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"{template}.j2").render(**values)


def write_deployment(to: Path, version: int = 1) -> None:
    """Write the deployment files of `saved_models/NAME` that are missing.

    `version` is the one that is served, and labelled "stable".

    Existing files are left alone: they are meant to be adapted.
    """
    for name, text in deployment_files(to.resolve().name, version).items():
        if not (to / DEPLOYMENT / name).exists():
            write_text(to / DEPLOYMENT / name, text)


def deployment_files(name: str, version: int = 1) -> dict[str, str]:
    """The text of every deployment file, for a model that requests address by this name."""
    service = _service_name(name)
    cores = 4
    values = {
        "name": name,
        "version": version,
        "service": service,
        "image": IMAGE,
        "cores": cores,
        "max_batch_size": 64,
        "flags": [
            "--model_config_file=/config/models.config",
            # What `mosei-ssl promote` edits is followed without a restart.
            "--model_config_file_poll_wait_seconds=30",
            "--allow_version_labels_for_unavailable_models=true",
            "--enable_batching=true",
            "--batching_parameters_file=/config/batching.config",
            "--monitoring_config_file=/config/monitoring.config",
            # Otherwise TensorFlow counts the cores of the whole machine.
            f"--tensorflow_intra_op_parallelism={cores}",
            f"--tensorflow_inter_op_parallelism={cores}",
            # Clients then find servers that were added.
            "--grpc_channel_arguments=grpc.max_connection_age_ms=60000",
        ],
    }
    gateway = [f"--model=/models/{name}", f"--model-name={name}", "--label=stable"]
    files = {}
    for file in (*CONFIGS, *ORCHESTRATION):
        address = service if file == "docker-compose.yml" else f"{service}-serving-all"
        server = f"--server=grpc://{address}:8500"
        files[file] = render(file, **values, configs=CONFIGS, gateway=[server, *gateway])
    files["grafana.json"] = dashboard(name)
    return files


def _service_name(name: str) -> str:
    """What Kubernetes and Compose accept as a name: it begins with a letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-") or "model"
    return plain if plain[0].isalpha() else f"m-{plain}"
