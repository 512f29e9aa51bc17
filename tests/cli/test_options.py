"""How options may be spelled, which of two values wins, and how a mistake is told."""

import importlib
import re
from dataclasses import dataclass

import pytest

from mosei_ssl.cli.main import VERBS
from mosei_ssl.cli.options import parse_options
from mosei_ssl.config import BACKBONES, BackboneConfig
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import ranged
from mosei_ssl.utils.parsing import read_yaml


def module_of(verb):
    return importlib.import_module(f"mosei_ssl.cli.{verb}")


def parse(verb, *arguments):
    return parse_options(module_of(verb), arguments)


def complaint(verb, *arguments):
    with pytest.raises(UserError) as error:
        parse(verb, *arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "options.yaml").write_text(text)
        return str(tmp_path / "options.yaml")

    return write


@pytest.mark.parametrize("end", [False, True])
def test_the_line_wins_over_a_file_wherever_it_stands(file, end):
    # What --print-config writes has `run: null`.
    config = ["--config", file("run: null\nepochs: 30\nseed: 7\n")]
    line = ["--run", "x9", "--epochs", "3"]
    options = parse("pretrain", *(line + config if end else config + line))
    assert (options.run, options.epochs, options.seed) == ("x9", 3, 7)


def test_later_files_win_over_earlier_ones(file, tmp_path):
    second = tmp_path / "second.yaml"
    second.write_text("epochs: 4\n")
    first = file("epochs: 3\nseed: 1\n")
    options = parse("pretrain", f"--config={first}", "--run", "r", "--config", str(second))
    assert (options.epochs, options.seed) == (4, 1)


@pytest.mark.parametrize(
    ("verb", "required", "option"),
    [
        ("build", [], "--manual-dir"),
        ("pretrain", ["--run", "r"], "--data-dir"),
        ("pretrain", ["--run", "r"], "--profile-steps"),
        ("evaluate", ["--run", "r"], "--data-dir"),
        ("export", ["--run", "r", "--to", "x"], "--data-licence"),
        ("verify", ["x"], "--manifest-sha256"),
        ("predict", ["x"], "--model-name"),
    ],
)
def test_names_are_taken_with_dashes_and_underscores(verb, required, option):
    for name in (option, "--" + option[2:].replace("-", "_")):
        for value in ([name, "a_b-c"], [f"{name}=a_b-c"]):
            options = parse(verb, *required, *value)
            assert vars(options)[option[2:].replace("-", "_")] == "a_b-c"


def test_a_file_whose_name_begins_with_a_dash_is_taken_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-3g5yACwYnA.wav", "--qXJuDtHPw.wav"):
        (tmp_path / name).touch()
    options = parse("extract", "-3g5yACwYnA.wav", "--qXJuDtHPw.wav", "--out", "x.csd")
    assert options.audio == ["./-3g5yACwYnA.wav", "./--qXJuDtHPw.wav"]
    assert "no option --another.wav" in complaint("extract", "--another.wav", "--out", "x.csd")


def test_values_and_what_follows_two_dashes_are_left_alone():
    options = parse("extract", "--out", "x_y-z.csd", "--", "a_b", "--c_d")
    assert (options.audio, options.out) == (["a_b", "--c_d"], "x_y-z.csd")


def test_switches_can_be_turned_off_again(file):
    config = file("run: r\nfreeze_backbone: true\n")
    assert parse("finetune", "--config", config).freeze_backbone is True
    assert (
        parse("finetune", "--config", config, "--freeze_backbone", "false").freeze_backbone is False
    )
    assert parse("finetune", "--freeze-backbone=false", "--config", config).freeze_backbone is False
    options = parse("finetune", "--from-scratch", "--run", "r")
    assert (options.from_scratch, options.freeze_backbone) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--dropout=1"], "(nearest: --backbone.dropout, --head.dropout)"),
        (["pretrain", "--run", "r", "--epo", "3"], "no option --epo (nearest: --epochs)"),
        (["pretrain", "--run", "r", "stray"], "nothing is expected at 'stray'"),
        (["pretrain", "--epochs", "3"], "--run must be given"),
        (["extract"], "AUDIO and --out must be given"),
        (["pretrain", "--run", "r", "--epochs", "x"], "--epochs must be a whole number, not 'x'"),
        (["finetune", "--run", "r", "--labels", "x"], "must be a whole number or all, not 'x'"),
        (["pretrain", "--run", "r", "--precision", "f"], "must be one of float32, mixed_bfloat16"),
        (["predict", "x", "--format", "xml"], "--format must be one of table, json, csv, not 'xm"),
        (["pretrain", "--run", "r", "--epochs"], "--epochs: expected one argument"),
        (
            ["pretrain", "--run", "r", "--backbone.kind=codebook", "--backbone.num-heads", "2"],
            "no option --backbone.num-heads",
        ),
        (
            ["pretrain", "--run", "r", "--backbone.kind", "gru"],
            "--backbone.kind must be one of transformer, codebook, not 'gru'",
        ),
    ],
)
def test_a_mistake_on_the_line_is_told_in_one_line(arguments, message):
    text = complaint(*arguments)
    assert message in text
    assert text.endswith(f"`mosei-ssl {arguments[0]} --help-all` explains all options.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "backbone:\n  hiden_dim: 3\n",
            "backbone.hiden_dim is not an option (nearest: hidden_dim); allowed here: kind, ",
        ),
        ("epocs: 3\n", "epocs is not an option (nearest: epochs); allowed here: "),
        ("epochs: x\n", "epochs must be a whole number, not 'x'"),
        ("backbone: {kind: codebook, num_heads: 2}\n", "backbone.num_heads is not an option"),
        ("task: 3\n", "task must be a mapping of options, not 3"),
        ("- epochs\n", "must hold options and their values"),
        ("a: b: c\n", "mapping values are not allowed"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(file, text, message):
    config = file(text)
    told = complaint("pretrain", "--run", "r", "--config", config)
    assert told.startswith(config)
    assert message in told


@pytest.mark.parametrize("verb", VERBS)
def test_configs_named_in_the_help_are_there(verb):
    assert all(map(read_yaml, re.findall(r"--config (\S+)", module_of(verb).__doc__)))


def test_configs_come_with_the_package():
    options = parse("pretrain", "--run", "r", "--config", "small_pretrain")
    assert options.task.name == "codebook"
    assert "small_pretrain" in complaint("pretrain", "--run", "r", "--config", "small_pretrian")


def test_a_file_that_is_missing_is_named():
    assert "/no/such.yaml" in complaint("pretrain", "--run", "r", "--config", "/no/such.yaml")


def test_lists_are_written_as_words_or_as_in_yaml():
    for words in (["a", "b"], ["[a, b]"]):
        options = parse("pretrain", "--run", "r", "--extra-datasets", *words)
        assert options.extra_datasets == ["a", "b"]


def test_kind_and_name_decide_which_options_there_are(file):
    config = file("backbone: {kind: codebook, code_dim: 8}\n")
    options = parse("pretrain", "--run", "r", "--config", config, "--backbone.context", "3")
    assert options.backbone == BACKBONES["codebook"](code_dim=8, context=3)
    options = parse("pretrain", "--run", "r", "--task.name", "codebook", "--task.strength=1")
    assert options.task.strength == 1


def test_a_backbone_of_someone_else_has_its_options_on_the_line(monkeypatch, capsys):
    @dataclass(kw_only=True)
    class MineConfig(BackboneConfig):
        """Options of my backbone.

        Args:
            wings: how many.
        """

        kind: str = "mine"
        wings: int = ranged(2, 1)

    monkeypatch.setitem(BACKBONES, "mine", MineConfig)
    line = ["--run", "r", "--backbone.kind", "mine"]
    options = parse("pretrain", *line, "--backbone.wings", "4")
    assert options.backbone == MineConfig(wings=4)
    assert "--backbone.wings must be at least 1" in complaint(
        "pretrain", *line, "--backbone.wings=0"
    )
    with pytest.raises(SystemExit):
        parse("pretrain", "--backbone.kind", "mine", "--help-all")
    help_text = capsys.readouterr().out
    assert "--backbone.wings" in help_text
    assert "how many (default: 2)" in help_text
    assert "{transformer,codebook,mine}" in help_text
    assert "--backbone.num-heads" not in help_text


def test_what_is_printed_can_be_read_back(capsys, tmp_path):
    line = ["--backbone.kind", "codebook", "--epochs", "3", "--max-frames", "null"]
    with pytest.raises(SystemExit) as end:
        parse("pretrain", "--print-config", *line)
    assert not end.value.code
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    read = parse("pretrain", "--config", str(printed), "--run", "r")
    assert read == parse("pretrain", "--run", "r", *line)


def test_a_pattern_may_begin_with_a_dash():
    options = parse("extract", "a.wav", "--out", "x.csd", "--speaker-from", r"-(\d+)\.wav$", "-q")
    assert options.speaker_from == r"-(\d+)\.wav$"
