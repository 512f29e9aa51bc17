"""`mosei-ssl build` as a script; see `python scripts/build.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["build", *sys.argv[1:]]))
