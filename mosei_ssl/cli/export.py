"""Write the emotion model of a finished run, or a shipped one, as a SavedModel for TF Serving.

It becomes the next free version number. To a .zip file it is a preset, which others predict with,
serve and fine-tune: one file, checked by digests, without code.

Examples:
  mosei-ssl export --run runs/ssl100 --to saved_models/emotion
  mosei-ssl export --preset emotion-small --to saved_models/emotion
  mosei-ssl export --run runs/ssl100 --to mine.zip
"""

from dataclasses import dataclass, field

from mosei_ssl.cli.output import say
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import Options
from mosei_ssl.utils.progress import progress


@dataclass(kw_only=True)
class ExportOptions(Options):
    """Options of `mosei-ssl export`.

    Args:
        run: run directory of a fine-tuning.
        preset: instead of --run: a model that comes with the package, or another's .zip file.
        to: saved_models/NAME, in which versions 1, 2, ... are made; or NAME.zip.
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
    from mosei_ssl.serving.manifest import MANIFEST
    from mosei_ssl.utils.files import sha256

    if (options.run is None) == (options.preset is None):
        raise UserError("give either --run RUN or --preset NAME.")
    if options.preset is not None:
        if options.formats or options.data_licence is not None:
            raise UserError("a preset is exported as it is: leave out --formats and --data-licence")
        if options.to.endswith(".zip"):
            raise UserError("a preset is exported into a folder: leave out .zip.")
        version = export_preset(options.preset, options.to)
    elif options.to.endswith(".zip"):
        if options.formats:
            raise UserError("a preset has no further --formats: leave them out.")
        from mosei_ssl.serving.publishing import publish

        with progress("publishing"):
            file = publish(str(options.run), options.to, options.data_licence)
        say(f"Published {file}")
        say(f"sha256 {sha256(file)}")
        return 0
    else:
        formats, licence = options.formats, options.data_licence
        with progress("exporting"):
            version = export(str(options.run), options.to, formats=formats, licence=licence)
    say(f"Exported {version}")
    say(f"manifest sha256 {sha256(version / MANIFEST)}")
    if version.name != "1":
        say(f"to serve it: mosei-ssl promote {version.parent} {version.name} --label canary")
    return 0
