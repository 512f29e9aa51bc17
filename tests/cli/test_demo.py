"""`mosei-ssl demo`."""

import importlib
import shlex
import sys

from mosei_ssl.cli import main
from mosei_ssl.cli.options import parse_options


def test_demo_answers_draws_and_names_commands_that_exist(tmp_path, capsys):
    picture = tmp_path / "first.png"
    assert main(["demo", "--out", str(picture)]) == 0
    text = capsys.readouterr().out
    assert "anger" in next(line for line in text.splitlines() if "voice" in line)
    assert picture.read_bytes().startswith(b"\x89PNG")
    commands = [line for line in text.splitlines() if line.startswith("  mosei-ssl ")]
    assert len(commands) == 3
    for command in commands:
        _, verb, *arguments = shlex.split(command, comments=True)
        parse_options(importlib.import_module(f"mosei_ssl.cli.{verb}"), arguments)


def test_a_picture_that_cannot_be_written_is_refused_first(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "no" / "demo.png")]) == 2
    assert "its folder does not exist" in capsys.readouterr().err


def test_without_the_extra_one_line_names_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert main(["demo"]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert "pip install 'mosei_ssl[audio]'" in error
    assert not list(tmp_path.iterdir())
