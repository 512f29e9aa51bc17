"""The whole extraction on difficult signals of every kind, without reference files."""

import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl
from columns import COLUMN, HMPDD, HMPDM, MCEP
from voices import RATE, pulse_train

from mosei_ssl.covarep import EXTRACTOR_VERSION, analyse, extract, extraction, recording, row_times
from mosei_ssl.covarep.audio import as_float
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import FEATURE_NAMES


def test_columns_stand_where_the_dataset_names_them(analysed):
    inner = slice(30, -30)
    for name, expected in (("F0", 125), ("VUV", 1)):
        found = analysed.features[inner, FEATURE_NAMES.index(name)]
        assert found == pytest.approx(expected, abs=1.5)
    # Interpolated tracks stay within what they were made from.
    tracks = {**analysed.cycles, "Rd": analysed.rd, "Rd_conf": analysed.rd_confidence}
    tracks |= {"peakSlope": analysed.peak_slope, "creak": analysed.creak}
    tracks |= {f"MCEP_{k}": analysed.mcep[:, k] for k in (0, 24)}
    tracks |= {f"HMPDD_{k}": analysed.hmpdd[:, k] for k in (0, 12)}
    for name, values in tracks.items():
        found = analysed.features[inner, FEATURE_NAMES.index(name)]
        assert np.ptp(found) > 0, name
        assert found.min() >= values.min() - 1e-12, name
        assert found.max() <= values.max() + 1e-12, name
    assert np.abs(analysed.features[:, HMPDM]).max() <= np.pi


def test_other_features_are_another_version(analysed):
    """Caches keep features by their version: where they change, raise it and give the new means."""
    # Without the edges, where HMPDD rests on how the processor rounds.
    means = dict(zip(FEATURE_NAMES, analysed.features[30:-30].mean(axis=0), strict=True))
    expected = {
        "F0": 125.0,
        "VUV": 1.0,
        "NAQ": 0.093868,
        "QOQ": 0.32824,
        "H1H2": 2.1369,
        "PSP": 0.084696,
        "MDQ": 0.061703,
        "peakSlope": -0.42801,
        "Rd": 0.72675,
        "Rd_conf": 0.61818,
        "creak": 0.0054,
        "MCEP_0": -7.6611,
        "MCEP_1": 4.7826,
        "MCEP_24": -0.037936,
        "HMPDM_10": -1.4879,
        "HMPDD_0": -4.1733,
        "HMPDD_12": 0.13983,
    }
    assert EXTRACTOR_VERSION == 1
    assert {name: means[name] for name in expected} == pytest.approx(expected, rel=5e-4, abs=1e-4)


def test_one_thread_is_used(voice, monkeypatch):
    threads, survey = [], extraction.survey

    def count(recording):
        threads.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info())
        return survey(recording)

    monkeypatch.setattr(extraction, "survey", count)
    with threadpoolctl.threadpool_limits(2):
        extract(voice[:8000], RATE)
    assert set(threads) == {1}


def test_rows_lie_ten_milliseconds_apart(voice, analysed):
    features = extract(voice, RATE)
    assert features.shape == ((len(voice) - 80) // 160 + 1, 74)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, analysed.features.astype(np.float32))
    np.testing.assert_allclose(analysed.times, (79 + 160 * np.arange(len(features))) / RATE)
    np.testing.assert_array_equal(analysed.times, row_times(len(features)))


def test_a_steady_voice_is_described_rightly(analysed):
    middle = analysed.features[30:-30]
    assert middle[:, COLUMN["F0"]] == pytest.approx(125, abs=1.5)
    assert (middle[:, COLUMN["VUV"]] == 1).all()
    assert ((middle[:, COLUMN["NAQ"]] > 0.02) & (middle[:, COLUMN["NAQ"]] < 0.4)).all()
    assert ((middle[:, COLUMN["Rd"]] >= 0.3) & (middle[:, COLUMN["Rd"]] <= 2.5)).all()
    assert ((middle[:, COLUMN["creak"]] >= 0) & (middle[:, COLUMN["creak"]] <= 1)).all()


def test_turning_the_signal_over_changes_nothing(voice, analysed):
    turned = analyse(-voice, RATE).features
    # Decisions and the phases of harmonics, but for rounding in the search for Rd.
    keep = [i for i in range(74) if i < HMPDD.start and i != HMPDM.stop - 1]
    np.testing.assert_allclose(analysed.features[:, keep], turned[:, keep], atol=5e-3)


def test_chunks_agree_with_the_whole(monkeypatch):
    pause = 1e-4 * np.random.default_rng(1).standard_normal(RATE // 2)
    parts = [pulse_train(f0, 1.5, seed=int(f0)) for f0 in (110, 150)]
    x = np.concatenate([piece for part in parts for piece in (part, pause)])
    whole = extraction.analyse_samples(x)
    monkeypatch.setattr(recording, "HALO", int(1.5 * RATE))
    chunked = extraction.analyse_samples(x, chunk_seconds=2)
    np.testing.assert_array_equal(whole.times, chunked.times)
    np.testing.assert_array_equal(whole.features[:, 1], chunked.features[:, 1])
    error = np.abs(whole.features - chunked.features)
    exact = [COLUMN[n] for n in ("F0", "NAQ", "QOQ", "H1H2", "PSP", "MDQ", "peakSlope")]
    assert error[:, exact].max() < 1e-8
    assert error[:, COLUMN["Rd"]].max() < 2e-2
    assert error[:, MCEP].max() < 1e-4
    assert error[:, HMPDM.start : HMPDM.stop - 1].max() < 1e-8
    assert np.corrcoef(whole.features[:, 10], chunked.features[:, 10])[0, 1] > 0.95
    assert error[:, HMPDD].max() < 0.1


@pytest.mark.parametrize("samples", [1600, 1601, 3200, 13_118, 13_119])
def test_short_recordings_give_rows(voice, samples):
    found = analyse(voice[:samples], RATE)
    assert found.features.shape == ((samples - 80) // 160 + 1, 74)
    assert np.isfinite(found.features).all()
    assert bool(found.features[:, HMPDD].any()) == (samples == 13_119)
    assert any("0.83" in remark for remark in found.remarks) == (samples < 13_119)


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
        ("long digital silence", lambda x: np.concatenate([x, np.zeros(60_000), x])),
        ("four bits", lambda x: np.round(8 * x) / 8),
        ("a whisper", lambda x: 1e-9 * x),
    ],
)
def test_difficult_signals_give_rows(voice, name, make):
    x = make(voice[:13_600])
    features = extract(x, RATE)
    assert features.shape == ((len(x) - 80) // 160 + 1, 74)
    assert not np.isnan(features).any()
    assert not np.isposinf(features).any()
    finite = np.delete(features, COLUMN["peakSlope"], axis=1)
    assert np.isfinite(finite).all()


def test_silence_is_remarked_on(caplog):
    found = analyse(np.zeros(RATE), RATE)
    assert found.polarity == 0
    assert any("silence" in remark for remark in found.remarks)
    extract(np.zeros(RATE), RATE)
    assert "silence" in caplog.text


def test_loudness_changes_the_level_only(voice, analysed):
    loud, quiet = analysed.features, analyse(voice / 8, RATE).features
    others = [*range(COLUMN["creak"]), *range(HMPDM.start, HMPDM.stop - 1)]
    np.testing.assert_allclose(loud[:, others], quiet[:, others], atol=1e-6)
    # The envelope's step depends a little on the level, so this is not exact.
    inner = slice(10, -10)
    drop = loud[inner, COLUMN["MCEP_0"]] - quiet[inner, COLUMN["MCEP_0"]]
    np.testing.assert_allclose(drop, np.log(8), atol=0.01)


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_other_rates_are_resampled(voice, rate):
    soxr = pytest.importorskip("soxr")
    features = extract(soxr.resample(voice, RATE, rate), rate)
    assert abs(len(features) - (len(voice) - 80) // 160 - 1) <= 1
    assert np.median(features[30:-30, 0]) == pytest.approx(125, abs=1.5)


def test_low_rates_are_remarked_on(voice):
    soxr = pytest.importorskip("soxr")
    found = analyse(soxr.resample(voice[:RATE], RATE, 8000), 8000)
    assert "8000 Hz holds nothing above 4000 Hz" in found.remarks[0]


def test_dither_replaces_digital_silence(voice):
    x = np.concatenate([voice[:5000], np.zeros(5000), voice[:5000]])
    assert np.isnan(analyse(x, RATE).residual).any()
    assert np.isfinite(analyse(x, RATE, dither=1e-5).residual).all()


def test_channels_are_mixed_or_chosen(voice, analysed):
    stereo = np.stack([1.5 * voice, 0.5 * voice], axis=1)
    np.testing.assert_allclose(
        analyse(stereo, RATE).features[:, :36], analysed.features[:, :36], atol=1e-6
    )
    np.testing.assert_array_equal(
        analyse(np.stack([voice, 0 * voice], axis=1), RATE, channel=0).features, analysed.features
    )


def test_pcm_integers_are_scaled(voice):
    pcm = np.round(voice[:13_600] * 32768).astype(np.int16)
    np.testing.assert_array_equal(extract(pcm, RATE), extract(pcm / 32768, RATE))


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
        ({"dither": -1e-5}, "dither must be at least 0, not -1e-05"),
        ({"dither": np.nan}, "dither must be at least 0, not nan"),
        ({"dither": np.inf}, "dither must be at least 0, not inf"),
        ({"chunk_seconds": np.inf}, "chunk_seconds must be above 0, not inf"),
        ({"chunk_seconds": np.nan}, "chunk_seconds must be above 0, not nan"),
        ({"chunk_seconds": 0}, "chunk_seconds must be above 0, not 0"),
        ({"chunk_seconds": -3}, "chunk_seconds must be above 0, not -3"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        extract(np.zeros(RATE), RATE, **options)


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
