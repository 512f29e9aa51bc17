"""Give a version of an export a label, such as stable or canary, by which clients ask for it.

The version is verified, and deployment/models.config replaced; TF Serving follows within the 30 s
of its polling. Promoting the version before takes a promotion back.

Examples:
  mosei-ssl promote saved_models/emotion 2 --label canary
  mosei-ssl promote saved_models/emotion 2 --label stable
  mosei-ssl promote saved_models/emotion 1 --label stable
"""

from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class PromoteOptions(Options):
    """Options of `mosei-ssl promote`.

    Args:
        model: saved_models/NAME.
        version: number of one of its versions.
        label: the label to give it.
        manifest_sha256: SHA-256 that its manifest must have, as printed by the export.
    """

    model: str = positional()
    version: int = positional()
    label: str
    manifest_sha256: str | None = None


def run(options: PromoteOptions) -> int:
    from mosei_ssl.serving.promotion import promote

    labels = promote(options.model, options.version, options.label, options.manifest_sha256)
    say(", ".join(f"{label}: version {version}" for label, version in labels.items()))
    return 0
