"""`mosei-ssl verify`."""

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.output import say


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Check that an export holds exactly what it was written with (SHA-256 of every file), and "
        "say what it came from. Example: mosei-ssl verify saved_models/emotion/1"
    )
    parser.add_argument("directory", type=str, help="NAME/VERSION, or NAME for its highest version")
    parser.add_argument(
        "--manifest-sha256",
        type=str | None,
        default=None,
        help="SHA-256 that the manifest itself must have, as printed when it was exported",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted by every verb; checking draws nothing"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    from mosei_ssl.serving.manifest import verify

    found = verify(options.directory, options.manifest_sha256)
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
