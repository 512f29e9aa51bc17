"""Choose the segments whose labels are worth most, and write a table of them to be filled in.

Meant for up to 50 labels; beyond 100, segments drawn at random are as good. Long recordings are cut
into windows. With --labelled, segments that differ from those that have labels are chosen.

Examples:
  mosei-ssl select recordings/ --budget 25 --template first.xlsx
  mosei-ssl select recordings/ --budget 25 --template more.xlsx --labelled first.xlsx
"""

import math
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options, ranged


@dataclass(kw_only=True)
class SelectOptions(Options):
    """Options of `mosei-ssl select`.

    Args:
        input: recordings (wav, flac, mp3, ogg), folders of them, or .csd files.
        budget: how many segments to choose.
        template: table to write, .csv or .xlsx; one that exists is never replaced.
        labelled: table of labels that exist already.
        window: longer recordings are cut into windows of this many seconds.
        seed: fixes the choice.
    """

    input: list[str] = positional()
    budget: int = ranged(50, 1)
    template: str
    labelled: str | None = None
    window: float = 15.0
    seed: int = ranged(0, 0, 2**32 - 1)


def run(options: SelectOptions) -> int:
    import numpy as np

    from mosei_ssl.corpus.label_table import ABOUT, check_template, write_template
    from mosei_ssl.corpus.speaker_names import same_name
    from mosei_ssl.data.context import context_of, in_context
    from mosei_ssl.data.selection import select_segments
    from mosei_ssl.metrics import pooled_features
    from mosei_ssl.serving.inputs import read_segments
    from mosei_ssl.utils.progress import progress
    from tfds_mosei.tables import RECORDINGS, Table

    check_template(options.template)
    known = []
    for row in Table(Path(options.labelled), RECORDINGS, ABOUT) if options.labelled else ():
        name = PureWindowsPath(row.text("id")).name  # takes both kinds of slashes
        names = {same_name(name), same_name(Path(name).stem)}
        known.append((names, row.number("start", 0), row.number("end", math.inf)))
    places: list[tuple[str, float, float]] = []
    pooled, contexts, labelled = [], [], []
    with progress("reading segments") as advance:
        for segment in read_segments(options.input, window=options.window):
            contexts.append(segment.context or context_of([segment.features]))
            pooled.append(pooled_features([segment.features], contexts[-1][1])[0])
            if any(
                same_name(segment.name) in names and start < segment.end and segment.start < end
                for names, start, end in known
            ):
                labelled.append(len(places))
            places.append((segment.name, round(segment.start, 2), round(segment.end, 2)))
            advance()
    mean = np.mean([own for _, own in contexts], axis=0)
    # Means and percentiles, but not deviations, move with the rows.
    found = np.stack(pooled).reshape(len(pooled), 4, -1)
    for columns, context in zip(found, contexts, strict=True):
        columns[[0, 2, 3]] = in_context(columns[[0, 2, 3]], context, mean)
    features = found.reshape(len(pooled), -1)
    chosen = select_segments(features, options.budget, labelled, options.seed)
    write_template(options.template, [places[index] for index in chosen])
    say(
        f"{options.template}: {len(chosen)} of {len(places)} segments, the most useful first"
        + (f" ({len(labelled)} have labels)" if known else "")
    )
    return 0
