"""`mosei-ssl build`: its options reach the dataset, and its output is for people and for logs."""

import logging

import pytest
import tensorflow_datasets as tfds

import tfds_mosei
from mosei_ssl.cli import main
from mosei_ssl.data import DataConfig, draw_label_budget, load_segments
from mosei_ssl.utils.errors import UserError


def build(data_dir, *options):
    return main(["build", "--synthetic", "--size", "4", "--data-dir", str(data_dir), *options])


def test_options_reach_the_dataset(tmp_path):
    assert build(tmp_path, "--unlabelled", "none", "--file-format", "array_record") == 0
    builder = tfds.builder_from_directory(tfds_mosei.find_prepared(tmp_path))
    assert set(builder.info.splits) == {"train", "validation", "test"}
    assert len(builder.as_data_source("test")) == 20
    # The defaults make another dataset.
    assert build(tmp_path) == 0
    names = tfds_mosei.list_prepared(tmp_path)
    assert len(names) == 2
    infos = [tfds.builder_from_directory(directory).info for directory in names.values()]
    assert {info.file_format.value for info in infos} == {"array_record", "tfrecord"}
    assert sum("unlabelled" in info.splits for info in infos) == 1


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


def test_output_is_the_report_and_news_of_each_split(tmp_path, capsys):
    try:
        assert build(tmp_path) == 0
    finally:
        logging.getLogger().handlers.clear()
    written = capsys.readouterr()
    assert written.out.startswith("dataset synthetic-")
    news = [line.split("INFO")[-1].strip() for line in written.err.splitlines() if "INFO" in line]
    assert news == [
        "train: 2 of 2 videos read",
        "validation: 1 of 1 videos read",
        "test: 1 of 1 videos read",
        "unlabelled: 2 of 2 videos read",
    ]
    for noise in ("Unknown size", "Shuffling", "splits/s"):
        assert noise not in written.out + written.err


@pytest.mark.parametrize(
    ("option", "value"), [("--unlabelled", "test"), ("--file-format", "parquet")]
)
def test_other_choices_are_refused(tmp_path, capsys, option, value):
    assert build(tmp_path, option, value) == 2
    assert f"{option} is '{value}'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_data_dir_that_is_a_file_is_one_line_and_code_2(tmp_path, capsys):
    (tmp_path / "data").write_text("")
    assert build(tmp_path / "data") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "the dataset cannot be written" in message


def test_a_label_budget_is_checked_with_the_message_of_finetune(tmp_path, capsys):
    assert build(tmp_path, "--labels", "all") == 0
    segments = load_segments(DataConfig(data_dir=str(tmp_path)), "train").labelled()
    assert build(tmp_path, "--labels", str(len(segments))) == 0
    with pytest.raises(UserError) as refusal:
        draw_label_budget(segments.emotions, len(segments) + 1, seed=0)
    capsys.readouterr()
    assert build(tmp_path, "--labels", str(len(segments) + 1)) == 2
    assert capsys.readouterr().err == f"mosei-ssl build: {refusal.value}\n"
    assert build(tmp_path, "--labels", "many") == 2
    assert "--labels is 'many', but must be a whole number" in capsys.readouterr().err
