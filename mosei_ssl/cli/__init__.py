"""The command line: `mosei-ssl VERB ...`, a verb per stage."""

from mosei_ssl.cli.main import console_script, main

__all__ = ["console_script", "main"]
