"""The command line: help that teaches, bad input in one line, exit code 2, no traceback."""

import dataclasses
import importlib
import json
import logging
import re
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from rich.table import Table

from mosei_ssl.cli import main
from mosei_ssl.cli.main import VERBS
from mosei_ssl.cli.verify import VerifyOptions
from mosei_ssl.study import StudyResult
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
    assert not re.search(r"--[\w.-]*_", text)


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_screen_and_help_all_has_every_option(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    short = capsys.readouterr().out
    assert short.count("\n") <= 40
    with pytest.raises(SystemExit):
        main([verb, "--help-all"])
    options = typing.get_type_hints(importlib.import_module(f"mosei_ssl.cli.{verb}").run)["options"]
    names = {f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(options)}
    everything = capsys.readouterr().out
    hidden = names - set(re.findall(r"--[\w-]+", short))
    assert hidden - set(re.findall(r"--[\w-]+", everything)) <= positionals_and_groups(options)
    # Whoever is not told of an option is told where to look.
    assert ("--help-all" in short) == bool(options.common)


def positionals_and_groups(options):
    hints = typing.get_type_hints(options)
    return {
        f"--{field.name}"
        for field in dataclasses.fields(options)
        if field.metadata.get("positional") or dataclasses.is_dataclass(hints[field.name])
    }


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


@pytest.mark.parametrize(
    ("switches", "levels"),
    [
        ([], "INFO WARNING"),
        (["-q"], "WARNING"),
        (["--quiet"], "WARNING"),
        (["-v"], "DEBUG INFO WARNING"),
        (["--verbose"], "DEBUG INFO WARNING"),
        (["--debug"], "DEBUG INFO WARNING"),
    ],
)
def test_switches_before_or_behind_the_verb_decide_what_is_told(
    switches, levels, monkeypatch, capsys
):
    def run(options: VerifyOptions):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("mosei_ssl.test").log(level, "said")
        return 0

    monkeypatch.setattr("mosei_ssl.cli.verify.run", run)
    for line in ([*switches, "verify", "x"], ["verify", "x", *switches]):
        assert main(line) == 0
        told = capsys.readouterr().err.splitlines()
        assert " ".join(row.split()[0] for row in told if row.endswith("said")) == levels


def test_quiet_and_verbose_contradict_each_other(capsys):
    assert main(["verify", "x", "-q", "-v"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_json_of_a_study_is_all_there_is_on_standard_output(monkeypatch, capsys):
    result = StudyResult(Path("out"), 3, {"runs/x": "killed"}, Path("out/report.html"))
    monkeypatch.setattr("mosei_ssl.study.load_study_config", lambda file: None)
    monkeypatch.setattr("mosei_ssl.study.run_study", lambda *args, **options: result)
    assert main(["study", "--config", "x.yaml", "--out", "out", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "folder": "out",
        "finished": 3,
        "failed": {"runs/x": "killed"},
        "report": "out/report.html",
    }


def test_a_shell_completes_verbs_options_and_choices(tmp_path, capsys):
    assert main(["--print-completion", "bash"]) == 0
    (tmp_path / "completion.sh").write_text(capsys.readouterr().out)
    script = """
    . ./completion.sh
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _shtab_mosei_ssl
    echo "${COMPREPLY[@]}"
    """

    def completed(*words):
        command = ["bash", "-c", script, "bash", "mosei-ssl", *words]
        return subprocess.check_output(command, cwd=tmp_path, text=True).split()

    assert completed("pre") == ["pretrain", "predict"]
    assert completed("finetune", "--from") == ["--from-scratch"]
    assert completed("pretrain", "--backbone.kind", "") == ["transformer", "codebook"]
    assert completed("verify", "com") == ["completion.sh"]
    assert main(["--print-completion", "fish"]) == 2
    assert "bash, zsh, tcsh, not 'fish'" in capsys.readouterr().err


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
    assert capsys.readouterr().err == "mosei-ssl verify: stopped.\n"


def test_the_overview_fits_a_screen_and_tells_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n") <= 40
    codes = text.partition("Exit codes:")[2]
    assert re.findall(r"\b(\d+)\b", codes) == ["0", "1", "2", "3", "130", "143"]
