"""Whether a `.keras` file is whole."""

import zipfile
import zlib
from pathlib import Path


def is_whole(file: Path) -> bool:
    """Whether a ZIP archive, which a `.keras` file is, holds what its checksums say.

    Args:
        file: the archive.

    Returns:
        False if it is cut short, damaged or none. Keras reads weights without looking at this.

    Example:
        >>> is_whole(Path("setup.cfg"))
        False
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, zlib.error):
        return False
