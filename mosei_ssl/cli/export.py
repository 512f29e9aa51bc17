"""Write the emotion model of a finished run, or a shipped one, as a SavedModel for TF Serving.

It becomes the next free version number.

Examples:
  mosei-ssl export --run runs/ssl100 --to saved_models/emotion
  mosei-ssl export --preset emotion-small --to saved_models/emotion
"""

from dataclasses import dataclass, field

from mosei_ssl.cli.output import say
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class ExportOptions(Options):
    """Options of `mosei-ssl export`.

    Args:
        run: run directory of a fine-tuning.
        preset: instead of --run: a model that comes with the package.
        to: saved_models/NAME; versions 1, 2, ... are made in it.
        formats: also write these into assets.extra: any of
            [litert,litert-float16,litert-int8,onnx].
        data_licence: licence of the data it was trained on, for the model card.
    """

    run: str | None = None
    preset: str | None = None
    to: str
    formats: list[str] = field(default_factory=list)
    data_licence: str | None = None


def run(options: ExportOptions) -> int:
    from mosei_ssl.serving.exporting import export, export_preset
    from mosei_ssl.serving.manifest import MANIFEST, sha256

    if (options.run is None) == (options.preset is None):
        raise UserError("give either --run RUN or --preset NAME.")
    if options.preset is not None:
        if options.formats or options.data_licence is not None:
            raise UserError("a preset is exported as it is: leave out --formats and --data-licence")
        version = export_preset(options.preset, options.to)
    else:
        formats, licence = options.formats, options.data_licence
        version = export(str(options.run), options.to, formats=formats, licence=licence)
    say(f"Exported {version}")
    say(f"manifest sha256 {sha256(version / MANIFEST)}")
    return 0
