"""Finding recordings, and naming them."""

import pytest

from mosei_ssl.corpus.recordings import find_audio, video_ids
from mosei_ssl.utils.errors import UserError


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


def test_what_cannot_be_read_is_not_left_out_in_silence(tmp_path, caplog):
    for name in ("a.wav", "a.mp4", "phone/b.M4A", "phone/._c.m4a", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in find_audio([tmp_path])] == ["a.wav"]
    assert "1 files of other formats are left out: convert" in caplog.text
    with pytest.raises(UserError, match=r"no audio files in this folder; convert .*: ffmpeg"):
        find_audio([tmp_path / "phone"])


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
