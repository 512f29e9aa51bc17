"""The data report, on numbers worked out by hand."""

import json

import pytest
from mosei_corpus import frames, label, ramp, write_corpus

import tfds_mosei


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Train has segments of 1, 2, 4 and 33 s; a fifth ends before it begins."""
    folder = tmp_path_factory.mktemp("corpus")
    features = {v: (frames(4000), ramp(4000)) for v in "abcd"}
    third = 1 / 3
    labels = {v: ([[0.0, 0.5]], [label()]) for v in "cd"}
    labels["a"] = (
        [[0, 1], [1, 3], [3, 7], [5, 4]],
        [
            label(sentiment=-3, happy=3.5, fear=0.5),
            label(sentiment=-0.5, sad=third),
            label(sentiment=0.5, anger=1.5, disgust=2 + third, surprise=-1),
            label(sentiment=9, happy=9),  # dropped, so neither clipped nor counted
        ],
    )
    labels["b"] = ([[0, 33]], [label(sentiment=3.2)])
    write_corpus(folder, features, labels)
    data = tmp_path_factory.mktemp("data")
    built = tfds_mosei.build(data_dir=data, manual_dir=folder)
    return json.loads((built.data_path / "report.json").read_text())["report"]


def test_durations(report):
    train = report["splits"]["train"]
    assert (train["videos"], train["segments"], train["frames"]) == (2, 4, 4000)
    assert train["hours"] == pytest.approx(40 / 3600)
    assert train["longest_frames"] == 3300
    # Of 1, 2, 4, 33: a quarter lies at 1.75, three quarters at 11.25, 95 % at 4 + 0.85 x 29.
    assert train["seconds"] == pytest.approx(
        {"min": 1, "p25": 1.75, "median": 3, "p75": 11.25, "p95": 28.65, "max": 33}
    )
    # A bin a second, each with its lower edge; what is longer than 30 s is in the last.
    expected = [0] * 30
    expected[1] = expected[2] = expected[4] = expected[29] = 1
    assert train["duration_histogram"] == expected


def test_labels(report):
    train = report["splits"]["train"]
    # Bins from -3, -2.5, -1.5, -0.5, 0.5, 1.5 and 2.5 to 3; 3.2 is clipped to 3.
    assert train["sentiment_histogram"] == [1, 0, 0, 1, 1, 0, 1]
    # Nearest level, halves upwards: 3.5 is clipped to 3, 0.5 is 1, 1.5 is 2, 2.33 is 2.
    assert train["emotion_levels"] == {
        "happy": [3, 0, 0, 1],
        "sad": [4, 0, 0, 0],
        "anger": [3, 0, 1, 0],
        "surprise": [4, 0, 0, 0],
        "disgust": [3, 0, 1, 0],
        "fear": [3, 1, 0, 0],
    }
    assert train["no_emotion"] == 1
    assert train["several_emotions"] == 2
    test = report["splits"]["test"]
    assert (test["no_emotion"], test["several_emotions"]) == (1, 0)


def test_what_was_changed_or_left_out(report):
    assert report["clipped"] == {"happy": 1, "sentiment": 1, "surprise": 1}
    assert report["dropped"]["bad_interval"] == 1
    assert sum(report["dropped"].values()) == 1
    assert report["dropped_segments"] == [
        {"video_id": "a", "segment_id": 3, "reason": "bad_interval", "split": "train"}
    ]


def test_unlabelled_recordings_have_durations_but_no_labels(report):
    unlabelled = report["splits"]["unlabelled"]
    assert (unlabelled["videos"], unlabelled["frames"]) == (2, 8000)
    # Speech without a pause: 15, 15 and 10 s from each of the two recordings.
    assert unlabelled["segments"] == 6
    histogram = unlabelled["duration_histogram"]
    assert {second: n for second, n in enumerate(histogram) if n} == {10: 2, 15: 4}
    for name in ("emotion_levels", "sentiment_histogram", "no_emotion", "several_emotions"):
        assert name not in unlabelled
