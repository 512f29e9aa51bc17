"""`mosei-ssl export` as a script; see `python scripts/export.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["export", *sys.argv[1:]]))
