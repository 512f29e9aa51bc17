"""The whole extraction on signals of every awkward kind, without reference files."""

import subprocess
import sys

import numpy as np
import pytest
from voices import RATE, pulse_train

from mosei_ssl.covarep import (
    APPROXIMATE_COLUMNS,
    FEATURE_NAMES,
    extract,
    extract_corpus,
    extract_file,
    recording,
)
from mosei_ssl.covarep.audio import as_float
from mosei_ssl.covarep.columns import COLUMN, HMPDD, HMPDM
from mosei_ssl.utils.errors import UserError


def test_names_are_those_of_the_dataset():
    import tfds_mosei

    assert tuple(tfds_mosei.FEATURE_NAMES) == FEATURE_NAMES
    assert APPROXIMATE_COLUMNS == ("creak",)


def test_rows_lie_ten_milliseconds_apart(voice):
    features, times = extract(voice, RATE)
    assert features.shape == ((len(voice) - 80) // 160 + 1, 74)
    np.testing.assert_allclose(times, (79 + 160 * np.arange(len(times))) / RATE)


def test_a_steady_voice_is_described_rightly(voice):
    features, _ = extract(voice, RATE)
    middle = features[30:-30]
    assert middle[:, COLUMN["F0"]] == pytest.approx(125, abs=1.5)
    assert (middle[:, COLUMN["VUV"]] == 1).all()
    assert ((middle[:, COLUMN["NAQ"]] > 0.02) & (middle[:, COLUMN["NAQ"]] < 0.4)).all()
    assert ((middle[:, COLUMN["Rd"]] >= 0.3) & (middle[:, COLUMN["Rd"]] <= 2.5)).all()
    assert ((middle[:, COLUMN["creak"]] >= 0) & (middle[:, COLUMN["creak"]] <= 1)).all()


def test_same_call_same_numbers(voice):
    np.testing.assert_array_equal(extract(voice, RATE)[0], extract(voice, RATE)[0])


def test_turning_the_signal_over_changes_nothing(voice):
    ours, turned = extract(voice, RATE)[0], extract(-voice, RATE)[0]
    # Decisions and the phases of harmonics, but for rounding in the search for Rd.
    keep = [i for i in range(74) if i < HMPDD.start and i != HMPDM.stop - 1]
    np.testing.assert_allclose(ours[:, keep], turned[:, keep], atol=5e-3)


def test_chunks_agree_with_the_whole(monkeypatch):
    pause = 1e-4 * np.random.default_rng(1).standard_normal(RATE)
    parts = [pulse_train(f0, 3.0, seed=int(f0)) for f0 in (110, 150, 130)]
    x = np.concatenate([piece for part in parts for piece in (part, pause)])
    whole, times = extract(x, RATE)
    monkeypatch.setattr(recording, "HALO", 3 * RATE)
    chunked, again = extract(x, RATE, chunk_seconds=4)
    np.testing.assert_array_equal(times, again)
    np.testing.assert_array_equal(whole[:, 1], chunked[:, 1])
    error = np.abs(whole - chunked)
    exact = [COLUMN[n] for n in ("F0", "NAQ", "QOQ", "H1H2", "PSP", "MDQ", "peakSlope")]
    assert error[:, exact].max() < 1e-8
    assert error[:, COLUMN["Rd"]].max() < 2e-2
    assert error[:, 11 : HMPDM.stop - 1].max() < 1e-8
    assert np.corrcoef(whole[:, 10], chunked[:, 10])[0, 1] > 0.95
    assert error[:, HMPDD].max() < 0.1


@pytest.mark.parametrize("samples", [1600, 1601, 1999, 3200, 8000, 13_118, 13_119])
def test_short_recordings_give_rows(voice, samples):
    features, _, stages = extract(voice[:samples], RATE, return_stages=True)
    assert features.shape == ((samples - 80) // 160 + 1, 74)
    assert np.isfinite(features).all()
    assert bool(features[:, HMPDD].any()) == (samples == 13_119)
    assert any("0.83" in remark for remark in stages.status) == (samples < 13_119)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("silence", lambda x: np.zeros_like(x)),
        ("a constant", lambda x: np.full_like(x, 0.5)),
        ("an impulse", lambda x: np.eye(1, len(x), 9000)[0]),
        ("white noise", lambda x: 0.1 * np.random.default_rng(0).standard_normal(len(x))),
        ("clipping", lambda x: np.clip(20 * x, -1, 1)),
        ("an offset", lambda x: x + 0.3),
        ("digital silence inside", lambda x: np.where(np.arange(len(x)) // 4000 % 3 == 1, 0, x)),
        ("long digital silence", lambda x: np.concatenate([x, np.zeros(50_000), x])),
        ("four bits", lambda x: np.round(8 * x) / 8),
        ("a whisper", lambda x: 1e-9 * x),
    ],
)
def test_awkward_signals_give_rows(voice, name, make):
    x = make(voice)
    features, _ = extract(x, RATE)
    assert features.shape == ((len(x) - 80) // 160 + 1, 74)
    assert not np.isnan(features).any()
    assert not np.isposinf(features).any()
    finite = np.delete(features, COLUMN["peakSlope"], axis=1)
    assert np.isfinite(finite).all()


def test_silence_is_remarked_on(caplog):
    _, _, stages = extract(np.zeros(RATE), RATE, return_stages=True)
    assert stages.polarity == 0
    assert any("silence" in remark for remark in stages.status)
    assert "silence" in caplog.text


def test_loudness_changes_the_level_only(voice):
    loud, quiet = extract(voice, RATE)[0], extract(voice / 8, RATE)[0]
    others = [*range(COLUMN["creak"]), *range(HMPDM.start, HMPDM.stop - 1)]
    np.testing.assert_allclose(loud[:, others], quiet[:, others], atol=1e-6)
    # The envelope's step depends a little on the level, so this is not exact.
    inner = slice(10, -10)
    drop = loud[inner, COLUMN["MCEP_0"]] - quiet[inner, COLUMN["MCEP_0"]]
    np.testing.assert_allclose(drop, np.log(8), atol=0.01)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(voice, rate):
    soxr = pytest.importorskip("soxr")
    features, times = extract(soxr.resample(voice, RATE, rate), rate)
    assert abs(len(times) - (len(voice) - 80) // 160 - 1) <= 1
    assert np.median(features[30:-30, 0]) == pytest.approx(125, abs=1.5)


def test_dither_replaces_digital_silence(voice):
    x = np.concatenate([voice, np.zeros(8000), voice])
    _, _, stages = extract(x, RATE, return_stages=True)
    _, _, dithered = extract(x, RATE, dither=1e-5, return_stages=True)
    assert np.isnan(stages.residual).any()
    assert np.isfinite(dithered.residual).all()


def test_channels_are_mixed_or_chosen(voice):
    mono = extract(voice, RATE)[0]
    stereo = np.stack([1.5 * voice, 0.5 * voice], axis=1)
    np.testing.assert_allclose(extract(stereo, RATE)[0][:, :36], mono[:, :36], atol=1e-6)
    np.testing.assert_array_equal(
        extract(np.stack([voice, 0 * voice], axis=1), RATE, channel=0)[0], mono
    )


def test_pcm_integers_are_scaled(voice):
    pcm = np.round(voice * 32768).astype(np.int16)
    np.testing.assert_array_equal(extract(pcm, RATE)[0], extract(pcm / 32768, RATE)[0])


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros(0), RATE, "empty"),
        (np.zeros(1500), RATE, "too short"),
        (np.full(RATE, np.nan), RATE, "NaN"),
        (np.where(np.arange(RATE) == 5, np.inf, 0.0), RATE, "1 of 16000"),
        (np.zeros((2, RATE)), RATE, "transpose"),
        (np.zeros((4, 4, 4)), RATE, "shape"),
        (np.full(RATE, 3000.0), RATE, "32768"),
        (np.zeros(RATE, dtype=complex), RATE, "complex"),
        (np.zeros(RATE, dtype=np.int64), RATE, "int64 is not supported: .* 8, 16 or 32 bits"),
        (np.zeros((RATE, 65)), RATE, "65 channels"),
        (np.zeros(RATE), 0, "sampling rate"),
        (np.zeros(RATE), 10_000_000, "sampling rate"),
    ],
)
def test_unusable_samples_are_refused(audio, rate, message):
    with pytest.raises(UserError, match=message):
        extract(audio, rate)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dither": -1e-5}, "dither -1e-05"),
        ({"dither": np.nan}, "dither nan"),
        ({"dither": np.inf}, "dither inf"),
        ({"chunk_seconds": np.inf}, "chunk_seconds inf .* None"),
        ({"chunk_seconds": np.nan}, "chunk_seconds nan"),
        ({"chunk_seconds": 0}, "chunk_seconds 0"),
        ({"chunk_seconds": -3}, "chunk_seconds -3"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options, message):
    # Before anything is read: neither the file nor the recordings need be there.
    for call in (
        lambda: extract(np.zeros(RATE), RATE, **options),
        lambda: extract_file(tmp_path / "a.wav", **options),
        lambda: extract_corpus([tmp_path / "a.wav"], tmp_path / "out.csd", **options),
    ):
        with pytest.raises(UserError, match=message):
            call()


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_integers_of_every_width_are_scaled(bits):
    kind = np.dtype(f"int{bits}")
    pcm = np.array([-(2 ** (bits - 1)), 0, 2 ** (bits - 2)], kind)
    np.testing.assert_array_equal(as_float(pcm), [-1, 0, 0.5])


def test_missing_channel_is_refused(voice):
    with pytest.raises(UserError, match="no channel 1"):
        extract(voice, RATE, channel=1)


def test_package_does_not_bring_tensorflow_along():
    code = (
        "import sys, mosei_ssl.covarep; "
        "sys.exit(bool({'tensorflow', 'keras', 'tfds_mosei'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
