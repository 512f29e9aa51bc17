"""Write the emotion model of a finished run as a SavedModel for TF Serving.

It becomes the next free version number.

Example:
  mosei-ssl export --run runs/ssl100 --to saved_models/emotion
"""

from dataclasses import dataclass, field

from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class ExportOptions(Options):
    """Options of `mosei-ssl export`.

    Args:
        run: run directory of a fine-tuning.
        to: saved_models/NAME; versions 1, 2, ... are made in it.
        formats: also write these into assets.extra: any of
            [litert,litert-float16,litert-int8,onnx].
        data_licence: licence of the data it was trained on, for the model card.
    """

    run: str
    to: str
    formats: list[str] = field(default_factory=list)
    data_licence: str | None = None


def run(options: ExportOptions) -> int:
    from mosei_ssl.serving.exporting import export
    from mosei_ssl.serving.manifest import MANIFEST, sha256

    version = export(options.run, options.to, formats=options.formats, licence=options.data_licence)
    say(f"Exported {version}")
    say(f"manifest sha256 {sha256(version / MANIFEST)}")
    return 0
