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
from mosei_ssl.utils.parsing import changed, from_mapping
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
    RUN/videos.json         ids and content of all videos learned from, also in `pretrained`
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

    Attributes:
        path: the directory.
        info: what run.json holds, once the run is opened or started.

    Examples:
        >>> run = RunDirectory(finished_run).open("finetune")
        >>> run.finished, run.info["seed"]
        (True, 3)
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.info: dict[str, Any] = {}

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def checkpoints(self) -> Path:
        """Folder of the training state."""
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.info.get("state") == "finished"

    # === Writing ===

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

    def start(self, kind: str, config: Any, dataset: dict[str, Any]) -> "RunDirectory":
        """Create the directory, or take up an interrupted run with the same options.

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
            backend = keras.backend.backend()
            self.info = {
                "format": FORMAT,
                "kind": kind,
                "state": "running",
                "seed": options["seed"],
                "dataset": dataset,
                "command": " ".join(["mosei-ssl", *sys.argv[1:]]),
                "backend": backend,
                "versions": {
                    "python": sys.version.split()[0],
                    **package_versions(decisive_packages(backend)),
                },
            }
            # In this order: a run.json alone is a run cut off here, a config.yaml alone may be a
            # user's own.
            self._save()
            write_text(self / "config.yaml", yaml.safe_dump(options, sort_keys=False))
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror or error}") from None
        return self

    def finish(self) -> None:
        """Mark the run as complete and drop its training state."""
        self.info["state"] = "finished"
        self._save()
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _save(self) -> None:
        write_text(self / "run.json", json.dumps(self.info, indent=2) + "\n")

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
        # A run cut off at its very start leaves no more than this.
        elif names - {_PROBE, f"{_PROBE}.tmp", "run.json.tmp"}:
            raise UserError(f"{self.path} is not empty and holds no run: give another --run.")
        return False

    def _check_same(self, options: dict[str, Any], dataset: dict[str, Any]) -> None:
        if different := changed(_real_places(options), _real_places(self.config())):
            raise UserError(
                f"{self.path} holds a run with other options ({'; '.join(different)}). "
                "Give the same options to resume it, or another --run."
            )
        before, backend = self.info["backend"], keras.backend.backend()
        if not self.finished and before != backend:
            raise UserError(
                f"{self.path} was begun with Keras's backend {before!r}, and this is "
                f"{backend!r}: set KERAS_BACKEND={before}, or give another --run."
            )
        if self.info["dataset"]["fingerprint"] != dataset["fingerprint"]:
            raise UserError(
                f"{self.path} was trained on dataset {self.info['dataset']['fingerprint']}, "
                f"not on {dataset['fingerprint']}. Give another --run."
            )

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

    # === Reading ===

    def open(self, kind: str | None = None) -> "RunDirectory":
        """Open an existing run; if `kind` is given, the run must be of that kind.

        Raises:
            UserError: no run, another kind, or written by another version of the layout.
        """
        file = self / "run.json"
        if not file.is_file():
            raise UserError(f"{self.path} is not a run directory: {file.name} is missing.")
        self.info = read(file, json.loads, dict)
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
        """Raise a UserError unless the run has ended; return itself."""
        if not self.finished:
            raise UserError(
                f"{self.path} has not finished: run `{self.info['command']}` again to resume it."
            )
        return self

    def config(self) -> dict[str, Any]:
        """The run's options as written in config.yaml; a UserError if it is damaged."""
        return read(self / "config.yaml", yaml.safe_load, dict)

    def options(self, kind: type[T]) -> T:
        """The run's options as the class they were given in, such as `PretrainConfig`."""
        values = {**self.config(), "run": str(self.path)}
        return from_mapping(kind, values, str(self / "config.yaml"))

    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv: losses and scores of each epoch."""
        with open(self / "history.csv", newline="") as file:
            # Keras adds columns of validation where there is none.
            return [
                {name: float(value) for name, value in row.items() if value != "NA"}
                for row in csv.DictReader(file)
            ]


def is_finished(path: str | Path) -> bool:
    """Whether a directory, which need not exist, holds a run that has ended."""
    try:
        return RunDirectory(path).open().finished
    except UserError:
        return False


def read(file: Path, parse: Any, kind: type, remedy: str = "delete the run and repeat it") -> Any:
    """What a file of a run holds; a UserError if it is missing, damaged or of another kind."""
    try:
        content = parse(file.read_text())
        if isinstance(content, kind):
            return content
        reason = f"not a {kind.__name__}"
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
    raise UserError(f"{file} is damaged ({reason}): {remedy}.")


def _options(config: Any) -> dict[str, Any]:
    """The dataclass as plain YAML types, without the run's own place.

    Paths are absolute: a run is resumed, evaluated and exported from other working directories
    than the one it was begun in.
    """
    options = json.loads(json.dumps(dataclasses.asdict(config)))
    del options["run"]
    for key in _PLACES:
        place = options.get(key)
        if place and "://" not in place:
            options[key] = os.path.abspath(place)
    return options


def _real_places(options: dict[str, Any]) -> dict[str, Any]:
    """Options whose paths are equal if they lead to the same place, by links or not."""
    return {k: os.path.realpath(v) if v and k in _PLACES else v for k, v in options.items()}
