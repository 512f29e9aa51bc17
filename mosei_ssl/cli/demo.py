"""Predict the emotions of a voice that comes with the package, and draw them: a first look.

The voice is synthetic, so its answer shows what answers look like, not how good they are.

Examples:
  mosei-ssl demo
  mosei-ssl demo --out pictures/demo.svg
"""

from dataclasses import dataclass
from pathlib import Path

import mosei_ssl
from mosei_ssl.cli import predict
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options

VOICE = Path(mosei_ssl.__file__).parent / "demo" / "voice.flac"

_NEXT = """
Picture: {picture}
This voice is synthetic. Next, with recordings of your own:

  mosei-ssl predict talk.wav --plot talk.png
  mosei-ssl quickstart recordings/ --labels labels.xlsx               # a model of your own
  mosei-ssl export --preset emotion-small --to saved_models/emotion   # for TF Serving"""


@dataclass(kw_only=True)
class DemoOptions(Options):
    """Options of `mosei-ssl demo`.

    Args:
        out: picture to write, .png, .svg or .pdf.
    """

    out: str = "demo.png"


def run(options: DemoOptions) -> int:
    predict.run(predict.PredictOptions(input=[str(VOICE)], plot=options.out))
    say(_NEXT.format(picture=options.out))
    return 0
