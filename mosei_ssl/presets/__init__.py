"""Models that come with the package, a folder each.

A folder holds a SavedModel under its version, as an export does, and the files of the fine-tuning
run that others start from.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent

DEFAULT = "emotion-small"
"""What predicts where no model is named."""


def find(name: str | Path) -> Path:
    """The folder of a preset; any other path, also one that hides a preset's name, as it is.

    Example:
        >>> find("emotion-small").name, find("runs/pre")
        ('emotion-small', PosixPath('runs/pre'))
    """
    known = not Path(name).exists() and str(name) in names()
    return _FOLDER / name if known else Path(name)


def names() -> list[str]:
    """Names of all presets."""
    return sorted(folder.name for folder in _FOLDER.iterdir() if (folder / "run.json").is_file())
