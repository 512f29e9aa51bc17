"""`mosei-ssl extract`."""

import sys

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.output import say


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Compute the 74 COVAREP features of recordings and write them as a .csd file. With "
        "--labels (columns file, start, end, any of the six emotions, speaker) a label file and "
        "speaker-disjoint folds.json are written beside it: that folder is what `build` takes. "
        "An interrupted extraction goes on where it was: give the same command again. Example: "
        "mosei-ssl extract recordings/ --out corpus/speech.csd --labels labels.csv --workers 4"
    )
    parser.add_argument(
        "audio", type=str, nargs="+", help="recordings (wav, flac, mp3, ogg), or folders of them"
    )
    parser.add_argument("--out", type=str, required=True, help="feature file to write, .csd")
    parser.add_argument(
        "--labels", type=str | None, default=None, help="spreadsheet (.csv) with the labels"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes, one core each")
    parser.add_argument(
        "--channel", type=int | None, default=None, help="channel to use (default: their mean)"
    )
    parser.add_argument(
        "--dither", type=float, default=0.0, help="noise added against digital silence, 1e-5 say"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that are there already"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of random phases, dither and the folds drawn"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    from mosei_ssl.covarep import extract_corpus

    report = extract_corpus(
        options.audio,
        options.out,
        options.labels,
        workers=options.workers,
        overwrite=options.overwrite,
        channel=options.channel,
        dither=options.dither,
        seed=options.seed,
    )
    say(
        f"{report.features}: {len(report.rows)} recordings, {report.seconds / 60:.1f} minutes"
        + (f", {report.reused} of them finished earlier" if report.reused else "")
    )
    if report.labels is not None:
        say(f"{report.labels}: {report.segments} labelled segments; folds in {report.folds}")
    for reason in report.failed.values():
        sys.stderr.write(f"mosei-ssl extract: left out {reason}\n")
    for message in report.dropped:
        sys.stderr.write(f"mosei-ssl extract: left out {message}\n")
    return 0
