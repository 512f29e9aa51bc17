"""Presets that others publish: a folder, or one .zip file of it, with a digest of each file."""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from mosei_ssl.utils.digests import differences, file_digests
from mosei_ssl.utils.errors import DamagedExportError, UserError
from mosei_ssl.utils.files import cache_folder, put_in_place, sha256, write_text

MANIFEST = "preset.json"
_LARGEST = 2_000_000_000  # bytes of all files: an archive of kilobytes may claim any size


def seal(folder: Path) -> None:
    """Write the manifest of everything in a finished preset."""
    content = {"format": 1, "files": file_digests(folder, MANIFEST)}
    write_text(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def check(folder: Path) -> None:
    """Raise a DamagedExportError if a preset is not what was published."""
    listed = _listed((folder / MANIFEST).read_bytes(), folder)
    wrong = differences(folder, MANIFEST, listed)
    if wrong:
        raise DamagedExportError(
            f"{folder} is not the preset that was published: {', '.join(wrong)} changed, lost or "
            "added. Fetch it again."
        )


def pack(folder: Path, archive: Path) -> None:
    """Put a sealed preset into one file."""
    partial = archive.with_name(f".{archive.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                target.write(file, file.relative_to(folder).as_posix())
    put_in_place(partial, archive)


def unpacked(archive: Path) -> Path:
    """Where a preset's archive is unpacked and checked, once, in the user's cache.

    Raises:
        DamagedExportError: it is damaged, or holds what its manifest does not list.
        UserError: it is not a preset, or needs a later version.
    """
    digest = sha256(archive)
    place = cache_folder() / "presets" / digest[:16] / archive.stem
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            building = Path(scratch, archive.stem)
            try:
                with zipfile.ZipFile(archive) as source:
                    _extract(source, archive, building)
            except UserError:
                raise
            except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
                raise DamagedExportError(
                    f"{archive} is damaged ({error}): fetch it again."
                ) from None
            check(building)
            if not place.is_dir():  # another process may have been faster
                building.rename(place)
    return place


def _extract(source: zipfile.ZipFile, archive: Path, to: Path) -> None:
    if MANIFEST not in source.namelist():
        raise UserError(f"{archive} is not a preset: {MANIFEST} is missing.")
    members = [member for member in source.infolist() if not member.is_dir()]
    if sum(member.file_size for member in members) > _LARGEST:
        raise UserError(f"{archive} would unpack to more than {_LARGEST / 1e9:.0f} GB.")
    listed = _listed(source.read(MANIFEST), archive)
    for member in members:
        if member.filename not in {*listed, MANIFEST} or ".." in Path(member.filename).parts:
            raise DamagedExportError(
                f"{archive} holds {member.filename!r}, which its manifest does not list."
            )
        target = to / member.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open(member) as content, target.open("wb") as file:
            shutil.copyfileobj(content, file)


def _listed(manifest: bytes, place: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    try:
        content: dict[str, Any] = json.loads(manifest)
        if content["format"] != 1:
            raise UserError(f"{place} is of a later version of mosei_ssl: install that.")
        found = {name: str(entry["sha256"]) for name, entry in content["files"].items()}
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedExportError(
            f"{place}: {MANIFEST} is damaged ({error!r}): fetch it again."
        ) from None
    if any(Path(name).is_absolute() for name in found):
        raise DamagedExportError(f"{place}: {MANIFEST} names files elsewhere.")
    return found
