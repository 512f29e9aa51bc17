"""`mosei-ssl finetune` as a script; see `python scripts/finetune.py --help`."""

import sys

from mosei_ssl.cli import console_script

sys.exit(console_script(["finetune", *sys.argv[1:]]))
