"""`mosei-ssl predict` as a script; see `python scripts/predict.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["predict", *sys.argv[1:]]))
