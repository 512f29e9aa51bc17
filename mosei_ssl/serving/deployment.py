"""Configuration of TF Serving for an export: the files that its server and its image read."""

import os
import re
import tempfile
from pathlib import Path

from mosei_ssl.serving.templating import render

DEPLOYMENT = "deployment"
"""Folder beside the versions; TF Serving only looks at folders whose name is a number."""

CONFIGS = ("models.config", "batching.config", "monitoring.config")
MAX_BATCH_SIZE = 64
CORES = 4
IMAGE = "tensorflow/serving:2.19.1"
"""Images come out long after TensorFlow does; this is the newest that is known to be published.

An older server runs an export as long as it knows the operations in it, which
`tests/serving/test_real_speech.py` tries in an environment with that TensorFlow.
"""


def write_deployment(to: Path) -> list[Path]:
    """Write the deployment files of a model, where they are not there yet.

    Existing files are left alone: they are meant to be adapted.

    Args:
        to: `saved_models/NAME`.

    Returns:
        The files written.

    Example:
        >>> [file.name for file in write_deployment(Path("saved_models/emotion"))]
        ['models.config', 'batching.config', 'monitoring.config', 'docker-compose.yml', ...]
    """
    folder = to / DEPLOYMENT
    folder.mkdir(exist_ok=True)
    written = []
    for name, text in deployment_files(to.resolve().name).items():
        file = folder / name
        if not file.exists():
            _write_whole(file, text)
            written.append(file)
    return written


def deployment_files(name: str) -> dict[str, str]:
    """The text of every deployment file.

    Args:
        name: name of the model, by which requests address it.

    Returns:
        Text by file name.
    """
    values = {
        "name": name,
        "service": _service_name(name),
        "image": IMAGE,
        "cores": CORES,
        "max_batch_size": MAX_BATCH_SIZE,
        "flags": [
            "--model_config_file=/config/models.config",
            "--enable_batching=true",
            "--batching_parameters_file=/config/batching.config",
            "--monitoring_config_file=/config/monitoring.config",
        ],
    }
    files = {config: render(config, **values) for config in CONFIGS}
    configs = {config: text.rstrip("\n") for config, text in files.items()}
    files["docker-compose.yml"] = render("docker-compose.yml", **values)
    files["kubernetes.yaml"] = render("kubernetes.yaml", **values, configs=configs)
    return files


def _service_name(name: str) -> str:
    """What Kubernetes and Compose accept as a name: it begins with a letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-") or "model"
    return plain if plain[0].isalpha() else f"m-{plain}"


def _write_whole(file: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    with open(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, file)
