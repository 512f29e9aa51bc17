"""From a folder of recordings and a spreadsheet to a corpus."""

import json

import numpy as np
import pytest
from voices import RATE, pulse_train

from mosei_ssl.covarep import extract_corpus, extract_file, parts
from mosei_ssl.covarep.corpus import find_audio, video_ids
from mosei_ssl.covarep.own_labels import read_labels, speaker_disjoint_folds
from mosei_ssl.errors import UserError

soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Six short recordings of three speakers."""
    folder = tmp_path_factory.mktemp("recordings")
    for k in range(6):
        soundfile.write(folder / f"clip{k}.wav", pulse_train(110 + 20 * k, 0.9, seed=k), RATE)
    return folder


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    lines = ["file,start,end,happy,anger,speaker"]
    lines += [f"clip{k}.wav,0,0.5,{k % 4},,s{k % 3}" for k in range(6)]
    lines += ["clip0.wav,0.5,,,2.5,s0"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_corpus_is_one_the_dataset_reads(tmp_path, recordings, labels):
    from tfds_mosei.csd import ComputationalSequence

    report = extract_corpus([recordings], tmp_path / "corpus" / "speech.csd", labels)
    assert report.failed == {}
    assert report.segments == 7
    assert report.rows == {f"clip{k}": 90 for k in range(6)}
    assert report.seconds == pytest.approx(5.4)
    with ComputationalSequence(report.features) as sequence:
        assert sequence.root == "COVAREP"
        assert sequence.metadata["approximate columns"] == ["creak"]
        intervals, features = sequence.read("clip2")
        expected, _ = extract_file(recordings / "clip2.wav")
        np.testing.assert_array_equal(features, expected.astype(np.float32))
        np.testing.assert_allclose(intervals[[0, -1]], [[0, 0.01], [0.89, 0.9]])
    with ComputationalSequence(report.labels) as sequence:
        assert sequence.root == "All Labels"
        intervals, values = sequence.read("clip0")
        np.testing.assert_allclose(intervals, [[0, 0.5], [0.5, 0.9]])
        np.testing.assert_allclose(values, [[0] * 7, [0, 0, 0, 2.5, 0, 0, 0]])
    folds = json.loads(report.folds.read_text())
    assert sorted(name for ids in folds.values() for name in ids) == [f"clip{k}" for k in range(6)]
    assert all({int(name[-1]) % 3 for name in ids} for ids in folds.values())
    assert not list(report.features.parent.glob(".*parts"))


def test_dataset_can_be_built_from_it(tmp_path, recordings, labels):
    import tfds_mosei

    extract_corpus([recordings], tmp_path / "corpus" / "speech.csd", labels)
    builder = tfds_mosei.build(
        "covarep", data_dir=tmp_path / "data", manual_dir=tmp_path / "corpus"
    )
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sum(counts[name] for name in ("train", "validation", "test")) == 7


def test_bad_recordings_stop_nothing(tmp_path, recordings):
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio")
    report = extract_corpus(
        [broken, recordings / "clip0.wav", tmp_path / "missing.flac"], tmp_path / "out.csd"
    )
    assert list(report.rows) == ["clip0"]
    assert set(report.failed) == {str(broken), str(tmp_path / "missing.flac")}
    assert "not readable as audio" in report.failed[str(broken)]
    # What was done is kept, so that another try needs only the others.
    soundfile.write(broken, pulse_train(120, 0.9), RATE)
    again = extract_corpus([broken, recordings / "clip0.wav"], tmp_path / "out.csd")
    assert again.reused == 1
    assert set(again.rows) == {"broken", "clip0"}


def test_interrupted_extraction_goes_on(tmp_path, recordings, monkeypatch):
    calls = []
    original = parts.extract_file

    def stop_after_two(path, **options):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(path, **options)

    monkeypatch.setattr(parts, "extract_file", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        extract_corpus([recordings], tmp_path / "out.csd")
    assert not (tmp_path / "out.csd").exists()
    monkeypatch.setattr(parts, "extract_file", original)
    report = extract_corpus([recordings], tmp_path / "out.csd")
    assert report.reused == 2
    assert len(report.rows) == 6


def test_other_options_compute_again(tmp_path, recordings):
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio")
    audio = [recordings / "clip0.wav", broken]
    extract_corpus(audio, tmp_path / "out.csd")
    assert extract_corpus(audio, tmp_path / "out.csd").reused == 1
    assert extract_corpus(audio, tmp_path / "out.csd", dither=1e-4).reused == 0
    assert extract_corpus(audio, tmp_path / "out.csd", dither=1e-4, resume=False).reused == 0


def test_an_unforeseen_failure_is_reported(tmp_path, recordings, monkeypatch):
    original = parts.extract_file

    def trip(path, **options):
        if path.stem == "clip3":
            raise IndexError("out of reach")
        return original(path, **options)

    monkeypatch.setattr(parts, "extract_file", trip)
    report = extract_corpus([recordings], tmp_path / "out.csd")
    assert len(report.rows) == 5
    assert "IndexError" in report.failed[str(recordings / "clip3.wav")]


@pytest.mark.slow
def test_processes_give_the_same_corpus(tmp_path, recordings):
    from tfds_mosei.csd import ComputationalSequence

    extract_corpus([recordings], tmp_path / "one.csd")
    report = extract_corpus([recordings, tmp_path / "gone.wav"], tmp_path / "two.csd", workers=2)
    assert list(report.failed) == [str(tmp_path / "gone.wav")]
    with (
        ComputationalSequence(tmp_path / "one.csd") as one,
        ComputationalSequence(tmp_path / "two.csd") as two,
    ):
        for video in one.video_ids:
            np.testing.assert_allclose(two.read(video)[1], one.read(video)[1], atol=1e-4)


def test_existing_output_is_not_lost(tmp_path, recordings):
    (tmp_path / "out.csd").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        extract_corpus([recordings], tmp_path / "out.csd")
    assert (tmp_path / "out.csd").read_text() == "precious"
    assert extract_corpus([recordings / "clip0.wav"], tmp_path / "out.csd", overwrite=True).rows


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(UserError, match="none of the 1 recordings"):
        extract_corpus([tmp_path / "a.wav"], tmp_path / "out.csd")
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match="no audio files in this folder"):
        extract_corpus([tmp_path / "void"], tmp_path / "out.csd")
    with pytest.raises(UserError, match="workers"):
        extract_corpus([tmp_path / "a.wav"], tmp_path / "out.csd", workers=0)


def test_ids_are_as_short_as_they_can_be(tmp_path):
    a, b = tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav"
    assert list(video_ids([a, tmp_path / "a" / "y.wav"]).values()) == ["x", "y"]
    assert list(video_ids([a, b]).values()) == ["a__x", "b__x"]
    assert list(video_ids([a, tmp_path / "a" / "x.mp3"]).values()) == ["x.wav", "x.mp3"]


def test_folders_are_searched(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.WAV", "deep/a.mp3", "notes.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in find_audio([tmp_path, tmp_path / "b.WAV"])] == ["b.WAV", "a.mp3"]


def write(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'file'"),
        ("name,happy\na.wav,1\n", "no column 'file'"),
        ("file,start\na.wav,1\n", "no emotion"),
        ("file,happy,Happy\na.wav,1,1\n", "twice"),
        ("file,happy\n", "no rows"),
        ("file,happy\nz.wav,1\n", "line 2: 'z.wav' is not one of the 3"),
        ("file,happy\na.wav,1\n,2\n", "line 3: the column 'file' is blank"),
        ("file,happy\na.wav,very\n", "line 2: happy is 'very'"),
        ("file,happy\na.wav,4\n", "outside 0 to 3"),
        ("file,start,end,happy\na.wav,2,1,1\n", "end 1 is not after start 2"),
        ("file,happy\na.wav,nan\n", "outside"),
    ],
)
def test_label_mistakes_are_pointed_at(tmp_path, text, message):
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    with pytest.raises(UserError, match=message):
        read_labels(write(tmp_path, text), paths)


def test_labels_may_use_semicolons_and_names_without_ending(tmp_path):
    paths = [tmp_path / name for name in ("a.wav", "b.wav")]
    table = read_labels(write(tmp_path, "\ufeffFile;Happy;speaker\na;1.5;x\nb.wav;;y\n"), paths)
    assert table.segments[paths[0]][0].values == (0, 1.5, 0, 0, 0, 0, 0)
    assert table.segments[paths[1]][0].end == float("inf")
    assert table.speakers[paths[1]] == {"y"}


def test_speakers_stay_on_one_side(tmp_path):
    paths = [tmp_path / f"{k}.wav" for k in range(40)]
    rows = [f"{k}.wav,1,s{k % 9}" for k in range(40)] + ["3.wav,1,s4"]
    table = read_labels(write(tmp_path, "file,sad,speaker\n" + "\n".join(rows)), paths)
    for seed in range(5):
        folds = speaker_disjoint_folds(table, paths, seed)
        speakers = {name: {int(p.stem) % 9 for p in ids} for name, ids in folds.items()}
        for members in speakers.values():
            # Recording 3 has two speakers, 3 and 4: they stay together.
            members |= {3, 4} if members & {3, 4} else set()
        assert sum(map(len, speakers.values())) == 9
        assert sum(map(len, folds.values())) == 40
        assert len(folds["train"]) > len(folds["test"])
    assert speaker_disjoint_folds(table, paths, 3) == speaker_disjoint_folds(table, paths, 3)


def make_table(tmp_path, speakers):
    paths = [tmp_path / f"{k}.wav" for k in range(len(speakers))]
    rows = "\n".join(f"{k}.wav,1,{speaker}" for k, speaker in enumerate(speakers))
    return read_labels(write(tmp_path, "file,sad,speaker\n" + rows), paths), paths


def test_of_two_speakers_one_is_for_training(tmp_path, caplog):
    table, paths = make_table(tmp_path, "aabbabab")
    folds = speaker_disjoint_folds(table, paths)
    sizes = {split: len(ids) for split, ids in folds.items()}
    assert sizes == {"train": 4, "validation": 2, "test": 2}
    trained = {next(iter(table.speakers[path])) for path in folds["train"]}
    tested = {next(iter(table.speakers[p])) for p in folds["validation"] + folds["test"]}
    assert (len(trained), len(trained & tested)) == (1, 0)
    assert "two speakers" in caplog.text


def test_a_lone_recording_of_a_second_speaker_is_for_training(tmp_path):
    table, paths = make_table(tmp_path, "aaab")
    folds = speaker_disjoint_folds(table, paths)
    assert folds["train"] == [paths[3]]
    assert sorted(folds["validation"] + folds["test"]) == paths[:3]


def test_a_single_speaker_is_divided_with_a_warning(tmp_path, caplog):
    table, paths = make_table(tmp_path, "aaaaa")
    folds = speaker_disjoint_folds(table, paths)
    assert [len(folds[name]) for name in ("train", "validation", "test")] == [3, 1, 1]
    assert "single speaker" in caplog.text


def test_two_recordings_are_too_few(tmp_path):
    table, paths = make_table(tmp_path, "ab")
    with pytest.raises(UserError, match="at least 3"):
        speaker_disjoint_folds(table, paths)


def test_without_speakers_every_file_counts_as_one(tmp_path, caplog):
    paths = [tmp_path / f"{k}.wav" for k in range(5)]
    rows = "\n".join(f"{k}.wav,1" for k in range(5))
    table = read_labels(write(tmp_path, "file,sad\n" + rows), paths)
    folds = speaker_disjoint_folds(table, paths)
    assert [len(folds[name]) for name in ("train", "validation", "test")] == [3, 1, 1]
    assert "no column 'speaker'" in caplog.text


def test_folds_do_without_recordings_that_failed(tmp_path, recordings, labels):
    for name in ("clip1.wav", "clip4.wav"):
        (tmp_path / name).write_text("not audio")
    good = [recordings / f"clip{k}.wav" for k in (0, 2, 3, 5)]
    bad = [tmp_path / "clip1.wav", tmp_path / "clip4.wav"]
    report = extract_corpus([*good, *bad], tmp_path / "corpus" / "speech.csd", labels)
    folds = json.loads(report.folds.read_text())
    assert all(folds.values())
    assert sorted(name for ids in folds.values() for name in ids) == [
        *("clip0", "clip2", "clip3", "clip5")
    ]
    assert report.segments == 5
