"""Models that come with the package, a folder each.

A folder holds a SavedModel under its version, as an export does, and the files of the fine-tuning
run that others start from. `mosei-ssl export --run RUN --to NAME.zip` makes one to publish.
"""

from pathlib import Path

from mosei_ssl.presets import archive

_FOLDER = Path(__file__).parent

DEFAULT = "emotion-small"
"""What predicts where no model is named."""


def find(name: str | Path) -> Path:
    """The folder of a preset, shipped or published, checked against its digests.

    Any other path, also one that hides the name of a preset, is given as it is.

    Raises:
        UserError: the preset is damaged, or was changed.

    Examples:
        >>> find("emotion-small").name, find("runs/pre")
        ('emotion-small', PosixPath('runs/pre'))
    """
    path = Path(name)
    if path.suffix == ".zip" and path.is_file():
        return archive.unpacked(path)
    if not path.exists() and str(name) in names():
        path = _FOLDER / name
    if (path / archive.MANIFEST).is_file():
        archive.check(path)
    return path


def names() -> list[str]:
    """Names of all presets."""
    return sorted(folder.name for folder in _FOLDER.iterdir() if (folder / "run.json").is_file())
