"""`mosei-ssl export`."""

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.output import say


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Write the emotion model of a finished run as a SavedModel for TF Serving, under the next "
        "free version number. Example: "
        "mosei-ssl export --run runs/ssl100 --to saved_models/emotion"
    )
    parser.add_argument("--run", type=str, required=True, help="run directory of a fine-tuning")
    parser.add_argument(
        "--to", type=str, required=True, help="saved_models/NAME; versions 1, 2, ... are made in it"
    )
    parser.add_argument(
        "--formats",
        type=list[str],
        default=[],
        help="also write these into assets.extra: any of [litert,litert-float16,litert-int8,onnx]",
    )
    parser.add_argument(
        "--data-licence",
        type=str | None,
        default=None,
        help="licence of the data it was trained on, for the model card",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted by every verb; exporting draws nothing"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    from mosei_ssl.serving.exporting import export
    from mosei_ssl.serving.manifest import MANIFEST, sha256

    version = export(options.run, options.to, formats=options.formats, licence=options.data_licence)
    say(f"Exported {version}")
    say(f"manifest sha256 {sha256(version / MANIFEST)}")
    return 0
