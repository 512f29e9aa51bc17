"""Files of a study that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> Path:
    """Write a text file so that a reader sees the old or the new content, never a part.

    Args:
        path: The file; its folder is made.
        text: Its content.

    Returns:
        The path.

    Example:
        >>> write_text(Path("study/report.md"), "# Study")  # doctest: +SKIP
        PosixPath('study/report.md')
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path
