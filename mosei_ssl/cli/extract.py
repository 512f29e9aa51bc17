"""Compute the 74 COVAREP features of recordings and write them as a .csd file.

With --labels a label file and speaker-disjoint folds.json are written too: that folder is what
`build` takes. Labels are a table (.csv, .xlsx) with the columns file, any of the six emotions (0 to
3, or 0 and 1) or emotion (names) and perhaps intensity, start, end and speaker; or a folder with
one folder of recordings per emotion. Features are kept in ~/.cache/mosei_ssl (MOSEI_SSL_CACHE names
another folder): nothing is computed twice, and an interrupted extraction resumes where it was.

Example:
  mosei-ssl extract recordings/ --out corpus/speech.csd --labels labels.csv --workers 4
"""

import sys
from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class ExtractOptions(Options):
    """Options of `mosei-ssl extract`.

    Args:
        audio: recordings (wav, flac, mp3, ogg), or folders of them.
        out: feature file to write, .csd.
        labels: table of labels, or folder of class folders.
        present_level: intensity assumed where a label only says that an emotion is present.
        speaker_from: regular expression for file names, whose first group is the speaker.
        workers: processes, one core each.
        channel: channel to use; by default the mean of all.
        dither: noise added against digital silence, such as 1e-5.
        overwrite: replace files that are there already.
        seed: fixes random phases, dither and the folds drawn.
    """

    audio: list[str] = positional()
    out: str
    labels: str | None = None
    present_level: float = 2.0
    speaker_from: str | None = None
    workers: int = 1
    channel: int | None = None
    dither: float = 0.0
    overwrite: bool = False
    seed: int = 0


def run(options: ExtractOptions) -> int:
    from mosei_ssl.corpus import extract_corpus

    report = extract_corpus(**vars(options))
    say(
        f"{report.features}: {len(report.rows)} recordings, {report.seconds / 60:.1f} minutes"
        + (f", {report.reused} of them known already" if report.reused else "")
        + f"; sampled at {', '.join(f'{n} Hz' for n in sorted(set(report.rates.values())))}"
    )
    if report.labels is not None:
        say(f"{report.labels}: {report.segments} labelled segments; folds in {report.folds}")
    for message in [*report.failed.values(), *report.dropped]:
        sys.stderr.write(f"mosei-ssl extract: left out {message}\n")
    return 0
