"""`mosei-ssl evaluate` as a script; see `python scripts/evaluate.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["evaluate", *sys.argv[1:]]))
