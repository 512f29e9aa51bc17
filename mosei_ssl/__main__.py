"""`python -m mosei_ssl` is `mosei-ssl`."""

import sys

from mosei_ssl.cli import main

sys.exit(main())
