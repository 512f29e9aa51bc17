"""Audio files: every format and every way of being broken."""

import os

import numpy as np
import pytest
from voices import RATE

from mosei_ssl.corpus import audio_files, extract_file, read_audio
from mosei_ssl.corpus.audio_files import long_recording
from mosei_ssl.covarep import extract, recording
from mosei_ssl.utils.errors import UserError

soundfile = pytest.importorskip("soundfile")


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_lossless_files_give_what_their_samples_give(tmp_path, voice, ending):
    path = tmp_path / f"speech.{ending}"
    voice = voice[:RATE]
    soundfile.write(path, voice, RATE, subtype="PCM_16")
    pcm = np.clip(np.round(voice * 32768), -32768, 32767) / 32768
    np.testing.assert_allclose(read_audio(path), pcm, atol=1 / 32768)
    if ending == "flac":  # a wav file is extracted below
        np.testing.assert_array_equal(extract_file(path), extract(read_audio(path), RATE))


def test_mp3_is_read(tmp_path, voice):
    path = tmp_path / "speech.mp3"
    soundfile.write(path, voice, RATE)
    features = extract_file(path)
    assert np.median(features[30:-30, 0]) == pytest.approx(125, abs=1.5)


def test_stereo_at_44100_hertz(tmp_path, voice):
    soxr = pytest.importorskip("soxr")
    path = tmp_path / "speech.wav"
    resampled = soxr.resample(voice, RATE, 44_100)
    soundfile.write(path, np.stack([resampled, resampled], axis=1), 44_100, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path)[500:-500], voice[500 : len(voice) - 500], atol=2e-3)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_long_files_are_decoded_piece_by_piece(tmp_path, voice, rate):
    soxr = pytest.importorskip("soxr")
    path = tmp_path / "talk.wav"
    x = np.tile(voice, 50)
    soundfile.write(path, x if rate == RATE else soxr.resample(x, RATE, rate), rate)
    with long_recording(path, None, []) as samples:
        assert samples.dtype == np.float32
        assert abs(len(samples) - len(x)) <= 1
        whole = read_audio(path)
        np.testing.assert_allclose(samples[: len(whole)], whole[: len(samples)], atol=1e-5)


def test_a_recording_cut_off_is_not_made_longer(tmp_path, voice):
    path = tmp_path / "talk.mp3"
    soundfile.write(path, np.tile(voice, 60), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    remarks = []
    with long_recording(path, None, remarks) as samples:
        # MP3 has a constant bit rate here, so half the bytes are half of the 90 seconds.
        assert len(samples) / RATE == pytest.approx(45, abs=1)
    (remark,) = remarks
    assert "the file ends after" in remark
    assert "should hold 90." in remark


def test_a_complete_mp3_is_no_reason_to_warn(tmp_path, voice, caplog):
    path = tmp_path / "talk.mp3"
    soundfile.write(path, voice, RATE)
    remarks = []
    with long_recording(path, None, remarks) as samples:
        assert len(samples) / RATE == pytest.approx(1.5, abs=0.1)
    read_audio(path)
    assert not remarks
    assert not caplog.records


def test_a_last_block_may_be_shorter_than_it_is_wide(tmp_path, voice, monkeypatch):
    monkeypatch.setattr(audio_files, "_BLOCK_SECONDS", 1)
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.tile(voice[: RATE + 1, None], (1, 3)), RATE, subtype="FLOAT")
    with long_recording(path, None, []) as samples:
        np.testing.assert_allclose(samples, voice[: RATE + 1], atol=1e-6)


def test_names_need_not_be_utf8(tmp_path, voice):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(tmp_path / "plain.wav", voice, RATE, subtype="FLOAT")
    try:
        (tmp_path / "plain.wav").rename(path)
    except OSError as error:
        pytest.skip(f"this file system takes no such names: {error}")
    np.testing.assert_allclose(read_audio(path), voice, atol=1e-6)


def test_files_may_be_kept_whole(tmp_path, voice):
    path = tmp_path / "speech.wav"
    soundfile.write(path, voice[:13_600], RATE, subtype="FLOAT")
    truth = extract(read_audio(path), RATE)
    for chunk_seconds in (None, 60):
        np.testing.assert_array_equal(extract_file(path, chunk_seconds=chunk_seconds), truth)


def test_warnings_name_the_recording(tmp_path, voice, caplog):
    path = tmp_path / "phone.wav"
    soundfile.write(path, np.zeros(2000), 8000)
    extract_file(path)
    assert len(caplog.messages) > 1
    assert all(message.startswith(f"{path}: ") for message in caplog.messages)
    assert any("8000 Hz" in message for message in caplog.messages)
    assert any("silence" in message for message in caplog.messages)


def test_long_file_in_chunks_equals_whole(tmp_path, voice, monkeypatch):
    monkeypatch.setattr(recording, "HALO", RATE)
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.tile(voice, 2), RATE)
    chunked = extract_file(path, chunk_seconds=1.5)
    whole = extract_file(path, chunk_seconds=60)
    np.testing.assert_array_equal(chunked[:, 1], whole[:, 1])
    np.testing.assert_allclose(chunked[:, 0], whole[:, 0])
    np.testing.assert_allclose(chunked[:, 11:36], whole[:, 11:36], atol=1e-4)


def write_cut_off(path, voice):
    soundfile.write(path, voice, RATE)
    path.write_bytes(path.read_bytes()[:40])


BROKEN = {
    "missing": (lambda path, voice: None, "no such file"),
    "a folder": (lambda path, voice: path.mkdir(), "this is a folder"),
    "empty": (lambda path, voice: path.write_bytes(b""), "file is empty"),
    "text": (lambda path, voice: path.write_text("hello " * 100), "not readable as audio"),
    "cut off in the header": (write_cut_off, "speech.wav"),
    "without samples": (lambda path, voice: soundfile.write(path, voice[:0], RATE), "no samples"),
    "too short": (lambda path, voice: soundfile.write(path, voice[:800], RATE), "too short"),
    "not a number": (
        lambda path, voice: soundfile.write(path, voice * np.nan, RATE, subtype="FLOAT"),
        "NaN",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_named(tmp_path, voice, kind):
    make, message = BROKEN[kind]
    path = tmp_path / "speech.wav"
    make(path, voice)
    with pytest.raises(UserError, match=message) as caught:
        extract_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_raw_samples_are_not_taken_for_audio(tmp_path):
    path = tmp_path / "speech.raw"
    path.write_bytes(bytes(4000))
    with pytest.raises(UserError, match="not readable as audio") as caught:
        read_audio(path)
    assert str(path) in str(caught.value)


def test_dither_reaches_long_files_too(tmp_path, voice):
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.concatenate([voice[:RATE], np.zeros(RATE + 4000)]), RATE)
    plain = extract_file(path, chunk_seconds=2)
    dithered = extract_file(path, chunk_seconds=1.5, dither=1e-4)
    assert (plain[-100:-20, 0] <= 1).all()
    assert (dithered[-100:-20, 0] > 1).any()


@pytest.mark.parametrize(("chunk_seconds", "second"), [(0.5, -1.0), (None, -0.6)])
def test_channels_that_cancel_each_other_are_not_averaged(
    tmp_path, voice, caplog, chunk_seconds, second
):
    voice = voice[:13_600]
    noise = np.random.default_rng(1).normal(scale=0.01, size=len(voice))
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.stack([voice, second * voice + noise], axis=1), 16_000)
    found = extract_file(path, chunk_seconds=chunk_seconds)
    assert "talk.wav: its channels cancel" in caplog.text
    assert "--channel 0" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(found, extract_file(path, channel=0, chunk_seconds=chunk_seconds))
    assert "cancel" not in caplog.text


def test_of_a_silent_channel_and_two_opposite_ones_one_that_is_heard_is_taken(
    tmp_path, voice, caplog
):
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.stack([0 * voice, voice, -voice], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), voice, atol=1e-6)
    assert "--channel 1" in caplog.text


def test_unrelated_channels_and_one_silent_one_are_averaged(tmp_path, voice, caplog):
    path = tmp_path / "talk.wav"
    noise = np.random.default_rng(2).normal(scale=0.1, size=len(voice))
    for other in (noise, 0 * voice):
        soundfile.write(path, np.stack([voice, other], axis=1), 16_000, subtype="DOUBLE")
        np.testing.assert_allclose(read_audio(path), (voice + other) / 2)
    assert not caplog.text
