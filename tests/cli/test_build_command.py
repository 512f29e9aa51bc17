"""`mosei-ssl build`: its options reach the dataset, and its output is for people and for logs."""

import contextlib
import io
import json
import logging
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

import tfds_mosei
from mosei_ssl.cli import main
from mosei_ssl.data import DataConfig, draw_label_budget, load_segments
from mosei_ssl.utils.errors import UserError
from tfds_mosei import report_page


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    """Leave out the figures of the dataset's report, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "svg", lambda *_: "<svg/>")
        yield


def build(data_dir, *options):
    return main(["build", "--synthetic", "--size", "4", "--data-dir", str(data_dir), *options])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A data directory with a dataset of the default options, and what building it wrote."""
    data_dir = tmp_path_factory.mktemp("built")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            assert build(data_dir, "--labels", "all") == 0
        finally:
            logging.getLogger().handlers.clear()
    return data_dir, out.getvalue(), err.getvalue()


def test_options_reach_the_dataset(built):
    data_dir = built[0]
    assert build(data_dir, "--unlabelled", "none", "--file-format", "array_record") == 0
    names = tfds_mosei.list_prepared(data_dir)
    assert len(names) == 2  # the defaults make another dataset
    builders = [tfds.builder_from_directory(directory) for directory in names.values()]
    splits = {builder.info.file_format.value: set(builder.info.splits) for builder in builders}
    assert splits["array_record"] == {"train", "validation", "test"}
    assert splits["tfrecord"] == {"train", "validation", "test", "unlabelled"}
    (arrays,) = (b for b in builders if b.info.file_format.value == "array_record")
    assert len(arrays.as_data_source("test")) == 20


def test_json_says_what_was_built_and_nothing_else_is_on_standard_output(built, capsys):
    assert build(built[0], "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dataset"] in tfds_mosei.list_prepared(built[0])
    assert (Path(facts["folder"]) / "report.json").is_file()
    assert Path(facts["report"]).is_file()
    assert facts["metadata"]["synthetic"] is True


def test_overwriting_makes_it_again_in_the_format_asked_for(tmp_path, capsys):
    assert build(tmp_path) == 0
    mark = tfds_mosei.find_prepared(tmp_path) / "mark"
    mark.touch()
    assert build(tmp_path, "--file-format", "array_record") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert mark.exists()
    assert build(tmp_path, "--file-format", "array_record", "--overwrite") == 0
    assert not mark.exists()
    builder = tfds.builder_from_directory(tfds_mosei.find_prepared(tmp_path))
    assert builder.info.file_format.value == "array_record"


def test_output_is_the_report_and_news_of_each_split(built):
    _, out, err = built
    assert out.startswith("dataset synthetic-")
    assert "SYNTHETIC" in out
    for word in ("train", "validation", "test", "surprise"):
        assert word in out
    news = [line.split("INFO")[-1].strip() for line in err.splitlines() if "INFO" in line]
    assert news[0] == "taken for features: synthetic_covarep.csd (root 'COVAREP')"
    assert "features: synthetic_covarep.csd (root 'COVAREP')\nlabels: " in out
    assert news[-4:] == [
        "train: 2 of 2 videos read",
        "validation: 1 of 1 videos read",
        "test: 1 of 1 videos read",
        "unlabelled: 2 of 2 videos read",
    ]
    for noise in ("Unknown size", "Shuffling", "splits/s"):
        assert noise not in out + err


@pytest.mark.parametrize(
    ("option", "value"), [("--unlabelled", "test"), ("--file-format", "parquet")]
)
def test_other_choices_are_refused(tmp_path, capsys, option, value):
    assert build(tmp_path, option, value) == 2
    assert f"{option} must be one of " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_data_dir_that_is_a_file_is_one_line_and_code_2(tmp_path, capsys):
    (tmp_path / "data").write_text("")
    assert build(tmp_path / "data") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "the dataset cannot be written" in message


def test_a_label_budget_is_checked_with_the_message_of_finetune(built, capsys):
    data_dir, out, _ = built
    named = out.split()[1]
    segments = load_segments(DataConfig(data_dir=str(data_dir), dataset=named), "train").labelled()
    assert build(data_dir, "--labels", str(len(segments))) == 0
    with pytest.raises(UserError) as refusal:
        draw_label_budget(segments.emotions, len(segments) + 1, seed=0)
    capsys.readouterr()
    assert build(data_dir, "--labels", str(len(segments) + 1)) == 2
    assert capsys.readouterr().err == f"mosei-ssl build: {refusal.value}\n"
    assert build(data_dir, "--labels", "many") == 2
    assert "--labels must be a whole number or all or null" in capsys.readouterr().err
