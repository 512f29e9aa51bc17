"""Check every file of an export against its manifest, and say what it came from.

Example:
  mosei-ssl verify saved_models/emotion/1
"""

from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say, write_json_out
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class VerifyOptions(Options):
    """Options of `mosei-ssl verify`.

    Args:
        directory: NAME/VERSION, or NAME for its highest version.
        manifest_sha256: SHA-256 that the manifest itself must have, as printed by the export.
        json: print what was found, with the whole manifest, as JSON.
    """

    directory: str = positional()
    manifest_sha256: str | None = None
    json: bool = False


def run(options: VerifyOptions) -> int:
    from mosei_ssl.serving.manifest import verify

    found = verify(options.directory, options.manifest_sha256)
    if options.json:
        write_json_out(found._asdict() | {"directory": str(found.directory)})
        return 0
    run_, dataset = found.manifest.get("run", {}), found.manifest.get("dataset", {})
    lines = [
        f"OK  {found.directory}: {found.files} files, {found.size:,} bytes, as exported",
        f"  exported  {found.manifest.get('created', 'unknown')}",
        f"  run       {run_.get('name', 'unknown')}, seed {run_.get('seed', 'unknown')}",
        f"  dataset   {str(dataset.get('name', 'unknown')).split('/')[0]}, fingerprint "
        f"{dataset.get('fingerprint', 'unknown')}",
        f"  manifest  sha256 {found.manifest_sha256}",
    ]
    say("\n".join(lines))
    return 0
