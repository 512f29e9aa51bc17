"""The commands that the documentation shows are commands that there are."""

import re
import shlex
from pathlib import Path

import pytest

from mosei_ssl.cli.main import VERBS, _module
from mosei_ssl.cli.options import parse_options
from mosei_ssl.utils.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "saved_models/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[tuple[str, bool]]:
    """Calls of `mosei-ssl`; whole in code blocks, perhaps without what must be given in a line."""
    # Text and code alternate between fences.
    parts = re.split(r"^ *```.*$", page.read_text(), flags=re.M)
    lines = "\n".join(parts[1::2]).replace("\\\n", " ").splitlines()
    lines = [re.sub(r" #.*| \|.*| > .*", "", line) for line in lines]
    found = [(match[1], True) for line in lines if (match := re.search(r"mosei-ssl (.*)", line))]
    spans = re.findall(r"`mosei-ssl ([^`]+)`", "".join(parts[::2]))
    return found + [(" ".join(span.split()), False) for span in spans]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_given(page):
    for command, whole in commands(page):
        verb, *arguments = shlex.split(command.replace("...", ""))
        if verb.startswith("-") or verb == "VERB":
            continue
        assert verb in VERBS, command
        if not arguments or {"--help", "--help-all", "--print-config"} & {*arguments}:
            continue
        try:
            parse_options(_module(verb), arguments)
        except UserError as error:
            if whole or "must be given" not in str(error):
                pytest.fail(f"{command}: {error}")
