"""Write an empty label table for recordings, to be filled in and given to `extract --labels`.

Emotions go from 0 (absent) to 3 (strong); blank counts as 0. Add rows for further stretches of a
recording (start and end in seconds), and delete those of recordings that you have not labelled:
without a row a recording serves pretraining only.

Example:
  mosei-ssl labels recordings/ --template labels.xlsx
"""

from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class LabelsOptions(Options):
    """Options of `mosei-ssl labels`.

    Args:
        audio: recordings (wav, flac, mp3, ogg), or folders of them.
        template: table to write, .csv or .xlsx; one that exists is never replaced.
    """

    audio: list[str] = positional()
    template: str


def run(options: LabelsOptions) -> int:
    from mosei_ssl.corpus.audio_files import printable
    from mosei_ssl.corpus.label_table import write_template
    from mosei_ssl.corpus.recordings import find_audio

    recordings = find_audio(options.audio)
    write_template(options.template, [(printable(path), None, None) for path in recordings])
    say(f"{options.template}: {len(recordings)} recordings to label")
    return 0
