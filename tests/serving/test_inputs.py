"""What is read from files, worked out by hand."""

import logging

import numpy as np
import pytest

from mosei_ssl.serving.inputs import read_segments, windows
from mosei_ssl.serving.output import flat
from mosei_ssl.serving.predictor import Predictor, predict_records
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from tfds_mosei import csd, schema


def rows_numbered(count, offset=0):
    return np.repeat(np.arange(offset, offset + count, dtype=np.float32)[:, None], 74, axis=1)


def times(count, start=0.0):
    begin = start + np.arange(count) / 100
    return np.stack([begin, begin + 0.01], axis=1)


@pytest.fixture
def speech(tmp_path):
    """Recording a of 3 s, recording b of 1 s that starts at 5 s."""
    return csd.write(
        tmp_path / "speech.csd",
        "COVAREP",
        [("a", times(300), rows_numbered(300)), ("b", times(100, 5.0), rows_numbered(100, 1000))],
        dimension_names=schema.FEATURE_NAMES,
    )


@pytest.fixture
def labels(tmp_path):
    videos = [
        ("a", np.array([[1.0, 2.5], [0.0, 1.0]]), np.zeros((2, 7))),
        ("b", np.array([[5.2, 5.3], [9.0, 9.5]]), np.zeros((2, 7))),
        ("c", np.array([[0.0, 1.0]]), np.zeros((1, 7))),
    ]
    names = ["sentiment", *schema.EMOTIONS]
    return csd.write(tmp_path / "labels.csd", "All Labels", videos, dimension_names=names)


def summary(segments):
    return [
        (s.name, round(s.start, 3), round(s.end, 3), s.features[0, 0], len(s.features))
        for s in segments
    ]


@pytest.mark.parametrize("segments", [None, "labels"])
def test_columns_follow_the_names_in_the_file_as_in_the_dataset(tmp_path, labels, segments):
    order = np.random.default_rng(0).permutation(74)
    rows = np.arange(300 * 74, dtype=np.float32).reshape(300, 74)
    names = [schema.FEATURE_NAMES[i] for i in order]
    path = tmp_path / "other.csd"
    csd.write(path, "COVAREP", [("a", times(300), rows[:, order])], dimension_names=names)
    first = next(iter(read_segments(path, labels if segments else None)))
    begin = 100 if segments else 0
    np.testing.assert_array_equal(first.features, rows[begin : begin + len(first.features)])


def test_label_file_gives_the_segments(speech, labels, caplog):
    with caplog.at_level(logging.WARNING):
        found = list(read_segments(speech, labels))
    # Rows 100..249 lie within 1.00 and 2.50 s; the frame that starts at 0.99 ends at 1.00. The
    # neighbours of a bound may come with it by the rounding of their times, as in the corpus.
    assert [(s.name, s.start, s.end) for s in found] == [
        ("a", 1.0, 2.5),
        ("a", 0.0, 1.0),
        ("b", 5.2, 5.3),
    ]
    assert [abs(len(s.features) - n) <= 1 for s, n in zip(found, (150, 100, 10), strict=True)]
    assert found[0].features[5, 0] == pytest.approx(105, abs=1)
    assert found[2].features[5, 0] == pytest.approx(1025, abs=1)
    assert "1 of 3 recordings" in caplog.text
    assert "1 segments of 'b'" in caplog.text


def test_csv_gives_the_segments(speech, tmp_path):
    file = tmp_path / "cuts.csv"
    file.write_text("video_id,start,end\nb,5.005,5.015\n")
    assert summary(read_segments(speech, file)) == [("b", 5.005, 5.015, 1000, 2)]


def test_recordings_are_taken_whole_or_in_windows(speech):
    assert summary(read_segments(speech)) == [("a", 0, 3, 0, 300), ("b", 5, 6, 1000, 100)]
    assert summary(read_segments(speech, window=0)) == summary(read_segments(speech))
    assert summary(read_segments(speech, window=2.0)) == [
        ("a", 0, 2, 0, 200),
        ("a", 1, 3, 100, 200),
        ("b", 5, 6, 1000, 100),
    ]


def test_windows_cover_everything_and_have_one_length():
    rows = rows_numbered(100)
    found = list(windows("x", times(100), rows, window=0.4, hop=0.25))
    assert [(round(s.start, 2), len(s.features)) for s in found] == [
        (0, 40),
        (0.25, 40),
        (0.5, 40),
        (0.6, 40),
    ]
    assert list(windows("x", times(0), rows[:0], window=0.4)) == []
    assert [len(s.features) for s in windows("x", times(100), rows, window=1.0)] == [100]


def recording(tmp_path, intervals, rows, name="talk"):
    videos = [(name, intervals, rows)]
    path = tmp_path / f"{name}.csd"
    return csd.write(path, "COVAREP", videos, dimension_names=schema.FEATURE_NAMES)


@pytest.mark.parametrize("shuffled", [False, True])
def test_windows_follow_the_times_of_the_rows(tmp_path, shuffled):
    # Rows of 0 to 3 s, then those of 33 to 34 s.
    intervals = np.concatenate([times(300), times(100, 33.0)])
    order = np.random.default_rng(0).permutation(400) if shuffled else np.arange(400)
    path = recording(tmp_path, intervals[order], rows_numbered(400)[order])
    found = list(read_segments(path, window=2.0))
    assert summary(found) == [
        ("talk", 0, 2, 0, 200),
        ("talk", 1, 3, 100, 200),
        ("talk", 33, 34, 300, 100),
    ]
    np.testing.assert_array_equal(found[1].features[:, 3], np.arange(100, 300))
    assert summary(read_segments(path, window=0)) == [
        ("talk", 0, 3, 0, 300),
        ("talk", 33, 34, 300, 100),
    ]


def test_windows_are_in_seconds_whatever_the_row_period(tmp_path):
    starts = 2.0 + np.arange(60) / 20
    path = recording(tmp_path, np.stack([starts, starts + 0.05], 1), rows_numbered(60))
    found = list(read_segments(path, window=1.0, hop=1.0))
    assert summary(found) == [
        ("talk", 2, 3, 0, 20),
        ("talk", 3, 4, 20, 20),
        ("talk", 4, 5, 40, 20),
    ]
    assert {round(s.period, 6) for s in found} == {0.05}


def test_rows_without_usable_times_are_left_out_with_a_warning(tmp_path, caplog):
    intervals = times(50)
    intervals[7] = np.nan
    (found,) = read_segments(recording(tmp_path, intervals, rows_numbered(50)))
    assert len(found.features) == 49
    assert "1 rows of 'talk' have no usable times" in caplog.text


class Zeros(Predictor):
    """Answers 0."""

    def __init__(self, **dataset):
        self.manifest = {"dataset": dataset}

    def _answer(self, segments):
        return {name: np.zeros((len(segments), 6)) for name in OUTPUTS}


@pytest.mark.parametrize(
    ("period", "trained", "problem"),
    [
        (0.01, {}, None),
        (0.0101, {"row_period": 0.01}, None),
        (0.05, {"row_period": 0.05}, None),
        (0.2, {}, "has a row every 200 ms; the model was trained on a row every 10 ms"),
        (10.0, {}, "has a row every 10000 ms"),
        (0.01, {"row_period": 0.05}, "trained on a row every 50 ms"),
        (0.01, {"row_period": None}, "trained on a row per word"),
    ],
)
@pytest.mark.parametrize("cuts", [False, True])
def test_rows_of_another_period_than_the_model_was_trained_on_are_refused(
    tmp_path, period, trained, problem, cuts
):
    starts = np.arange(40) * period
    path = recording(tmp_path, np.stack([starts, starts + period], 1), rows_numbered(40))
    table = None
    if cuts:
        table = tmp_path / "cuts.csv"
        table.write_text(f"id,start,end\ntalk,0,{30 * period}\n")
    predictor = Zeros(**trained)
    if problem is None:
        assert len(list(predict_records(predictor, read_segments(path, table, 0)))) == 1
        return
    with pytest.raises(UserError, match=problem):
        list(predict_records(predictor, read_segments(path, table, 0)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cuts.csv", "Video,  Start,  End, happy\na, 1.0, 2.5, 0\n , ,\n,,,\n"),
        ("cuts.tsv", "video_id\tstart_time\tend_time\na\t1\t2.5\n\n"),
        ("cuts.CSV", "\ufeffid;END;Start\na;2.5;1\n"),
    ],
)
def test_tables_that_build_takes_give_the_segments(speech, tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert summary(read_segments(speech, tmp_path / name)) == [("a", 1.0, 2.5, 100, 150)]


def test_rows_without_times_are_whole_recordings(speech, tmp_path):
    file = tmp_path / "cuts.csv"
    file.write_text("file,happy\nb,1\n")
    assert summary(read_segments(speech, file)) == [("b", 0, 6, 1000, 100)]
    file.write_text("file,start,end\na,2.5,\na,,0.5\n")
    expected = [("a", 2.5, 3, 250, 50), ("a", 0, 0.5, 0, 50)]
    assert summary(read_segments(speech, file)) == expected


def test_a_table_in_another_encoding_is_read_and_says_so(speech, tmp_path, caplog):
    (tmp_path / "cuts.csv").write_bytes("id,start,end\nM\xfcller,0,1\n".encode("latin-1"))
    with pytest.raises(UserError, match="their ids are Müller and a, b"):
        list(read_segments(speech, tmp_path / "cuts.csv"))
    assert "cuts.csv is not in UTF-8: it was read as Windows-1252" in caplog.text


def test_array_is_one_recording(tmp_path):
    np.save(tmp_path / "talk.npy", rows_numbered(250).astype(np.float64))
    assert summary(read_segments(tmp_path / "talk.npy", window=1.0)) == [
        ("talk", 0, 1, 0, 100),
        ("talk", 1, 2, 100, 100),
        ("talk", 1.5, 2.5, 150, 100),
    ]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 73)), r"\[5, 73\] of float64; raw COVAREP rows are \[frames, 74\]"),
        (np.zeros((0, 74)), "raw COVAREP rows"),
        (np.zeros((2, 5, 74)), "raw COVAREP rows"),
        (np.array([["a"] * 74]), r"\[1, 74\] of <U1; .* numbers"),
        (np.array([{}], dtype=object), "not a readable .npy array"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        list(read_segments(tmp_path / "x.npy"))


def test_several_arrays_in_a_file_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", np.zeros((5, 74)), np.zeros((5, 74)))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(UserError, match="npy"):
        list(read_segments(tmp_path / "x.npy"))


def test_damaged_array_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((50, 74)))
    whole = (tmp_path / "x.npy").read_bytes()
    # The header's closing bracket lost, and what numpy takes for a .npz.
    for content in (b"", b"junk", whole[:500], whole.replace(b"}", b" ", 1), b"PK\x03\x04 junk"):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(UserError, match="not a readable"):
            list(read_segments(tmp_path / "x.npy"))


def test_unusable_files_are_refused(speech, labels, tmp_path):
    with pytest.raises(UserError, match=r"have 7 columns; COVAREP has 74\. This is a label file"):
        list(read_segments(labels))
    other = csd.write(
        tmp_path / "o.csd", "x", [("a", times(2), np.zeros((2, 5)))], dimension_names=list("abcde")
    )
    with pytest.raises(UserError, match="another feature set"):
        list(read_segments(other))
    with pytest.raises(UserError, match="no such file"):
        list(read_segments(tmp_path / "nowhere.csd"))
    with pytest.raises(UserError, match=r"kind of file is not read.*ffmpeg -i"):
        list(read_segments(__file__))
    cuts = tmp_path / "cuts.csv"
    cuts.write_text("id,start,end\nz,0,1\n")
    with pytest.raises(UserError, match="no recording in common: their ids are z and a, b"):
        list(read_segments(speech, cuts))
    cuts.write_text("start,end\n0,1\n")
    with pytest.raises(UserError, match="column id or file, and perhaps start and end"):
        list(read_segments(speech, cuts))
    cuts.write_text("id,start at,end at\na,0,1\n")
    with pytest.raises(UserError, match="'start at', 'end at' would not be used"):
        list(read_segments(speech, cuts))
    cuts.write_text("id,start,end\na,0,one\n")
    with pytest.raises(UserError, match=r"line 2: end is .one., not a number"):
        list(read_segments(speech, cuts))
    cuts.write_text("id,start,end\na,1.0,nan\n")
    with pytest.raises(UserError, match="line 2: end is nan, outside 0 to inf"):
        list(read_segments(speech, cuts))


def test_stretches_without_finite_times_are_left_out(speech, tmp_path, caplog):
    videos = [("a", np.array([[1.0, np.nan], [0.0, 1.0]]), np.zeros((2, 7)))]
    names = ["sentiment", *schema.EMOTIONS]
    cuts = csd.write(tmp_path / "odd.csd", "All Labels", videos, dimension_names=names)
    assert summary(read_segments(speech, cuts)) == [("a", 0.0, 1.0, 0.0, 100)]
    assert "1 segments of 'a' have no rows" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": -1.0}, r"--window must be at least 0\.01 .* not -1\.0"),
        ({"window": 121.0}, r"--window must be .* at most 120\.0, not 121\.0"),
        ({"window": float("nan")}, "--window must be .* not nan"),
        ({"window": 0.004}, "--window must be .* not 0.004"),
        ({"window": 1.0, "hop": 0.0}, r"--hop must be at least 0\.01, not 0\.0"),
        ({"limit": 0}, "--limit must be at least 1, not 0"),
    ],
)
def test_impossible_options_are_refused(speech, options, message):
    with pytest.raises(UserError, match=message):
        next(read_segments(speech, **options))


def test_a_segment_that_is_too_long_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((12_001, 74), np.float32))
    with pytest.raises(UserError, match="12001 frames, and models accept at most 12000"):
        next(read_segments(tmp_path / "x.npy", window=0))


def test_the_sampling_rate_of_a_recording_is_known(tmp_path, speech_wav, speech, caplog):
    soundfile = pytest.importorskip("soundfile", reason="mosei_ssl[audio] is not installed")
    samples, _ = soundfile.read(speech_wav)
    files = [tmp_path / "p.wav", tmp_path / "q.wav", speech_wav, speech]
    for file in files[:2]:
        soundfile.write(file, samples, 8000)
    found = [segment for file in files for segment in read_segments(file, window=0)]
    rates = {"p": 8000, "q": 8000, "speech": 16_000, "a": None, "b": None}
    assert {segment.name: segment.rate for segment in found} == rates
    caplog.clear()
    records = list(predict_records(Zeros(), found))
    assert {record["name"]: record.get("rate") for record in records} == rates
    assert flat(records[0])["rate"] == 8000
    (message,) = caplog.messages
    assert "2 of 5 recordings are sampled below 16000 Hz (8000 Hz)" in message
    caplog.clear()
    list(predict_records(Zeros(sampling_rates={"8000": 3}), found))
    assert not caplog.messages


def test_recordings_of_equal_names_are_told_apart(tmp_path, speech_wav, caplog):
    pytest.importorskip("soundfile", reason="mosei_ssl[audio] is not installed")
    files = [tmp_path / name for name in ("a/x.wav", "b/x.wav", "c/x.npy", "c/y.npy")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
    for file in files[:2]:
        file.write_bytes(speech_wav.read_bytes())
    for file in files[2:]:
        np.save(file, rows_numbered(50))
    (tmp_path / "b" / "bad.wav").write_text("not audio")
    inputs = [files[3], tmp_path / "b", files[0], files[2], files[0]]
    found = list(read_segments(inputs))
    assert [segment.name for segment in found] == ["c__y", "b__x", "a__x", "c__x"]
    assert "left out" in caplog.text
    assert "bad.wav" in caplog.text
    # Where they differ, the name of the file will do; and one table may be for all of them.
    other = tmp_path / "c" / "z.wav"
    other.write_bytes(speech_wav.read_bytes())
    cuts = tmp_path / "cuts.csv"
    cuts.write_text("id,start,end\nx,0.1,0.2\nz,0.3,0.5\n")
    found = list(read_segments([files[0], other], cuts))
    assert [(s.name, s.start, s.end) for s in found] == [("x", 0.1, 0.2), ("z", 0.3, 0.5)]
    # The table may name them as the one of `extract --labels` does.
    cuts.write_text("file,start,end\nb\\X.WAV,0.1,0.2\na/x.wav,0.3,0.5\n")
    found = list(read_segments(files[:2], cuts))
    assert [(s.name, s.start, s.end) for s in found] == [("b__x", 0.1, 0.2), ("a__x", 0.3, 0.5)]
    cuts.write_text("file,start,end\nx.wav,0.1,0.2\n")
    with pytest.raises(UserError, match=r"line 2: 'x\.wav' may be .*: write more of the path"):
        list(read_segments(files[:2], cuts))
    with pytest.raises(UserError, match=r"nowhere\.wav: no such file"):
        next(read_segments([files[0], tmp_path / "nowhere.wav"]))


def test_recording_becomes_features(shared, tmp_path):
    pytest.importorskip("soundfile", reason="mosei_ssl[audio] is not installed")
    recording = shared / "audio" / "ravdess" / "03-01-01-01-01-01-01.wav"
    [whole] = read_segments(recording)
    assert whole.name == recording.stem
    assert whole.features.shape[1] == 74
    assert whole.features.dtype == np.float32
    assert abs((whole.end - whole.start) - len(whole.features) / 100) < 0.02
    cuts = tmp_path / "cuts.csv"
    cuts.write_text(f"id,start,end\n{recording.stem},0.305,0.595\n")
    [part] = read_segments(recording, cuts)
    np.testing.assert_array_equal(part.features, whole.features[30:60])
    cuts.write_text("id,start,end\nother,0.3,0.6\n")
    with pytest.raises(UserError, match=r"no recording in common: their ids are other and 03-01"):
        list(read_segments(recording, cuts))
