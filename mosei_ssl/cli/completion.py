"""Scripts with which a shell completes verbs, options, choices and file names."""

import argparse
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from mosei_ssl.cli.options import complete_parser
from mosei_ssl.utils.errors import UserError

SHELLS = ("bash", "zsh", "tcsh")


def completion_script(shell: str, verbs: Mapping[str, ModuleType]) -> str:
    """The script for a shell, which knows all verbs; it runs nothing of this package."""
    import shtab

    if shell not in SHELLS:
        raise UserError(f"there are scripts for {', '.join(SHELLS)}, not {shell!r}")
    program = argparse.ArgumentParser("mosei-ssl")
    program.add_argument("--version", action="store_true")
    subparsers = program.add_subparsers()
    for name, verb in verbs.items():
        parent, first = complete_parser(verb), str(verb.__doc__).splitlines()[0]
        parser: Any = subparsers.add_parser(name, parents=[parent], add_help=False, help=first)
        for action in parser._actions:
            if action.nargs != 0 and action.type is None:
                _tell_values(action)
    return shtab.complete(program, shell)


def _tell_values(action: Any) -> None:
    import shtab

    metavar = str(action.metavar)
    if metavar.startswith("{"):
        action.choices = metavar.strip("{}").split(",")
    elif metavar not in ("N", "X", "false"):
        action.complete = shtab.FILE
