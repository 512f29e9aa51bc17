"""`mosei-ssl study` as a script; see `python scripts/study.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["study", *sys.argv[1:]]))
