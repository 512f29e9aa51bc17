"""`mosei-ssl predict`."""

import csv
import io
import json
import os
import sys

import numpy as np
import pytest
from children import start_child

import tfds_mosei
from mosei_ssl.cli import main
from mosei_ssl.data import DataConfig, load_segments
from mosei_ssl.serving import LocalModel
from tfds_mosei import csd, schema

EMOTIONS = schema.EMOTIONS
CLIPS = (("anna_1", 1.0), ("anna_2", 3.0), ("bea_1", -2.0))


@pytest.fixture
def corpus(tmp_path):
    draw = np.random.default_rng(0)
    begin = np.arange(400) / 100
    rows = draw.normal(size=(400, 74)).astype(np.float32)
    csd.write(
        tmp_path / "speech.csd",
        "COVAREP",
        [("talk", np.stack([begin, begin + 0.01], 1), rows)],
        dimension_names=schema.FEATURE_NAMES,
    )
    csd.write(
        tmp_path / "labels.csd",
        "All Labels",
        [("talk", np.array([[0.0, 1.505], [1.005, 3.505]]), np.zeros((2, 7)))],
        dimension_names=schema.LABEL_NAMES,
    )
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def test_json_holds_what_the_model_says(corpus, saved_model, capsys):
    arguments = [corpus / "speech.csd", "--segments", corpus / "labels.csd", "--model", saved_model]
    arguments += ["--context", "none"]
    assert predict(*arguments, "--full", "--format", "json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [(r["name"], r["start"], r["end"], r["frames"]) for r in records] == [
        ("talk", 0.0, 1.505, 151),
        ("talk", 1.005, 3.505, 251),
    ]
    rows = np.load(corpus / "rows.npy")
    truth = LocalModel(saved_model).predict([rows[:151], rows[100:351]])
    for index, record in enumerate(records):
        for column, emotion in enumerate(EMOTIONS):
            for name, value in record["emotions"][emotion].items():
                assert value == pytest.approx(float(truth[name][index, column]), abs=1e-5)

    assert predict(*arguments, "--full", "--format", "json", "--limit", 1) == 0
    [first] = json.loads(capsys.readouterr().out)
    for emotion in EMOTIONS:
        alone, among = (record["emotions"][emotion] for record in (first, records[0]))
        assert alone == pytest.approx(among, abs=1e-5)


def test_json_has_one_number_per_question(corpus, saved_model, capsys):
    arguments = [corpus / "rows.npy", "--model", saved_model, "--format", "json"]
    assert predict(*arguments, "--full") == 0
    [full] = json.loads(capsys.readouterr().out)
    assert predict(*arguments) == 0
    [record] = json.loads(capsys.readouterr().out)
    assert list(record) == list(full)
    for emotion in EMOTIONS:
        assert set(full["emotions"][emotion]) == {"intensity", "class", "present", "expected"}
        assert record["emotions"][emotion] == {
            "intensity": full["emotions"][emotion]["intensity"],
            "probability": full["emotions"][emotion]["present"],
        }
    assert predict(*arguments[:3], "--full") == 2
    assert "--full does not apply" in capsys.readouterr().err


def test_csv_and_table_hold_the_same(corpus, saved_model, capsys):
    arguments = [corpus / "rows.npy", "--window", "2", "--model", saved_model.parent]
    assert predict(*arguments, "--full", "--format", "json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [(r["start"], r["end"]) for r in records] == [(0, 2), (2, 4)]

    assert predict(*arguments, "--format", "csv", "--out", corpus / "out.csv") == 0
    assert capsys.readouterr().out == f"Written: {corpus / 'out.csv'}\n"
    lines = list(csv.DictReader(io.StringIO((corpus / "out.csv").read_text())))
    assert len(lines) == 2
    assert float(lines[1]["fear_present"]) == records[1]["emotions"]["fear"]["present"]
    assert lines[1]["most_likely"] == records[1]["most_likely"]
    assert "fear_truth" not in lines[1]
    again = [corpus / "speech.csd", "--segments", corpus / "own.csv", "--model", saved_model]
    text = (corpus / "out.csv").read_text().replace("rows,", "talk,")
    (corpus / "own.csv").write_text(text)
    assert predict(*again, "--full", "--format", "json") == 0
    assert [(r["start"], r["end"]) for r in json.loads(capsys.readouterr().out)] == [(0, 2), (2, 4)]
    assert int(lines[1]["happy_class"]) == records[1]["emotions"]["happy"]["class"]

    assert predict(*arguments, "--out", corpus / "out.txt") == 0
    table = (corpus / "out.txt").read_text()
    assert "2.00-4.00" in table
    sad = records[0]["emotions"]["sad"]
    assert f"{sad['intensity']:g} {sad['present']:.0%}" in table


def test_numbers_are_never_cut_on_a_narrow_terminal():
    from rich.console import Console

    from mosei_ssl.serving.output import to_table

    answer = {"intensity": 3.0, "class": 3, "present": 1.0, "expected": 2.9}
    record = {"name": "a-very-long-name-of-a-recording", "start": 100.0, "end": 115.25}
    record |= {
        "emotions": dict.fromkeys(EMOTIONS, answer),
        "most_likely": "surprise",
        "not_learned": [],
    }
    console = Console(width=80, file=io.StringIO())
    record["truth"] = dict.fromkeys(EMOTIONS, 0.0) | {"anger": 2.0}
    console.print(to_table([record]))
    text = console.file.getvalue()
    assert text.count("3 100%") == 6
    (truth,) = (line for line in text.splitlines() if "truth" in line)
    assert truth.split() == ["truth", "0", "0", "2", "0", "0", "0", "anger"]
    assert "100.00-115.25" in text
    assert all(emotion in text for emotion in EMOTIONS)


def test_the_truth_of_a_labelled_dataset_stands_beside_the_prediction(
    synthetic_data, saved_model, capsys
):
    arguments = [synthetic_data, "--model", saved_model, "--limit", 3]
    assert predict(*arguments, "--full", "--format", "json", "--threshold", 0) == 0
    records = json.loads(capsys.readouterr().out)
    model = LocalModel(saved_model)
    config = DataConfig(data_dir=str(synthetic_data))
    moved = load_segments(config, "test", model.feature_mean)  # as it is evaluated
    labels, expected = moved.emotions, model.predict(list(moved)[:3])["expected"]
    found = [[r["emotions"][emotion]["expected"] for emotion in EMOTIONS] for r in records]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for record, truth in zip(records, labels, strict=False):
        assert list(record["truth"].values()) == pytest.approx(list(truth), abs=1e-5)
        present = {emotion: answer["present"] for emotion, answer in record["emotions"].items()}
        assert record["most_likely"] == max(present, key=present.get)
    # The dataset's own folder, which `build` prints, will do too.
    own = tfds_mosei.find_prepared(synthetic_data)
    assert predict(own, *arguments[1:], "--full", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == records
    assert predict(*arguments, "--format", "csv") == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(line["sad_truth"]) for line in lines] == [r["truth"]["sad"] for r in records]
    assert predict(*arguments) == 0
    assert capsys.readouterr().out.count("truth") == 3
    # What has no labels has no truth.
    assert predict(*arguments, "--split", "unlabelled", "--full", "--format", "json") == 0
    assert all("truth" not in record for record in json.loads(capsys.readouterr().out))


def test_clips_are_judged_relative_to_all_of_their_speaker(tmp_path, saved_model, capsys):
    draw = np.random.default_rng(3)
    clips = {name: draw.normal(size=(300, 74)) + shift for name, shift in CLIPS}
    for name, rows in clips.items():
        np.save(tmp_path / f"{name}.npy", rows.astype("f4"))
    line = [*(tmp_path / f"{name}.npy" for name in clips), "--model", saved_model]
    line += ["--format", "json", "--full"]
    pattern = ["--speaker-from", "^([a-z]+)_"]
    assert predict(*line, *pattern) == 0
    records = json.loads(capsys.readouterr().out)
    model = LocalModel(saved_model)
    anna = np.concatenate([clips["anna_1"], clips["anna_2"]])
    together = model.predict([clips["anna_1"], clips["anna_2"]], recording=anna)["expected"]
    alone = model.predict([clips["bea_1"]], recording=clips["bea_1"])["expected"]
    found = [[r["emotions"][emotion]["expected"] for emotion in EMOTIONS] for r in records]
    np.testing.assert_allclose(found, [*together, *alone], atol=1e-5)
    assert predict(*line) == 0
    by_clip = json.loads(capsys.readouterr().out)
    assert by_clip[0] != records[0]
    assert by_clip[2] == records[2]
    for more, message in (
        (["--context", "none"], "does not apply: there is no context"),
        (["--server", "http://localhost:1"], "without --model it is not known"),
    ):
        rest = line[:3] if "--server" in more else line
        assert predict(*rest, *pattern, *more) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["wav", "mp3", "ogg", "flac"])
def test_a_recording_may_come_from_standard_input(
    tmp_path, saved_model, speech_wav, capsys, monkeypatch, ending
):
    soundfile = pytest.importorskip("soundfile", reason="mosei_ssl[audio] is not installed")
    file = tmp_path / f"stdin.{ending}"
    soundfile.write(file, *soundfile.read(speech_wav))
    arguments = ["--model", saved_model, "--format", "json"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert predict("-", *arguments) == 0
    answer = capsys.readouterr().out
    assert predict(file, *arguments) == 0
    assert capsys.readouterr().out == answer
    assert json.loads(answer)[0]["name"] == "stdin"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert predict("-", *arguments) == 2
    assert "standard input is empty" in capsys.readouterr().err


def test_windows_far_longer_than_training_segments_are_warned_of_once(caplog):
    from mosei_ssl.serving import Segment
    from mosei_ssl.serving.predictor import Predictor, predict_records
    from mosei_ssl.serving.signatures import OUTPUTS

    class Trained(Predictor):
        def __init__(self, dataset):
            self.manifest = {"dataset": dataset}

        def _answer(self, segments):
            return {name: np.zeros((len(segments), 6)) for name in OUTPUTS}

    segments = [Segment("talk", 0, n / 100, np.zeros((n, 74))) for n in (900, 1100)]
    for dataset in ({"train_seconds": {"median": 2.0, "longest": 5.0}}, {}):
        assert len(list(predict_records(Trained(dataset), segments))) == 2
    assert [record.getMessage()[:17] for record in caplog.records] == ["1 of 2 segments a"]


def test_bad_calls_are_one_line(corpus, saved_model, capsys):
    def message(*arguments):
        assert predict(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    speech, model = corpus / "speech.csd", ["--model", saved_model]
    assert "holds no SavedModel" in message(speech, "--model", corpus)
    assert "no such file" in message(corpus / "nowhere.csd", *model)
    assert "This is a label file" in message(corpus / "labels.csd", *model)
    assert "--segments does not apply" in message(corpus / "rows.npy", "--segments", "x", *model)
    given = ["--segments", corpus / "labels.csd"]
    assert "--window does not apply" in message(speech, *given, "--window", 2, *model)
    assert "--hop does not apply" in message(speech, "--window", 0, "--hop", 2, *model)
    assert "--split does not apply" in message(speech, "--split", "test", *model)
    assert "--timeout does not apply" in message(speech, "--timeout", 2, *model)
    server = ["--server", "http://localhost:1", "--context", "recording"]
    assert "--context does not apply: without --model" in message(speech, *server)
    assert "--window does not apply" in message(corpus, "--window", 2, *model)
    assert "is not one: leave it out" in message(speech, *model, "--plot", corpus / "x.png")
    assert "folder does not exist" in message(speech, *model, "--out", corpus / "no" / "out.txt")
    assert "it is a folder" in message(speech, *model, "--out", corpus)
    whole = speech.read_bytes()
    speech.write_bytes(whole[: len(whole) // 2])
    assert "speech.csd" in message(speech, *model)


def test_an_older_answer_stays_until_the_new_one_is_there(corpus, saved_model, monkeypatch):
    import mosei_ssl.utils.files

    out = corpus / "out.csv"
    arguments = [corpus / "rows.npy", "--model", saved_model, "--format", "csv", "--out", out]
    assert predict(*arguments) == 0
    before = out.read_bytes()

    def full(temporary, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mosei_ssl.utils.files, "put_in_place", full)
    assert predict(*arguments) == 2
    assert out.read_bytes() == before
    assert {path.name for path in corpus.glob("out*")} == {"out.csv"}


def test_many_segments_are_read_and_judged_block_by_block(corpus, saved_model, monkeypatch, capsys):
    from mosei_ssl.serving import predictor

    arguments = [
        corpus / "rows.npy",
        "--window",
        "0.5",
        "--model",
        saved_model,
        "--full",
        "--format",
        "json",
    ]
    assert predict(*arguments) == 0
    whole = json.loads(capsys.readouterr().out)
    assert len(whole) == 8
    monkeypatch.setattr(predictor, "BLOCK", 3)
    assert predict(*arguments) == 0
    for one, other in zip(whole, json.loads(capsys.readouterr().out), strict=True):
        assert (one["start"], one["frames"]) == (other["start"], other["frames"])
        expected = [one["emotions"][emotion]["expected"] for emotion in EMOTIONS]
        found = [other["emotions"][emotion]["expected"] for emotion in EMOTIONS]
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_program_that_has_read_enough_ends_the_command(corpus, saved_model, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as ended:
            predict(corpus / "rows.npy", "--model", saved_model, "--format", "csv")
    assert ended.value.code == 1


def predict_unread(rows, model) -> int:
    """Predict into a pipe that nobody reads, and end as the interpreter does."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    os.close(reader)
    try:
        code = predict(rows, "--model", model)
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    return code


def test_a_reader_that_has_read_enough_is_no_traceback(corpus, saved_model, tmp_path):
    log = tmp_path / "log"
    child = start_child(predict_unread, corpus / "rows.npy", saved_model, log=log)
    child.join(60)
    assert child.exitcode == 1
    assert log.read_text() == ""


def test_a_file_in_a_folder_that_is_closed_is_written_in_place(corpus, saved_model, monkeypatch):
    out = corpus / "out.csv"
    out.write_text("old")
    out.chmod(0o600)
    arguments = [corpus / "rows.npy", "--model", saved_model, "--format", "csv", "--out", out]
    assert predict(*arguments) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    inode = out.stat().st_ino
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: p != corpus and access(p, mode))
    assert predict(*arguments) == 0
    assert out.stat().st_ino == inode
    assert out.read_text().startswith("name,")


def test_brackets_in_names_are_shown():
    from rich.console import Console

    from mosei_ssl.serving.output import to_table

    answer = {"intensity": 0.0, "class": 0, "present": 0.1, "expected": 0.1}
    record = {"name": "My talk [dQw4w9]", "start": 0.0, "end": 1.0}
    record |= {
        "emotions": dict.fromkeys(EMOTIONS, answer),
        "most_likely": "none",
        "not_learned": [],
    }
    console = Console(width=120, file=io.StringIO())
    console.print(to_table([record]))
    assert "My talk [dQw4w9]" in console.file.getvalue()


def test_recording_is_judged_in_windows_and_drawn(shared, saved_model, tmp_path, capsys):
    pytest.importorskip("soundfile", reason="mosei_ssl[audio] is not installed")
    recording = shared / "audio" / "ravdess" / "03-01-03-02-01-01-01.wav"
    picture = tmp_path / "talk.png"
    assert (
        predict(
            *(recording, "--model", saved_model, "--full", "--format", "json"),
            *("--window", 1, "--hop", 0.5, "--plot", picture),
        )
        == 0
    )
    records = json.loads(capsys.readouterr().out)
    assert len(records) >= 2
    assert {record["name"] for record in records} == {recording.stem}
    assert all(record["end"] - record["start"] == pytest.approx(1.0) for record in records)
    assert picture.read_bytes().startswith(b"\x89PNG")
