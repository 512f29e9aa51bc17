"""Who speaks in which video: from the corpus's speakers.json into the dataset."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mosei_corpus import IDS, frames, label, ramp, write_corpus

import tfds_mosei
from mosei_ssl.config import DataConfig
from mosei_ssl.data import load_segments
from tfds_mosei import CorpusError


@pytest.fixture
def build(tmp_path):
    """Builds a corpus whose videos `a` and `b` hold two segments each, with these speakers."""
    labels = {
        video: (np.array([[0.1, 0.4], [0.5, 0.9]]), np.array([label(happy=2), label()]))
        for video in "abcd"
    }
    write_corpus(tmp_path / "corpus", {v: (frames(100), ramp(100)) for v in "abcd"}, labels)

    def run(speakers=None):
        file = tmp_path / "corpus" / "speakers.json"
        file.unlink(missing_ok=True)
        if speakers is not None:
            file.write_text(json.dumps(speakers))
        return tfds_mosei.build(
            "covarep", manual_dir=tmp_path / "corpus", data_dir=tmp_path / "data"
        )

    return run


def test_segments_know_their_speakers_and_those_without_count_by_video(build, tmp_path, caplog):
    built = build({"a": ["anna"], "b": "anna", "c": ["carl", "bea"]})
    config = DataConfig(data_dir=str(tmp_path / "data"), dataset=built.builder_config.name)
    train = load_segments(config, "train")
    assert sorted(set(train.video_ids)) == IDS["train"]
    assert set(train.speaker_ids) == {"anna"}
    assert set(load_segments(config, "validation").speaker_ids) == {"bea+carl"}
    assert set(load_segments(config, "test").speaker_ids) == {"d"}
    assert "validation or test" not in caplog.text


def test_rows_are_relative_to_their_speaker_whose_videos_go_together(build, tmp_path):
    """100 rows `ramp` of a video: rows 10 to 39 and 50 to 89 are in its segments."""
    built = build({"a": ["anna"], "b": ["anna"], "c": ["carl"]})
    config = DataConfig(data_dir=str(tmp_path / "data"), dataset=built.builder_config.name)
    own = (30 * 24.5 + 40 * 69.5) / 70 + 0.03
    train = built.info.metadata["feature_statistics"]["mean"][3]
    assert train == pytest.approx(own)  # which is that of every video here
    raw, mean = replace(config, context=False), np.full(74, train - 10.0)
    for split, count in (("test", 70), ("train", 140)):
        before, after = load_segments(raw, split), load_segments(config, split, mean)
        shift = 10 * count / (count + 2500)
        np.testing.assert_allclose((before.rows(0) - after.rows(0))[:, 3], shift, atol=1e-4)
        assert before.content == after.content
    both = [load_segments(one, "train+test") for one in (config, raw)]
    assert both[0].content == both[1].content
    assert set(both[0].content) == {"a", "b", "d"}


def test_other_speakers_are_another_dataset_and_none_is_the_one_of_old(build):
    plain = build()
    assert plain.info.metadata["speakers"] == {}
    named = build({"a": ["anna"], "b": ["bert"]})
    other = build({"a": ["anna"], "b": ["anna"]})
    names = [one.builder_config.name for one in (plain, named, other, build())]
    assert len(set(names[:3])) == 3
    assert names[3] == names[0]


def test_a_voice_in_two_splits_is_told(build, caplog):
    build({"a": ["anna"], "c": ["carl"], "d": ["anna"]})
    assert "in validation or test, too (1 of them, such as anna)" in caplog.text


@pytest.mark.parametrize("content", ["[1]", '{"a": 5}', "{"])
def test_a_damaged_list_of_speakers_is_told(build, tmp_path, content):
    build()
    (tmp_path / "corpus" / "speakers.json").write_text(content)
    with pytest.raises(CorpusError, match=r"speakers\.json is not an object of lists"):
        tfds_mosei.build("covarep", manual_dir=tmp_path / "corpus", data_dir=tmp_path / "data")
