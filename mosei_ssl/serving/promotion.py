"""Which version of a model answers to which label: edits of `models.config`."""

from pathlib import Path
from typing import Any

from mosei_ssl import presets
from mosei_ssl.serving.deployment import DEPLOYMENT, write_deployment
from mosei_ssl.serving.manifest import latest_version, verify
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import lock, write_text


def promote(
    model: str | Path, version: int, label: str, manifest_sha256: str | None = None
) -> dict[str, int]:
    """Give a version of a model a label, by which clients ask for it.

    `deployment/models.config` is replaced at once; TF Serving, which polls it, follows. Besides the
    labelled versions it keeps the one that the label was taken from, so that the label can be
    given back without waiting for a model to load.

    Args:
        model: `saved_models/NAME`.
        version: the version, which is verified first.
        label: "stable", "canary" or any other name.
        manifest_sha256: digest that the version's manifest must have, see `verify`.

    Returns:
        The version of every label.

    Raises:
        UserError: no such version, one that has changed since it was exported, a models.config
            that is damaged, or a label that a server would refuse to move.

    Example:
        >>> import shutil
        >>> model = shutil.copytree(saved_model.parent, tmp_path / "emotion")
        >>> promote(model, 1, "canary")
        {'canary': 1, 'stable': 1}
    """
    model = Path(model)
    directory = model / str(version)
    if not (directory / "saved_model.pb").is_file():
        newest = latest_version(model).name  # raises where there is none at all
        raise UserError(f"{model} has no version {version}; its highest is {newest}.")
    if not label.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"{label!r} is not a label: use letters, digits, - and _.")
    verify(directory, manifest_sha256)
    file = model / DEPLOYMENT / "models.config"
    with lock(model, f"another promotion in {model} is under way: try again"):
        write_deployment(model, version)
        text, config = _read(file)
        served = _entry(file, config, model.resolve().name)
        labels, running = dict(served.version_labels), _running(served, model)
        previous = labels.get(label, version)
        if previous != version and version not in running:
            raise UserError(
                f"version {version} is not among those that {file} has a server run "
                f"({', '.join(map(str, sorted(running)))}), and a server moves a label only to a "
                f"version that it has loaded. Give it another one first, such as --label canary, "
                f"and --label {label} once the server says that it is AVAILABLE."
            )
        labels[label] = version
        versions = sorted({*labels.values(), previous})
        served.version_labels[label] = version
        served.model_version_policy.Clear()
        served.model_version_policy.specific.versions.extend(versions)
        write_text(file, text(config))
    return dict(sorted(labels.items()))


def served_version(model: str | Path, version: int | None = None, label: str | None = None) -> Path:
    """The directory of the version that a server answers with, by `deployment/models.config`.

    `model` is `saved_models/NAME`; `NAME/VERSION` stands for itself. The server is asked for a
    version or a label; without either it takes its highest. Raises a UserError if there is none.
    """
    directory = presets.find(model)
    file = directory / DEPLOYMENT / "models.config"
    if (directory / "saved_model.pb").is_file():
        return directory
    if version is None and file.is_file():
        config = _read(file)[1]
        entries = config.model_config_list.config
        # The folder may have another name than on the server, unless there are several models.
        name = entries[0].name if len(entries) == 1 else directory.resolve().name
        served = _entry(file, config, name)
        if label is None:
            version = max(_running(served, directory), default=None)
        elif label in served.version_labels:
            version = served.version_labels[label]
        else:
            raise UserError(f"{file} gives the label {label!r} to no version.")
    return latest_version(directory if version is None else directory / str(version))


def _read(file: Path) -> tuple[Any, Any]:
    """The configuration, and what makes text of it again, under the comments at its head."""
    try:
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError as error:
        raise UserError(
            f"models.config needs TF Serving's protos ({error}): pip install 'mosei_ssl[serving]'"
        ) from None
    content = file.read_text(encoding="utf-8")
    lines = content.splitlines(keepends=True)
    head = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    try:
        config = text_format.Parse(content, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise UserError(f"{file} is not a ModelServerConfig ({error}): mend it.") from None
    comments = "".join(lines[:head])
    return lambda changed: comments + text_format.MessageToString(changed), config


def _entry(file: Path, config: Any, name: str) -> Any:
    found = [entry for entry in config.model_config_list.config if entry.name == name]
    if len(found) != 1:
        raise UserError(f"{file} has {len(found)} entries for the model {name!r}, not one.")
    return found[0]


def _running(served: Any, model: Path) -> set[int]:
    """The versions that a server with this configuration runs."""
    policy = served.model_version_policy
    if policy.HasField("specific"):
        return set(policy.specific.versions)
    present = sorted(int(entry.name) for entry in model.iterdir() if entry.name.isdecimal())
    if policy.HasField("all"):
        return set(present)
    return set(present[-max(policy.latest.num_versions, 1) :])
