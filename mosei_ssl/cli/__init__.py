"""The command line: `mosei-ssl VERB ...`, a verb per stage."""

from mosei_ssl.cli.main import main

__all__ = ["main"]
