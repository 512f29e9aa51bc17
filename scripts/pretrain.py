"""`mosei-ssl pretrain` as a script; see `python scripts/pretrain.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["pretrain", *sys.argv[1:]]))
