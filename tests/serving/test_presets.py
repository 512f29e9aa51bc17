"""The shipped model: predicting from recordings, exporting, fine-tuning from its backbone."""

import dataclasses
import io
import json
import shutil
import zipfile

import keras
import numpy as np
import pandas
import pytest

import mosei_ssl
from mosei_ssl import presets
from mosei_ssl.cli import main
from mosei_ssl.config import CodebookConfig, FinetuneConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics import emotion_threshold
from mosei_ssl.models import Backbone, load_keras_file, load_preset
from mosei_ssl.presets import archive
from mosei_ssl.serving import verify
from mosei_ssl.serving.inputs import Segment, holds_datasets
from mosei_ssl.serving.output import as_records
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES

RATE = 16_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of two recordings, one of them too short to be cut, and a file that is not audio."""
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("recordings")
    samples = np.sign(np.sin(2 * np.pi * 120 * np.arange(RATE) / RATE)) / 10
    soundfile.write(folder / "long.wav", samples, RATE)
    soundfile.write(folder / "short.wav", samples[: RATE // 2], RATE)
    (folder / "broken.wav").write_bytes(b"RIFF but no more")
    return folder


def test_it_is_whole_and_small():
    found = verify(presets.DEFAULT)
    assert found.manifest["dataset"]["synthetic"] is False
    folder = presets.find(presets.DEFAULT)
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 5_000_000
    assert (folder / "README.md").is_file()
    for file in folder.rglob("*"):
        assert not file.is_file() or b"/tmp/" not in file.read_bytes(), file


def test_recordings_arrays_and_folders_give_the_same_table(recordings):
    soundfile = pytest.importorskip("soundfile")
    recognizer = mosei_ssl.load("emotion-small")
    whole = recognizer.predict([recordings / "long.wav", recordings / "short.wav"])
    assert whole["name"].tolist() == ["long", "short"]
    np.testing.assert_allclose(whole[["start", "end"]], [[0, 1], [0, 0.5]], atol=0.01)
    samples, rate = soundfile.read(recordings / "long.wav")
    array = recognizer.predict(samples, rate)
    folder = recognizer.predict(recordings)  # without the broken one
    columns = [f"{emotion}_expected" for emotion in EMOTIONS]
    np.testing.assert_allclose(array[columns], whole[columns][:1], atol=1e-4)
    np.testing.assert_allclose(folder[columns], whole[columns], atol=1e-4)
    with pytest.raises(UserError, match="rate"):
        recognizer.predict(samples)


def test_the_command_answers_without_a_model(recordings, capsys):
    line = ["predict", str(recordings), "--full", "--format", "json", "--window", "0.8"]
    assert main(line) == 0
    said = capsys.readouterr()
    records = json.loads(said.out)
    found = [(record["name"], round(record["start"], 1)) for record in records]
    assert found == [("long", 0), ("long", 0.2), ("short", 0)]
    assert "broken.wav" in "".join(said.err.split())
    assert "left out" in said.err
    # A file that is named is not passed over.
    assert main(["predict", str(recordings / "broken.wav")]) == 2
    assert main(["predict", str(recordings), "--model", "emotion-smal"]) == 2


def test_no_emotion_is_likely_below_the_threshold(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(300, 74)).astype(np.float32)
    np.save(tmp_path / "a.npy", rows)
    np.save(tmp_path / "b.npy", rows[:50])
    line = [
        "predict",
        str(tmp_path / "a.npy"),
        str(tmp_path / "b.npy"),
        "--full",
        "--format",
        "json",
    ]
    assert main([*line, "--threshold", "1"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [(record["name"], record["most_likely"]) for record in records] == [
        ("a", "none"),
        ("b", "none"),
    ]
    assert main([*line, "--limit", "1"]) == 0  # of both files together
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main([*line, "--threshold", "0"]) == 0
    for record in json.loads(capsys.readouterr().out):
        present = {emotion: record["emotions"][emotion]["present"] for emotion in EMOTIONS}
        assert record["most_likely"] == max(present, key=present.get)


def test_what_was_not_learned_or_heard_is_never_most_likely(tmp_path, capsys):
    """CREMA-D and EMO-DB, of which the shipped model has learned, know no surprise."""
    rows = np.random.default_rng(0).normal(size=(200, 74)).astype(np.float32)
    rows[100:, FEATURE_NAMES.index("VUV")] = 0.0  # the second second is silence or noise
    np.save(tmp_path / "a.npy", rows)
    line = ["predict", str(tmp_path / "a.npy"), "--window", "1", "--threshold", "0"]
    assert main([*line, "--format", "json"]) == 0
    voiced, unvoiced = json.loads(capsys.readouterr().out)
    assert voiced["not_learned"] == unvoiced["not_learned"] == ["surprise"]
    assert (voiced["most_likely"] != "none", unvoiced["most_likely"]) == (True, "none")
    segment = Segment("a", 0.0, 1.0, np.ones((100, 74)))
    answers = {name: np.full((1, 6), 0.25) for name in OUTPUTS}
    answers["present"][0, EMOTIONS.index("surprise")] = 0.9
    answers["present"][0, EMOTIONS.index("fear")] = 0.5
    (free,), (told,) = (as_records([segment], answers, 0.1, names) for names in ((), ["surprise"]))
    assert (free["most_likely"], told["most_likely"]) == ("surprise", "fear")
    assert main(line) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in lines if line.split()[:1] == ["a"] and "0.00" in line)
    assert row.count("-") == 1
    assert main([*line, "--format", "csv"]) == 0
    table = pandas.read_csv(io.StringIO(capsys.readouterr().out))
    assert table.columns[table.isna().all()].tolist() == [f"surprise_{name}" for name in OUTPUTS]


def test_a_folder_of_datasets_may_hold_the_recordings_too(tmp_path):
    (tmp_path / "talk.wav").touch()
    assert not holds_datasets(tmp_path)
    (tmp_path / "tfds_mosei").mkdir()
    assert holds_datasets(tmp_path)


def test_it_is_exported_as_it_is(tmp_path, capsys):
    place = tmp_path / "emotion"
    assert main(["export", "--preset", "emotion-small", "--to", str(place)]) == 0
    assert verify(place / "1").manifest == verify(presets.DEFAULT).manifest
    assert (place / "deployment").is_dir()
    assert main(["export", "--preset", "emotion-small", "--run", "r", "--to", str(place)]) == 2
    assert "either --run RUN or --preset" in capsys.readouterr().err


def test_a_preset_of_ones_own_is_one_file_that_others_predict_and_train_with(
    finished_run, tmp_path, capsys
):
    file, rows = tmp_path / "mine.zip", tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(200, 74)).astype(np.float32))
    assert main(["export", "--run", str(finished_run), "--to", str(file)]) == 0
    assert main(["export", "--run", str(finished_run), "--to", str(file)]) == 2
    assert "there already" in capsys.readouterr().err
    assert main(["predict", str(rows), "--model", str(file), "--full", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "rows"
    assert main(["export", "--preset", str(file), "--to", str(tmp_path / "saved")]) == 0
    theirs, mine = Backbone.from_preset(file), Backbone.from_preset(finished_run)
    for ours, other in zip(theirs.learned_variables, mine.learned_variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, other)))
    assert str(finished_run) not in (presets.find(file) / "config.yaml").read_text()


def _changed(name, content, source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        new.writestr(name, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", b"{}", "run.json changed, lost or added"),
        ("more.py", b"", "which its manifest does not list"),
        ("../../outside", b"", "which its manifest does not list"),
        ("preset.json", b"{]", "preset.json is damaged"),
        ("preset.json", b'{"format": 1, "files": {"/etc/x": {"sha256": ""}}}', "elsewhere"),
        ("preset.json", b'{"format": 2}', "later version"),
    ],
)
def test_an_archive_that_was_tampered_with_is_refused(
    name, content, message, tmp_path, monkeypatch
):
    monkeypatch.setenv("MOSEI_SSL_CACHE", str(tmp_path / "cache"))
    whole, bad = tmp_path / "whole.zip", tmp_path / "bad.zip"
    archive.pack(presets.find(presets.DEFAULT), whole)
    _changed(name, content, whole, bad)
    with pytest.raises(UserError, match=message):
        presets.find(bad)
    bad.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged"):
        presets.find(bad)
    assert not [f for f in (tmp_path / "cache").rglob("*") if f.is_file()]


def test_a_shipped_preset_that_was_changed_is_refused(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(presets.find(presets.DEFAULT), folder)
    (folder / "videos.json").write_text("[]")
    with pytest.raises(UserError, match=r"videos.json changed"):
        presets.find(folder)


def test_fine_tuning_starts_from_it(synthetic_data, tmp_path):
    config = FinetuneConfig(
        run=str(tmp_path / "run"),
        data_dir=str(synthetic_data),
        labels=8,
        pretrained="emotion-small",
        backbone=CodebookConfig(),
        freeze_backbone=True,
        weight_prior=1e9,  # so that the head stays where it is pulled to
    )
    run = mosei_ssl.finetune(config)
    learned = Backbone.from_preset("emotion-small").learned_variables
    model = load_keras_file(run / "model.keras")
    for mine, theirs in zip(model.backbone.learned_variables, learned, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (mine, theirs)))
    head, shipped = (m.distribution.dense.kernel for m in (model, load_preset("emotion-small")))
    np.testing.assert_allclose(head, 0.75 * keras.ops.convert_to_numpy(shipped), atol=1e-4)
    assert 0 < run.info["result"]["threshold"] < 1
    # Eight labels show each emotion of the corpus, surprise among them, once.
    assert run.info["result"]["not_learned"] == []
    zero = dataclasses.replace(config, run=str(tmp_path / "zero"), labels=0)
    assert mosei_ssl.finetune(zero).info["result"]["not_learned"] == ["surprise"]
    fresh = dataclasses.replace(config, run=str(tmp_path / "one"), labels=1, pretrained=None)
    fresh = mosei_ssl.finetune(dataclasses.replace(fresh, from_scratch=True))
    (label,) = json.loads((fresh / "labels.json").read_text())
    train = load_segments(config, "train").named([(label["video_id"], label["segment_id"])])
    shown = {EMOTIONS[column] for column in np.flatnonzero(train.emotions[0])}
    assert set(fresh.info["result"]["not_learned"]) == set(EMOTIONS) - shown
    # Whoever starts from this run learns of the speakers of both.
    seen = set(json.loads((run / "videos.json").read_text()))
    before = json.loads((presets.find("emotion-small") / "videos.json").read_text())
    assert len(before) > 40
    assert seen > set(before)


def test_the_threshold_is_where_emotional_and_neutral_segments_part_best():
    labels = np.array([[0, 0], [0, 0], [0, 0], [2, 0], [0, 1], [3, 0]])
    strongest = np.array([0.1, 0.2, 0.6, 0.3, 0.5, 0.7])
    # At 0.3 all emotional and two of three neutral segments are right, at 0.7 one of three and all.
    assert emotion_threshold(labels, np.stack([strongest / 2, strongest], axis=1)) == 0.3
    assert emotion_threshold(labels[:3], strongest[:3, None]) == 0.5
