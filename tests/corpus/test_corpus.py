"""From a folder of recordings and a spreadsheet to a corpus."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
import threadpoolctl
from deadly_store import DeadlyStore
from voices import RATE, pulse_train

from mosei_ssl.corpus import extract_corpus, extract_file, extraction, extraction_pool
from mosei_ssl.corpus import feature_store as stores
from mosei_ssl.corpus.extraction_pool import extract_to_store
from mosei_ssl.corpus.feature_store import FeatureStore
from mosei_ssl.corpus.label_table import read_labels
from mosei_ssl.corpus.recordings import find_audio, video_ids
from mosei_ssl.corpus.speaker_folds import speaker_disjoint_folds, speaker_groups
from mosei_ssl.covarep import ExtractionOptions
from mosei_ssl.utils import progress
from mosei_ssl.utils.errors import UserError

soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Six short recordings of three speakers."""
    folder = tmp_path_factory.mktemp("recordings")
    for k in range(6):
        soundfile.write(folder / f"clip{k}.wav", pulse_train(110 + 20 * k, 0.9, seed=k), RATE)
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Features that cost nothing: 50 rows of zeros for every file that is not text."""

    def zeros(path, **options):
        if path.read_bytes().startswith(b"not audio"):
            raise UserError(f"{path}: not readable as audio")
        return np.zeros((50, 74), np.float32)

    monkeypatch.setattr(extraction_pool, "extract_file", zeros)
    return zeros


def write_labels(path):
    lines = ["file,start,end,happy,anger,speaker"]
    lines += [f"clip{k}.wav,0,0.5,{k % 4},,s{k % 3}" for k in range(6)]
    lines += ["clip0.wav,0.5,,,2.5,s0"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def labels(tmp_path):
    return write_labels(tmp_path / "labels.csv")


@pytest.fixture(scope="module")
def report(tmp_path_factory, recordings):
    """What a whole corpus came to, with labels; for reading only."""
    folder = tmp_path_factory.mktemp("whole")
    return extract_corpus(
        [recordings], folder / "corpus" / "speech.csd", write_labels(folder / "labels.csv")
    )


def test_corpus_is_one_the_dataset_reads(report, recordings):
    from tfds_mosei.csd import ComputationalSequence

    assert report.failed == {}
    assert report.segments == 7
    assert report.rows == {f"clip{k}": 90 for k in range(6)}
    assert report.seconds == pytest.approx(5.4)
    with ComputationalSequence(report.features) as sequence:
        assert sequence.root == "COVAREP"
        assert sequence.metadata["approximate columns"] == ["creak"]
        intervals, features = sequence.read("clip2")
        np.testing.assert_array_equal(features, extract_file(recordings / "clip2.wav"))
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


def test_dataset_can_be_built_from_it(tmp_path, report):
    import tfds_mosei

    folder = report.features.parent
    builder = tfds_mosei.build("covarep", data_dir=tmp_path / "data", manual_dir=folder)
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


def test_interrupted_extraction_resumes(tmp_path, recordings, monkeypatch, quick):
    calls = []

    def stop_after_two(path, **options):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return quick(path, **options)

    monkeypatch.setattr(extraction_pool, "extract_file", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        extract_corpus([recordings], tmp_path / "out.csd")
    assert not (tmp_path / "out.csd").exists()
    monkeypatch.setattr(extraction_pool, "extract_file", quick)
    report = extract_corpus([recordings], tmp_path / "out.csd")
    assert report.reused == 2
    assert len(report.rows) == 6


def test_other_options_compute_again(tmp_path, recordings, quick):
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio")
    audio = [recordings / "clip0.wav", broken]
    extract_corpus(audio, tmp_path / "out.csd")
    assert extract_corpus(audio, tmp_path / "out.csd").reused == 1
    assert extract_corpus(audio, tmp_path / "out.csd", dither=1e-4).reused == 0


def test_an_unforeseen_failure_is_reported(tmp_path, recordings, monkeypatch, quick):
    def trip(path, **options):
        if path.stem == "clip3":
            raise IndexError("out of reach")
        return quick(path, **options)

    monkeypatch.setattr(extraction_pool, "extract_file", trip)
    report = extract_corpus([recordings], tmp_path / "out.csd")
    assert len(report.rows) == 5
    assert "IndexError" in report.failed[str(recordings / "clip3.wav")]


def test_whatever_a_recording_does_is_reported(tmp_path, recordings, monkeypatch):
    def trip(path, **options):
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(extraction_pool, "extract_file", trip)
    outcome = extract_to_store(
        recordings / "clip0.wav", FeatureStore(tmp_path / "parts", ExtractionOptions())
    )
    assert "KeyError" in outcome.error


def test_nothing_left_to_do_needs_no_processes(tmp_path, recordings, quick):
    good = [recordings / "clip0.wav", recordings / "clip1.wav"]
    extract_corpus([*good, tmp_path / "gone.wav"], tmp_path / "out.csd")
    report = extract_corpus(good, tmp_path / "out.csd", workers=2)
    assert report.reused == 2
    assert report.rows == {"clip0": 50, "clip1": 50}


def test_a_recording_changed_while_it_was_read_is_not_kept(
    tmp_path, recordings, monkeypatch, quick
):
    recording = tmp_path / "clip.wav"
    recording.write_bytes(b"first")

    def change(path, **options):
        path.write_bytes(b"another")
        return quick(path, **options)

    monkeypatch.setattr(extraction_pool, "extract_file", change)
    store = FeatureStore(tmp_path / "parts", ExtractionOptions())
    assert "changed meanwhile" in extract_to_store(recording, store).error
    assert store.load(recording) is None
    monkeypatch.setattr(extraction_pool, "extract_file", quick)
    assert extract_to_store(recording, store).rows == 50
    assert len(store.load(recording)) == 50


def test_two_processes_may_finish_one_recording(tmp_path, recordings, monkeypatch):
    store = FeatureStore(tmp_path / "parts", ExtractionOptions())
    recording = recordings / "clip0.wav"
    number, savez = [1], np.savez
    monkeypatch.setattr(stores.os, "getpid", lambda: number[0])

    def meanwhile(file, **arrays):
        if number == [1]:
            number[0] = 2
            store.save(recording, np.ones((2, 74)), arrays["fingerprint"])
        savez(file, **arrays)

    monkeypatch.setattr(stores.np, "savez", meanwhile)
    store.save(recording, np.ones((1, 74)), store.fingerprint(recording))
    assert len(store.load(recording)) == 1


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="names are taken for text here")
def test_names_that_are_not_utf8_are_spelled_out(tmp_path, caplog):
    caplog.set_level("INFO")
    from tfds_mosei.csd import ComputationalSequence

    folder = tmp_path / "recordings"
    folder.mkdir()
    plain = folder / "plain.wav"
    soundfile.write(plain, pulse_train(120, 0.3), RATE)
    try:
        plain.rename(folder / os.fsdecode(b"caf\xe9.wav"))
    except OSError as error:
        pytest.skip(f"this file system takes no such names: {error}")
    (folder / os.fsdecode(b"bad\xe8.wav")).write_text("not audio")
    report = extract_corpus([folder], tmp_path / "out.csd")
    assert report.rows == {"caf\\xe9": 30}
    (message,) = report.failed.values()
    assert message.startswith(f"{folder}/bad\\xe8.wav: not readable as audio (Format not")
    # A terminal would refuse what cannot be encoded.
    assert caplog.text.encode().count(b"\\x") == 2
    with ComputationalSequence(tmp_path / "out.csd") as sequence:
        assert list(sequence.video_ids) == ["caf\\xe9"]


@pytest.mark.slow
def test_processes_give_the_same_corpus_whatever_kills_one(tmp_path, recordings, monkeypatch):
    from tfds_mosei.csd import ComputationalSequence

    audio = [recordings / f"clip{k}.wav" for k in range(3)]
    extract_corpus([audio[0], audio[2]], tmp_path / "one.csd")
    monkeypatch.setattr(extraction, "FeatureStore", DeadlyStore)
    report = extract_corpus([*audio, tmp_path / "gone.wav"], tmp_path / "two.csd", workers=2)
    assert set(report.failed) == {str(tmp_path / "gone.wav"), str(audio[1])}
    assert "clip1.wav: the process died" in report.failed[str(audio[1])]
    with (
        ComputationalSequence(tmp_path / "one.csd") as one,
        ComputationalSequence(tmp_path / "two.csd") as two,
    ):
        assert list(one.video_ids) == list(two.video_ids) == ["clip0", "clip2"]
        for video in one.video_ids:
            np.testing.assert_array_equal(two.read(video)[1], one.read(video)[1])


STOPPED = """
import sys
from mosei_ssl.corpus import extract_corpus, extraction
from mosei_ssl.utils.signals import Interrupted
extract_all = extraction.extract_all
def announced(*args):
    for outcome in extract_all(*args):
        print(outcome.recording, flush=True)
        yield outcome
extraction.extract_all = announced
try:
    extract_corpus(sys.argv[2:], sys.argv[1], workers=2)
except Interrupted as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_processes_and_the_same_call_resumes(tmp_path, number):
    for k in range(3):
        soundfile.write(tmp_path / f"clip{k}.wav", pulse_train(120, 0.5 if k else 60), RATE)
    audio, out = [str(tmp_path / f"clip{k}.wav") for k in range(3)], tmp_path / "out.csd"
    command = [sys.executable, "-c", STOPPED, str(out), *audio]
    # In a separate group, which Ctrl-C reaches as a whole.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, start_new_session=True, text=True, **pipes)
    finished = {process.stdout.readline().strip() for _ in range(2)}
    assert finished == set(audio[1:])
    workers = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert not out.exists()
    _, left_behind = psutil.wait_procs(workers, timeout=10)
    assert workers
    assert not left_behind
    soundfile.write(audio[0], pulse_train(120, 0.5), RATE)
    assert extract_corpus(audio, out).reused == 2


def test_one_worker_has_one_thread(tmp_path, recordings, monkeypatch, quick):
    threads = []

    def count(path, **options):
        threads.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
        return quick(path, **options)

    monkeypatch.setattr(extraction_pool, "extract_file", count)
    with threadpoolctl.threadpool_limits(2):
        extract_corpus([recordings / "clip0.wav"], tmp_path / "out.csd")
    assert set(threads) == {1}


def test_progress_is_logged(tmp_path, recordings, monkeypatch, quick, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.01)
    handle = progress.logger.handle

    reported, calls = threading.Event(), itertools.count()
    monkeypatch.setattr(progress.logger, "handle", lambda record: handle(record) or reported.set())

    def until_reported(path, **options):
        done = next(calls)
        while f"extracting: {done} of 6 done" not in caplog.text:
            reported.wait(1)
            reported.clear()
        return quick(path, **options)

    monkeypatch.setattr(extraction_pool, "extract_file", until_reported)
    extract_corpus([recordings], tmp_path / "out.csd")
    assert "extracting: 0 of 6 done (0 %), time left unknown" in caplog.text
    assert "extracting: 5 of 6 done (83 %), about 0 s left" in caplog.text


def test_existing_output_is_not_lost(tmp_path, recordings, quick):
    (tmp_path / "out.csd").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        extract_corpus([recordings], tmp_path / "out.csd")
    assert (tmp_path / "out.csd").read_text() == "precious"
    assert extract_corpus([recordings / "clip0.wav"], tmp_path / "out.csd", overwrite=True).rows


@pytest.fixture
def incomplete(tmp_path, recordings, quick, labels):
    """A call, and what it made of a recording that could not be used; another would complete it."""
    bad = tmp_path / "clip0.wav"
    bad.write_text("not audio")
    audio = [bad, *(recordings / f"clip{k}.wav" for k in range(1, 6))]
    out = tmp_path / "corpus" / "speech.csd"

    def call(**options):
        return extract_corpus(audio, out, labels, **options)

    assert list(call().failed) == [str(bad)]
    bad.write_bytes(b"RIFF")
    return call


def test_incomplete_output_is_completed(incomplete):
    report = incomplete()
    assert report.failed == {}
    assert report.reused == 5
    assert len(report.rows) == 6
    ids = json.loads(report.folds.read_text())
    assert sum(map(len, ids.values())) == 6


@pytest.mark.parametrize("step", ["_extract_missing", "write_features", "write_labels"])
def test_an_interrupted_completion_can_be_repeated(incomplete, monkeypatch, step):
    with monkeypatch.context() as patch:

        def interrupted(*_):
            raise KeyboardInterrupt

        patch.setattr(extraction, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            incomplete()
    assert len(incomplete().rows) == 6


@pytest.mark.parametrize("name", ["folds.json", "speech.csd", "speech_labels.csd"])
def test_output_changed_since_is_not_lost(tmp_path, incomplete, name):
    path = tmp_path / "corpus" / name
    path.write_text("by hand")
    with pytest.raises(
        UserError, match=f"{name} exists already and was changed since it was written"
    ):
        incomplete()
    assert path.read_text() == "by hand"
    assert len(incomplete(overwrite=True).rows) == 6
    assert path.read_bytes() != b"by hand"


def test_folds_written_during_the_extraction_are_not_lost(
    tmp_path, recordings, quick, labels, monkeypatch
):
    folds = tmp_path / "folds.json"

    def write_folds(path, **options):
        folds.write_text("by hand")
        return quick(path, **options)

    monkeypatch.setattr(extraction_pool, "extract_file", write_folds)
    with pytest.raises(UserError, match=r"folds\.json exists already"):
        extract_corpus([recordings], tmp_path / "out.csd", labels)
    assert folds.read_text() == "by hand"
    folds.unlink()
    assert extract_corpus([recordings], tmp_path / "out.csd", labels).reused == 6


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


def test_what_macos_adds_to_archives_is_skipped(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("a.wav", "._a.wav", "__MACOSX/b/._c.mp3", "__MACOSX/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert [path.name for path in find_audio([tmp_path, tmp_path / "._a.wav"])] == ["a.wav"]
    assert "4 files that macOS added" in caplog.text
    with pytest.raises(UserError, match="no audio files"):
        find_audio([tmp_path / "__MACOSX"])


def test_links_do_not_make_two_recordings_of_one(tmp_path, caplog):
    (tmp_path / "a.wav").write_text("")
    (tmp_path / "b.wav").symlink_to("a.wav")
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    found = find_audio([tmp_path])
    assert [path.name for path in found] == ["a.wav", "circle.wav"]
    assert video_ids(found) == {found[0]: "a", found[1]: "circle"}
    assert "b.wav is the same file as" in caplog.text


def write(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it lacks id: .* the columns file and any of happy"),
        ("clip,happy\na.wav,1\n", "it lacks id: .* the columns file and any of happy"),
        ("file,start\na.wav,1\n", "no emotion"),
        ("file,happy,Happy\na.wav,1,1\n", "twice"),
        ("file,happy\n", "no rows"),
        ("file,happy\nz.wav,1\n", "line 2: 'z.wav' is not one of the 3"),
        ("file,happy\na.wav,1\n,2\n", "line 3: the column 'file' is blank"),
        ("file,happy\na.wav,very\n", "line 2: happy is 'very'"),
        ("file,happy\na.wav,4\n", "outside 0 to 3"),
        ("file,start,end,happy\na.wav,2,1,1\n", "end 1 is not after start 2"),
        ("file,happy\na.wav,nan\n", "outside"),
        ("file,happy\na.wav,1,5\n", "line 2: 3 cells, but 2 columns"),
        ("file,start,happy,speaker\na.wav,0,1,5,\n", "line 2: 5 cells, but 4 columns"),
        ("file,happy,speaker,,\na.wav,1,5,anna,\n", "line 2: 5 cells, but 3 columns"),
        ('file,happy,speaker\na.wav,1,x\nb.wav,1,"y\nc.wav,1,z\n', "line 3: .* quote"),
        ('file,happy,speaker\na.wav,1,"x\nb.wav,1,"y"\n', "line 2: .* quote"),
        ('file,happy,speaker\na.wav,1,"x\nb.wav,1,"\n', "line 2: speaker .* quote"),
        ("file,happy\n\na.wav,1\n\nb.wav,9\n", "line 5: happy"),
        (
            "file,happy\na.wav,1\nb.wav,1\na.wav,2\n",
            "line 4: the labels differ from .* line 2",
        ),
        ("file,happy\na.2,1\n", "'a.2' is not one of"),
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


def test_paths_written_on_windows_are_found(tmp_path):
    paths = [tmp_path / name for name in ("a/1.wav", "a/2.wav", "b/1.wav", "c\\3.wav", "d/3.wav")]
    text = "file,happy,speaker\n"
    for number, name in enumerate(
        [r"a\1.wav", r".\a\2.mp4", r"D:\Data\b\1.wav", r"c\3.wav", r"d\3"]
    ):
        text += f"{name},{number / 2},x\n"
    table = read_labels(write(tmp_path, text), paths)
    assert [table.segments[path][0].values[1] for path in paths] == [0, 0.5, 1, 1.5, 2]


@pytest.mark.parametrize("name", [r"x\1.wav", r"C:\1.wav", r"C:\x\1.wav"])
def test_paths_of_windows_are_not_guessed(tmp_path, name):
    with pytest.raises(UserError, match=r"line 2: .* is not one of the 2"):
        read_labels(
            write(tmp_path, f"file,happy\n{name},1\n"), [tmp_path / "a/1.wav", tmp_path / "b/1.wav"]
        )


def test_repeated_rows_count_once_with_a_warning(tmp_path, caplog):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    text = "file,start,happy,speaker\na,0,1,x\nb,0,1,x\na.wav,0.0,1.0,y\na,1,1,x\n"
    table = read_labels(write(tmp_path, text), [a, b])
    assert [segment.line for segment in table.segments[a]] == [2, 5]
    assert table.speakers == {a: {"x", "y"}, b: {"x"}}
    assert "1 row(s) repeat an earlier one and count once (labels.csv, line 4)" in caplog.text


def test_empty_columns_at_the_end_are_accepted(tmp_path):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    text = "file,happy,,,\na.wav,1,,,\n,,,,,,\nb.wav,2\n"
    table = read_labels(write(tmp_path, text), [a, b])
    assert [table.segments[path][0].values[1] for path in (a, b)] == [1, 2]


def test_only_endings_of_audio_are_cut_from_names(tmp_path):
    paths = [tmp_path / name for name in ("talk.wav", "talk.3.wav")]
    for ending in (".mp3", ".mp4"):
        table = read_labels(write(tmp_path, f"file,happy\ntalk{ending},1\ntalk.3,2\n"), paths)
        assert [table.segments[path][0].line for path in paths] == [2, 3]
    with pytest.raises(UserError, match=r"line 2: 'talk\.2' is not one of the 2"):
        read_labels(write(tmp_path, "file,happy\ntalk.2,1\n"), paths)


def test_a_speaker_may_be_written_in_several_ways(tmp_path):
    table, paths = make_table(tmp_path, ["Zoë", "zoe\u0308", "ZOË", "zoe"])
    assert speaker_groups(table, paths) == [paths[:3], paths[3:]]


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


def link(tmp_path, pairs):
    """A table of recordings with two speakers each."""
    paths = [tmp_path / f"{k}.wav" for k in range(len(pairs))]
    rows = [
        f"{k}.wav,{at},1,{name}" for k, pair in enumerate(pairs) for at, name in enumerate(pair)
    ]
    text = "file,start,sad,speaker\n" + "\n".join(rows)
    return read_labels(write(tmp_path, text), paths), paths


def test_speakers_linked_by_recordings_are_not_called_one(tmp_path, caplog):
    folds = speaker_disjoint_folds(*link(tmp_path, ["ab", "bc", "cd", "da"]))
    assert all(folds.values())
    assert "4 speakers, but recordings they share link all of them: the same" in caplog.text
    assert "single" not in caplog.text


def test_two_groups_of_speakers_are_not_called_two_speakers(tmp_path, caplog):
    folds = speaker_disjoint_folds(*link(tmp_path, ["ab", "ab", "cd", "dc"]))
    assert sorted(map(len, folds.values())) == [1, 1, 2]
    assert "4 speakers, but recordings they share link them into two groups: one" in caplog.text


def test_a_blank_speaker_next_to_a_name_is_not_another_speaker(tmp_path, caplog):
    folds = speaker_disjoint_folds(*link(tmp_path, [("a", ""), ("a", ""), ("a", "")]))
    assert all(folds.values())
    assert "a single speaker" in caplog.text


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
