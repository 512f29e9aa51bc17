"""The command line: help that teaches, bad input in one line, exit code 2, no traceback."""

import logging
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from mosei_ssl.cli import main
from mosei_ssl.cli.main import VERBS
from mosei_ssl.cli.verify import VerifyOptions
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.signals import stop_politely
from mosei_ssl.utils.terminal import console


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mosei_ssl", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as exit_code:
        main([verb, "--help"])
    assert exit_code.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"mosei-ssl {verb} " in text.split("options:")[0].replace("usage: ", "", 1)
    assert "xample" in text
    assert "--debug" in text
    assert ("--seed" in text) == (verb in ("pretrain", "finetune", "select", "extract", "study"))
    assert not re.search(r"--[\w.-]*_", text)


def test_without_arguments_the_verbs_are_listed(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


def test_an_unknown_verb_names_those_there_are(capsys):
    assert main(["trian"]) == 2
    error = capsys.readouterr().err
    assert "there is no verb 'trian' (nearest: pretrain)" in error
    assert all(verb in error for verb in VERBS)


def test_bad_input_is_one_line_and_code_2_without_traceback(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = ["--manual-dir", str(tmp_path / "empty"), "--data-dir", str(tmp_path / "d")]
    assert main(["build", *places]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert str(tmp_path / "empty") in error
    assert not (tmp_path / "d").exists() or not list((tmp_path / "d").glob("*/*/*.tfrecord*"))


def test_debug_shows_the_traceback(tmp_path):
    done = run("pretrain", "--run", str(tmp_path), "--epochs", "x", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "--epochs must be a whole number" in done.stderr


def test_debug_may_come_before_the_verb(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        main(["--debug", "evaluate", "--run", str(tmp_path)])


def test_a_bad_option_is_one_line_unless_debugged(capsys):
    assert main(["build", "--synthtic"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mosei-ssl build: there is no option --synthtic (nearest: --synthetic)")
    assert error.count("\n") == 1
    with pytest.raises(UserError, match="--synthtic"):
        main(["build", "--synthtic", "--debug"])


def test_terminal_is_free_of_the_native_librarys_notes(tmp_path):
    done = run("pretrain", "--run", str(tmp_path / "r"), "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert "oneDNN" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "no prepared dataset" in done.stderr


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_where_there_is_no_dataset_the_option_is_named_as_the_verb_spells_it(
    verb, tmp_path, capsys
):
    arm = ["--from-scratch"] if verb == "finetune" else []
    assert main([verb, "--run", str(tmp_path / "r"), "--data-dir", str(tmp_path), *arm]) == 2
    error = capsys.readouterr().err
    assert "no prepared dataset" in error
    assert error.endswith(" --data-dir names another folder.\n")


def test_a_typing_error_does_not_wait_for_tensorflow():
    script = (
        "import sys; from mosei_ssl.cli import main; "
        "assert main(['pretrain', '--run', 'r', '--epoch', '3']) == 2; "
        "assert main(['finetune', '--run', 'r', '--epoch', '3']) == 2; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("(nearest: --epochs)") == 2


def test_a_file_that_cannot_be_read_is_one_line(monkeypatch, capsys):
    def run(options: VerifyOptions):
        Path(options.directory).read_text()

    monkeypatch.setattr("mosei_ssl.cli.verify.run", run)
    assert main(["verify", "/no/such/file"]) == 2
    assert (
        capsys.readouterr().err == "mosei-ssl verify: /no/such/file: No such file or directory.\n"
    )


def test_what_is_piped_is_not_wrapped(monkeypatch, capsys):
    long = " ".join(["word"] * 100)

    def run(options: VerifyOptions):
        logging.getLogger("mosei_ssl.test").info(long)
        console().print(Table(long))
        return 0

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("mosei_ssl.cli.verify.run", run)
    assert main(["verify", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"INFO     {long}\n"
    assert f" {long} " in captured.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_ends_with_the_code_of_its_signal(number, code, monkeypatch, capsys):
    def run(options: VerifyOptions):
        with stop_politely():
            signal.raise_signal(number)
        return 0

    monkeypatch.setattr("mosei_ssl.cli.verify.run", run)
    assert main(["verify", "x"]) == code
    assert "Give the same command to resume" in capsys.readouterr().err


def test_versions_need_no_metadata_of_an_installed_package():
    script = (
        "import importlib.metadata as m; real = m.version\n"
        "def version(name):\n"
        "    if name == 'mosei_ssl': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "import mosei_ssl\n"
        "from mosei_ssl.utils.versions import package_versions\n"
        "assert package_versions()['mosei_ssl'] == mosei_ssl.__version__\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
