"""Publishing a run as a preset, for others to predict with, serve and fine-tune."""

import json
import shutil
import tempfile
from pathlib import Path

import yaml

from mosei_ssl.presets import archive
from mosei_ssl.serving.exporting import export
from mosei_ssl.serving.model_card import MODEL_CARD
from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import check_writable, write_text


def write_preset(run: str | Path, folder: Path, licence: str | None = None) -> Path:
    """Make a preset of a finished fine-tuning run in a folder that is not there yet.

    It holds an export, `model.keras`, the ids of the videos that it knows, the options without
    where things were, and the model card as README.md.

    Returns:
        The export in it, `folder`/1.

    Raises:
        UserError: as for `mosei_ssl.serving.export`.
    """
    source = RunDirectory(run).open("finetune").require_finished()
    options = source.config() | {"data_dir": "data", "dataset": None, "pretrained": None}
    version = export(run, folder, licence=licence)
    shutil.rmtree(folder / "deployment")
    for name in ("model.keras", "videos.json"):
        shutil.copy(source / name, folder)
    info = json.loads((source / "run.json").read_text()) | {"command": "mosei-ssl finetune"}
    write_text(folder / "run.json", json.dumps(info, indent=2, sort_keys=True) + "\n")
    write_text(folder / "config.yaml", yaml.safe_dump(options, sort_keys=False))
    shutil.copy(version / MODEL_CARD, folder / "README.md")
    archive.seal(folder)
    return version


def publish(run: str | Path, to: str | Path, licence: str | None = None) -> Path:
    """Make a preset of a finished fine-tuning run, in one .zip file.

    Args:
        run: directory of the run.
        to: the file, NAME.zip; whoever has it gives it as `--preset`, `--model` or `--pretrained`.
        licence: licence of the data, for the card.

    Returns:
        The file.

    Raises:
        UserError: the file is there already or cannot be written; or as for
            `mosei_ssl.serving.export`.

    Examples:
        >>> publish(finished_run, tmp_path / "mine.zip").name
        'mine.zip'
    """
    file = Path(to)
    if file.exists():
        raise UserError(f"{file} is there already: give another name, or delete it.")
    check_writable(file)
    with tempfile.TemporaryDirectory(prefix=".preset-", dir=file.absolute().parent) as scratch:
        write_preset(run, Path(scratch, file.stem), licence)
        archive.pack(Path(scratch, file.stem), file)
    return file
