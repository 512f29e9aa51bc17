"""The manifest of an export: what it came from, and the SHA-256 of every file."""

import datetime
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mosei_ssl import presets
from mosei_ssl.utils.digests import differences, file_digests
from mosei_ssl.utils.errors import DamagedExportError, UserError
from mosei_ssl.utils.files import sha256, write_text
from mosei_ssl.utils.versions import package_versions

EXTRA_ASSETS = "assets.extra"
"""Folder of a SavedModel that TensorFlow leaves to others."""

MANIFEST = f"{EXTRA_ASSETS}/manifest.json"
FORMAT = 1
_PACKAGES = ("mosei_ssl", "tensorflow", "keras", "numpy")


class Verification(NamedTuple):
    """What `verify` found in a version directory.

    The digest of the manifest itself should be kept elsewhere: if files can be changed, so can
    the manifest.
    """

    directory: Path
    files: int
    size: int
    manifest_sha256: str
    manifest: dict[str, Any]


def stamp() -> dict[str, Any]:
    """When and with which versions an export is made."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": sys.version.split()[0], **package_versions(_PACKAGES)},
    }


def write_manifest(directory: Path, provenance: Mapping[str, Any]) -> None:
    """Write the manifest of everything in a finished SavedModel.

    `provenance` is what it came from: run, dataset, model, and `stamp`.
    """
    content = {
        "format": FORMAT,
        **provenance,
        "files": file_digests(directory, MANIFEST),
    }
    write_text(directory / MANIFEST, json.dumps(content, indent=2) + "\n")


def latest_version(directory: str | Path) -> Path:
    """The version directory that `NAME/VERSION`, `NAME` (its highest version) or a preset means."""
    directory = presets.find(directory)
    if (directory / "saved_model.pb").is_file():
        return directory
    names = [file.parent.name for file in directory.glob("*/saved_model.pb")]
    versions = [int(name) for name in names if name.isdecimal()]
    if not versions:
        raise UserError(
            f"{directory} holds no SavedModel: neither saved_model.pb nor a numbered version of "
            "one is in it. `mosei-ssl export` makes one."
        )
    return directory / str(max(versions))


def verify(directory: str | Path, manifest_sha256: str | None = None) -> Verification:
    """Check that an export holds what it was written with: no file changed, lost or added.

    Args:
        directory: `NAME/VERSION`, or `NAME` for its highest version.
        manifest_sha256: digest that the manifest itself must have; None takes it as it is.

    Returns:
        What was checked.

    Raises:
        DamagedExportError: anything differs, or there is no readable manifest.
        UserError: there is no export.

    Examples:
        >>> verify(saved_model).manifest["run"]["kind"]
        'finetune'
    """
    directory = latest_version(directory)
    file = directory / MANIFEST
    manifest = _read(file)
    digest = sha256(file)
    if manifest_sha256 is not None and digest != manifest_sha256.lower():
        raise DamagedExportError(
            f"{file} has SHA-256 {digest}, not {manifest_sha256}: it is not the manifest "
            "expected. Do not serve this; fetch or export it again."
        )
    listed = manifest["files"]
    known = {name: entry["sha256"] for name, entry in listed.items()}
    problems = [f"{name} {what}" for name, what in differences(directory, MANIFEST, known).items()]
    if problems:
        raise DamagedExportError(
            f"{directory} is not what was exported: {'; '.join(problems)}. "
            "Do not serve this; fetch or export it again."
        )
    size = sum(entry["size"] for entry in listed.values())
    return Verification(directory, len(listed), size, digest, manifest)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DamagedExportError(
            f"{file} is missing, so this SavedModel cannot be checked against its export. "
            "Export it again with `mosei-ssl export`."
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise UserError(
                f"{file} has format {manifest['format']}; this version of mosei_ssl reads {FORMAT}."
            )
        for entry in manifest["files"].values():
            if not (isinstance(entry["sha256"], str) and isinstance(entry["size"], int)):
                raise ValueError("a file's sha256 is not text, or its size not a whole number")
        if not all(isinstance(manifest.get(key, {}), dict) for key in ("run", "dataset")):
            raise ValueError("run or dataset is not an object")
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedExportError(
            f"{file} is damaged ({error!r}): fetch or export it again."
        ) from None
    return manifest
