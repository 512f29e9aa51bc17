"""The SHA-256 of every file in a folder, as written and as found again."""

from collections.abc import Mapping
from pathlib import Path

from mosei_ssl.utils.files import sha256


def file_digests(folder: Path, manifest: str) -> dict[str, dict[str, str | int]]:
    """`sha256` and `size` of all files by name, but for the manifest that will list them."""
    return {
        name: {"sha256": sha256(folder / name), "size": (folder / name).stat().st_size}
        for name in _names(folder, manifest)
    }


def differences(folder: Path, manifest: str, listed: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with each file that is not as it was listed, with its SHA-256, by name."""
    present = _names(folder, manifest)
    wrong = dict.fromkeys(sorted(listed.keys() - {*present}), "is missing")
    wrong |= {name: "is not in the manifest" for name in present if name not in listed}
    both = [name for name in present if name in listed]
    changed = [name for name in both if sha256(folder / name) != listed[name]]
    return wrong | dict.fromkeys(changed, "has been changed")


def _names(folder: Path, manifest: str) -> list[str]:
    found = (f for f in folder.rglob("*") if f.is_file() or f.is_symlink())
    return sorted({f.relative_to(folder).as_posix() for f in found} - {manifest})
