"""`python -m mosei_ssl` is `mosei-ssl`."""

import sys

from mosei_ssl.cli import console_script

if __name__ == "__main__":
    sys.exit(console_script())
