"""From a folder of recordings and a spreadsheet to a corpus."""

import dataclasses
import itertools
import json
import multiprocessing
import os
import signal
import sys
import threading

import numpy as np
import psutil
import pytest
from children import start_child
from deadly_cache import DeadlyCache
from voices import RATE, pulse_train

from mosei_ssl.corpus import extract_corpus, extract_file, extraction, feature_cache
from mosei_ssl.corpus.extraction_pool import extract_to_cache
from mosei_ssl.corpus.feature_cache import FeatureCache
from mosei_ssl.covarep import ExtractionOptions
from mosei_ssl.utils import progress
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.signals import Interrupted
from tfds_mosei.sources import SourceFiles

soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def report(tmp_path_factory, recordings, write_labels):
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
    assert not list(report.features.parent.glob(".*"))


def test_dataset_can_be_built_from_it(tmp_path, report, monkeypatch):
    import tfds_mosei

    monkeypatch.setattr("tfds_mosei.report_page.render_page", lambda *_: "<html></html>")
    folder = report.features.parent
    builder = tfds_mosei.build("covarep", data_dir=tmp_path / "data", manual_dir=folder)
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sum(counts[name] for name in ("train", "validation", "test")) == 7
    folds = json.loads(report.folds.read_text())
    assert builder.info.metadata["sampling_rates"] == {"16000": len(folds["train"])}


def test_low_rates_are_noted_and_told_in_one_line(tmp_path, recordings, quick, monkeypatch, caplog):
    def telephone(path, options):
        rate = 8000 if path.stem in ("clip1", "clip4") else 16_000
        return dataclasses.replace(quick(path, options), rate=rate)

    monkeypatch.setattr(feature_cache, "analyse_file", telephone)
    for _ in range(2):  # computed, and from the cache
        caplog.clear()
        report = extract_corpus([recordings], tmp_path / "out.csd", overwrite=True)
        assert report.rates == {f"clip{k}": 8000 if k in (1, 4) else 16_000 for k in range(6)}
        (message,) = caplog.messages
        assert message.startswith("2 of 6 recordings are sampled below 16000 Hz (8000 Hz)")
    assert SourceFiles(tmp_path, (tmp_path / "out.csd",), tmp_path).read_sampling_rates() == (
        report.rates
    )


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_extraction_resumes(tmp_path, recordings, monkeypatch, quick, number):
    calls = []

    def stop_after_two(path, options):
        calls.append(path)
        if len(calls) == 3:
            signal.raise_signal(number)
        return quick(path, options)

    monkeypatch.setattr(feature_cache, "analyse_file", stop_after_two)
    with pytest.raises(Interrupted) as caught:
        extract_corpus([recordings], tmp_path / "out.csd")
    assert caught.value.exit_code == 128 + number
    assert not (tmp_path / "out.csd").exists()
    monkeypatch.setattr(feature_cache, "analyse_file", quick)
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
    def trip(path, options):
        if path.stem == "clip3":
            raise IndexError("out of reach")
        return quick(path, options)

    monkeypatch.setattr(feature_cache, "analyse_file", trip)
    report = extract_corpus([recordings], tmp_path / "out.csd")
    assert len(report.rows) == 5
    assert "IndexError" in report.failed[str(recordings / "clip3.wav")]


def test_whatever_a_recording_does_is_reported(recordings, monkeypatch):
    def trip(path, options):
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(feature_cache, "analyse_file", trip)
    outcome = extract_to_cache(recordings / "clip0.wav", FeatureCache(ExtractionOptions()))
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

    def change(path, options):
        path.write_bytes(b"another")
        return quick(path, options)

    monkeypatch.setattr(feature_cache, "analyse_file", change)
    cache = FeatureCache(ExtractionOptions())
    assert "changed meanwhile" in extract_to_cache(recording, cache).error
    assert not list(cache.folder.rglob("*.npz"))
    monkeypatch.setattr(feature_cache, "analyse_file", quick)
    assert extract_to_cache(recording, cache).rows == 50


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
    assert caplog.text.encode().count(b"\\x") == 1
    with ComputationalSequence(tmp_path / "out.csd") as sequence:
        assert list(sequence.video_ids) == ["caf\\xe9"]


@pytest.mark.slow
def test_processes_give_the_same_corpus_whatever_kills_one(
    tmp_path, report, recordings, monkeypatch
):
    from tfds_mosei.csd import ComputationalSequence

    audio = [recordings / f"clip{k}.wav" for k in range(3)]
    monkeypatch.setattr(extraction, "FeatureCache", DeadlyCache)
    again = extract_corpus([*audio, tmp_path / "gone.wav"], tmp_path / "two.csd", workers=2)
    assert set(again.failed) == {str(tmp_path / "gone.wav"), str(audio[1])}
    assert "clip1.wav: the process died" in again.failed[str(audio[1])]
    with (
        ComputationalSequence(report.features) as one,
        ComputationalSequence(tmp_path / "two.csd") as two,
    ):
        assert list(two.video_ids) == ["clip0", "clip2"]
        for video in two.video_ids:
            np.testing.assert_array_equal(two.read(video)[1], one.read(video)[1])


def extract_and_announce(audio, out, pipe):
    """Sends each recording that is done; gives the exit code."""
    os.setsid()  # a separate group, which Ctrl-C reaches as a whole
    extract_all = extraction.extract_all

    def announced(*args):
        for outcome in extract_all(*args):
            pipe.send(str(outcome.recording))
            yield outcome

    extraction.extract_all = announced
    try:
        extract_corpus(audio, out, workers=2)
    except Interrupted as error:
        return error.exit_code
    return 0


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_and_the_same_call_resumes(tmp_path, empty_cache):
    for k in range(3):
        soundfile.write(tmp_path / f"clip{k}.wav", pulse_train(120, 0.5 if k else 60), RATE)
    audio, out = [str(tmp_path / f"clip{k}.wav") for k in range(3)], tmp_path / "out.csd"
    log, (ours, theirs) = tmp_path / "log", multiprocessing.Pipe()
    process = start_child(
        extract_and_announce,
        *(audio, out, theirs),
        log=log,
        environment={"MOSEI_SSL_CACHE": str(empty_cache)},
    )
    theirs.close()
    finished = set()
    for _ in range(2):
        assert ours.poll(100), log.read_text()
        finished.add(ours.recv())
    assert finished == set(audio[1:])
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    process.join(timeout=30)
    assert process.exitcode == 128 + signal.SIGINT
    assert "Traceback" not in log.read_text()
    assert not out.exists()
    _, left_behind = psutil.wait_procs(workers, timeout=10)
    assert workers
    assert not left_behind
    soundfile.write(audio[0], pulse_train(150, 0.5), RATE)
    assert extract_corpus(audio, out).reused == 2


def test_progress_is_logged(tmp_path, recordings, monkeypatch, quick, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.01)
    handle = progress.logger.handle

    reported, calls = threading.Event(), itertools.count()
    monkeypatch.setattr(progress.logger, "handle", lambda record: handle(record) or reported.set())

    def until_reported(path, options):
        done = next(calls)
        while f"extracting: {done} of 6 done" not in caplog.text:
            reported.wait(1)
            reported.clear()
        return quick(path, options)

    monkeypatch.setattr(feature_cache, "analyse_file", until_reported)
    extract_corpus([recordings], tmp_path / "out.csd")
    assert "extracting: 0 of 6 done (0 %), time left unknown" in caplog.text
    assert "extracting: 5 of 6 done (83 %), about 0 s left" in caplog.text


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(UserError, match="none of the 1 recordings"):
        extract_corpus([tmp_path / "a.wav"], tmp_path / "out.csd")
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match="no audio files in this folder"):
        extract_corpus([tmp_path / "void"], tmp_path / "out.csd")
    with pytest.raises(UserError, match="workers"):
        extract_corpus([tmp_path / "a.wav"], tmp_path / "out.csd", workers=0)


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


def test_segments_far_beyond_their_recordings_are_told(recordings, quick, tmp_path, caplog):
    """Milliseconds, for instance; a fraction of a second too much is nothing to speak of."""
    from tfds_mosei.csd import ComputationalSequence

    ends = ["", "1.2", "400", "1400", "1600", "0.5"]
    lines = [f"clip{k}.wav,0,{end},1" for k, end in enumerate(ends)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,start,end,happy", *lines]))
    report = extract_corpus([recordings], tmp_path / "speech.csd", table)
    assert "labels.csv: 3 segments end more than 1 s after their recording" in caplog.text
    assert caplog.text.count("in seconds?") == 1
    with ComputationalSequence(report.labels) as sequence:
        found = [sequence.read(f"clip{k}")[0][0, 1] for k in range(6)]
    np.testing.assert_allclose(found, [0.5] * 6)
