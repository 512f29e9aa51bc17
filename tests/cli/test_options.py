"""How options may be spelled, which of two values wins, and how a mistake is told."""

import importlib
import re
from pathlib import Path

import pytest

from mosei_ssl.cli.main import VERBS
from mosei_ssl.cli.options import make_parser, parse_options
from mosei_ssl.utils.errors import UserError


def parser_of(verb):
    parser = make_parser(f"mosei-ssl {verb}")
    importlib.import_module(f"mosei_ssl.cli.{verb}").add_arguments(parser)
    return parser


def parse(verb, *arguments):
    return parse_options(parser_of(verb), arguments)


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
        ("pretrain", ["--run", "r"], "--data.data-dir"),
        ("pretrain", ["--run", "r"], "--profile-steps"),
        ("finetune", ["--run", "r"], "--data.cache-dir"),
        ("export", ["--run", "r", "--to", "x"], "--data-licence"),
        ("verify", ["x"], "--manifest-sha256"),
        ("predict", ["x"], "--model-name"),
        ("study", ["--config", "x", "--out", "y"], "--ray-address"),
    ],
)
def test_names_are_taken_with_dashes_and_underscores(verb, required, option):
    for name in (option, "--" + option[2:].replace("-", "_")):
        for value in ([name, "a_b-c"], [f"{name}=a_b-c"]):
            options = parse(verb, *required, *value)
            assert options[option[2:].replace("-", "_")] == "a_b-c"


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
        (["pretrain", "--data-dir", "x"], "no option --data-dir (nearest: --data.data_dir)"),
        (["finetune", "--dropout=1"], "(nearest: --backbone.dropout, --head.dropout)"),
        (["pretrain", "--run", "r", "--epo", "3"], "no option --epo (nearest: --epochs)"),
        (["pretrain", "--run", "r", "stray"], "nothing is expected at 'stray'"),
        (["pretrain", "--epochs", "3"], "--run must be given"),
        (["extract"], "AUDIO and --out must be given"),
        (
            ["pretrain", "--run", "r", "--epochs", "x"],
            "--epochs is 'x', but must be a whole number",
        ),
        (["finetune", "--run", "r", "--labels", "x"], "but must be a whole number or 'all'"),
        (["pretrain", "--run", "r", "--precision", "f"], "must be one of 'float32', 'mixed_bf"),
        (["predict", "x", "--format", "xml"], "--format is 'xml', but must be one of 'table', "),
        (["pretrain", "--run", "r", "--epochs"], "--epochs: expected one argument"),
        (["pretrain", "--config", "/no/such.yaml"], "/no/such.yaml"),
    ],
)
def test_a_mistake_on_the_line_is_told_in_one_line(arguments, message):
    text = complaint(*arguments)
    assert message in text
    assert text.endswith(f"`mosei-ssl {arguments[0]} --help` explains all options.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "backbone:\n  hiden_dim: 3\n",
            "no option backbone.hiden_dim (nearest: backbone.hidden_dim)",
        ),
        ("epocs: 3\n", "no option epocs (nearest: epochs)"),
        ("epochs: x\n", "--epochs is 'x', but must be a whole number"),
        ("a: b: c\n", "mapping values are not allowed"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(file, text, message):
    config = file(text)
    told = complaint("pretrain", "--run", "r", "--config", config)
    assert told.startswith(f"{config}: ")
    assert message in told


@pytest.mark.parametrize("verb", VERBS)
def test_files_named_in_the_help_are_there(verb):
    root = Path(__file__).parents[2]
    named = re.findall(r"configs/\w+\.yaml", parser_of(verb).description)
    assert all((root / name).is_file() for name in named)
