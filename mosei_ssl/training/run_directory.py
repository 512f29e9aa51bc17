"""A run directory: all that is needed to understand, resume and repeat a run."""

import contextlib
import csv
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import keras
import yaml

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import lock, write_text
from mosei_ssl.utils.parsing import from_mapping
from mosei_ssl.utils.versions import decisive_packages, package_versions

T = TypeVar("T")

FORMAT = 2
"""Version of the layout of a run directory; raised when older ones can no longer be read."""

_PLACES = ("data_dir", "pretrained")
_FREE_BYTES = 256 * 2**20
_PROBE = ".probe"


class RunDirectory:
    """The files of one run.

    ```
    RUN/run.json            kind, state, versions, backend, seed, dataset and its fingerprint
    RUN/config.yaml         every option, resolved; paths are absolute
    RUN/checkpoints/        training state of an unfinished run
    RUN/history.csv         one row per epoch
    RUN/train, validation   TensorBoard logs
    RUN/hparams             options and scores for TensorBoard's HParams dashboard
    RUN/backbone.keras      (pretraining) the encoder
    RUN/task.keras          (pretraining) the encoder with its pretraining task
    RUN/model.keras         (fine-tuning) the emotion model, float32
    RUN/labels.json         (fine-tuning) the labelled segments used
    RUN/metrics.json        (evaluation)
    ```

    Args:
        path: the directory.

    Example:
        >>> run = RunDirectory("runs/ssl100")
        >>> run.open("finetune").info["seed"]
        0
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.info: dict[str, Any] = {}

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        return self.info.get("state") == "finished"

    def start(self, kind: str, config: Any, dataset: dict[str, Any]) -> "RunDirectory":
        """Create the directory, or take up an interrupted run with the same options.

        Args:
            kind: `pretrain` or `finetune`.
            config: the run's dataclass of options.
            dataset: name, version and fingerprint of what it trains on.

        Raises:
            UserError: the directory holds something else, or cannot be written.
        """
        options = _options(config)
        try:
            if self._holds_run(kind):
                self._check_same(options, dataset)
                if not self.finished:
                    self._check_storage()
                return self
            self._check_storage()
            self.info = {
                "format": FORMAT,
                "kind": kind,
                "state": "running",
                "seed": options["seed"],
                "dataset": dataset,
                "command": " ".join(["mosei-ssl", *sys.argv[1:]]),
                "backend": keras.backend.backend(),
                "versions": {
                    "python": sys.version.split()[0],
                    **package_versions(decisive_packages(keras.backend.backend())),
                },
            }
            # In this order: a run.json alone is a run cut off here, a config.yaml alone may be a
            # user's own.
            self._save()
            write_text(self / "config.yaml", yaml.safe_dump(options, sort_keys=False))
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror or error}") from None
        return self

    @contextlib.contextmanager
    def begun(self, kind: str, config: Any, dataset: dict[str, Any]) -> Iterator[None]:
        """`start`, and keep the directory for one process at a time.

        Raises:
            UserError: as `start`, or another process holds it.
        """
        self.start(kind, config, dataset)
        if self.finished:
            yield
            return
        held = f"{self.path} is being trained by another process: wait for it, or give another "
        with lock(self.path, f"{held}--run."):
            # Once more: another process may have changed it until it let go.
            self.start(kind, config, dataset)
            yield

    def _holds_run(self, kind: str) -> bool:
        """Whether there is a run to resume; a UserError if there is something else."""
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise UserError(f"{self.path} is a file: give another --run.")
        names = {file.name for file in self.path.iterdir()}
        if "run.json" in names:
            self.open(kind)
            if "config.yaml" in names:
                return True
            if self.finished or any(self.checkpoints.glob("*")):
                raise UserError(
                    f"{self.path} holds a run whose config.yaml is gone: give another --run."
                )
            return False
        if self.checkpoints.is_dir() and not any(self.checkpoints.iterdir()):
            names.discard("checkpoints")
        # A run cut off at its very start leaves no more than this.
        if names - {_PROBE, f"{_PROBE}.tmp", "run.json.tmp"}:
            raise UserError(f"{self.path} is not empty and holds no run: give another --run.")
        return False

    def _check_same(self, options: dict[str, Any], dataset: dict[str, Any]) -> None:
        try:
            before = self.config()
            changed = _changed(options, before)
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, AttributeError):
            raise UserError(
                f"{self / 'config.yaml'} is damaged: delete the run and repeat it."
            ) from None
        if changed:
            raise UserError(
                f"{self.path} holds a run with other options ({'; '.join(changed)}). "
                "Give the same options to resume it, or another --run."
            )
        backend = keras.backend.backend()
        if not self.finished and self.info["backend"] != backend:
            raise UserError(
                f"{self.path} was begun with Keras's backend {self.info['backend']!r}, and this is "
                f"{backend!r}: set KERAS_BACKEND={self.info['backend']}, or give another --run."
            )
        if self.info["dataset"]["fingerprint"] != dataset["fingerprint"]:
            raise UserError(
                f"{self.path} was trained on dataset {self.info['dataset']['fingerprint']}, "
                f"not on {dataset['fingerprint']}. Give another --run."
            )

    def open(self, kind: str | None = None) -> "RunDirectory":
        """Read an existing run.

        Args:
            kind: the kind it must be; None accepts any.

        Raises:
            UserError: no run, another kind, or written by another version of the layout.
        """
        file = self / "run.json"
        if not file.is_file():
            raise UserError(f"{self.path} is not a run directory: {file.name} is missing.")
        try:
            self.info = json.loads(file.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is damaged ({error}): delete the run and repeat it.") from None
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from None
        if not isinstance(self.info, dict):
            raise UserError(f"{file} is damaged (no JSON object): delete the run and repeat it.")
        if self.info.get("format") != FORMAT:
            raise UserError(
                f"{self.path} has run format {self.info.get('format')}, this version of mosei_ssl "
                f"reads {FORMAT}: repeat the run, or use mosei_ssl "
                f"{self.info.get('versions', {}).get('mosei_ssl', 'of that time')}."
            )
        if kind and self.info["kind"] != kind:
            raise UserError(
                f"{self.path} is a {self.info['kind']} run; a {kind} run is needed here."
            )
        return self

    def require_finished(self) -> "RunDirectory":
        """Raise a UserError unless the run has ended."""
        if not self.finished:
            raise UserError(
                f"{self.path} has not finished: run `{self.info['command']}` again to resume it."
            )
        return self

    def finish(self) -> None:
        """Mark the run as complete and drop its training state."""
        self.info["state"] = "finished"
        self._save()
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def config(self) -> dict[str, Any]:
        """The run's options as written in config.yaml.

        Raises:
            UserError: the file is missing or damaged.
        """
        file = self / "config.yaml"
        remedy = "delete the run and repeat it."
        try:
            options = yaml.safe_load(file.read_text())
        except OSError as error:
            raise UserError(f"{file} is missing ({error.strerror}): {remedy}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{file} is damaged ({reason}): {remedy}") from None
        if not isinstance(options, dict):
            raise UserError(f"{file} is damaged (no options): {remedy}")
        return options

    def options(self, kind: type[T]) -> T:
        """The run's options as the dataclass they were given in.

        Args:
            kind: `PretrainConfig` or `FinetuneConfig`.

        Raises:
            UserError: config.yaml is missing or damaged.
        """
        return from_mapping(kind, {**self.config(), "run": str(self.path)}, str(self / "config.yaml"))

    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv: losses and scores of each epoch."""
        with open(self / "history.csv", newline="") as file:
            return [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
            ]

    def _save(self) -> None:
        write_text(self / "run.json", json.dumps(self.info, indent=2) + "\n")

    def _check_storage(self) -> None:
        """Make the directory, if there is room for a run and it can be written."""
        place = self.path.absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if free < _FREE_BYTES:
            raise UserError(
                f"only {free / 2**20:.0f} MiB are free at {self.path}; a run needs "
                f"{_FREE_BYTES / 2**20:.0f} MiB: free some space or give another --run."
            )
        write_text(self / _PROBE, "")
        (self / _PROBE).unlink()


def is_finished(path: str | Path) -> bool:
    """Whether a directory holds a run that has ended.

    Args:
        path: the directory; need not exist.
    """
    try:
        return RunDirectory(path).open().finished
    except UserError:
        return False


def absolute_places(options: dict[str, Any]) -> dict[str, Any]:
    """Write the places among a run's options as absolute paths.

    A run is resumed, evaluated and exported from other working directories than the one it was
    begun in.

    Args:
        options: options of a run as plain values.

    Returns:
        A copy.

    Example:
        >>> absolute_places({"data": {"data_dir": "/mnt/data/", "batch_size": 8}})
        {'data': {'data_dir': '/mnt/data', 'batch_size': 8}}
    """
    return {
        key: absolute_places(value)
        if isinstance(value, dict)
        else os.path.abspath(value)
        if key in _PLACES and isinstance(value, str) and "://" not in value
        else value
        for key, value in options.items()
    }


def _options(config: Any) -> dict[str, Any]:
    """The dataclass as plain YAML types; the run's own place is not one of its options."""
    options = json.loads(json.dumps(dataclasses.asdict(config)))
    options.pop("run")
    return absolute_places(options)


def _changed(new: dict, old: dict, prefix: str = "") -> list[str]:
    """Each option that differs, with what it is and what it was."""
    found = []
    for key in sorted(set(new) | set(old)):
        a, b = new.get(key), old.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _changed(a, b, f"{prefix}{key}.")
        elif a != b and not (key in _PLACES and _same_place(a, b)):
            found.append(f"{prefix}{key}: now {_shown(a)}, before {_shown(b)}")
    return found


def _same_place(a: Any, b: Any) -> bool:
    """Whether two paths lead to the same place, by links or from the working directory."""
    return isinstance(a, str) and isinstance(b, str) and os.path.realpath(a) == os.path.realpath(b)


def _shown(value: Any) -> str:
    return "null" if value is None else value if isinstance(value, str) else json.dumps(value)
