"""Each stage on signals whose answer is known, without reference files."""

import numpy as np
import pytest
from scipy import optimize, signal
from voices import RATE, pulse_train

from mosei_ssl.covarep import (
    brent,
    closure,
    envelope,
    harmonics,
    iaif,
    lf_model,
    lpc,
    phase,
    pitch,
    wavelets,
)
from mosei_ssl.covarep import polarity as pol
from mosei_ssl.covarep.glottal import glottal_parameters
from mosei_ssl.covarep.rd import glottal_shape, source_phases


def test_lpc_recovers_an_autoregressive_filter():
    a = np.array([1.0, -1.2, 0.8, -0.1])
    x = signal.lfilter([1], a, np.random.default_rng(0).standard_normal((2, 200_000)), axis=1)
    np.testing.assert_allclose(lpc.lpc(x, 3), [a, a], atol=0.02)


def test_lpc_solves_the_normal_equations():
    from scipy.linalg import solve_toeplitz

    frame = np.random.default_rng(1).standard_normal((1, 60))
    r = lpc.autocorrelation(frame, 8)[0]
    np.testing.assert_allclose(lpc.lpc(frame, 8)[0, 1:], -solve_toeplitz(r[:-1], r[1:]))


def test_lpc_of_silence_is_nan():
    assert np.isnan(lpc.lpc(np.zeros((1, 50)), 4)[0, 1:]).all()


def test_residual_keeps_energy_and_marks_silence():
    x = np.random.default_rng(2).standard_normal(4000)
    x[1500:2500] = 0
    residual = lpc.lp_residual(x, 12)
    assert np.isnan(residual[1600:2400]).all()
    assert np.isfinite(residual[:1000]).all()


def test_polarity_follows_the_sign(voice):
    def of(x):
        return pol.polarity(
            pol.power_sums(lpc.lp_residual(x, 18)), pol.power_sums(pol.rough_residual(x))
        )

    assert of(voice) == -of(-voice) != 0
    assert of(np.zeros(8000)) == 0


def test_power_sums_add_up():
    x = np.random.default_rng(3).standard_normal(1000)
    np.testing.assert_allclose(pol.power_sums(x[:300]) + pol.power_sums(x[300:]), pol.power_sums(x))


@pytest.mark.parametrize("f0", [80.0, 125.0, 240.0])
def test_pitch_of_a_pulse_train(f0):
    sums = pitch.harmonic_sums(pulse_train(f0, 1.0))
    first = pitch.best_candidates(sums)
    track = pitch.decide_voicing(*pitch.best_candidates(sums, *pitch.speaker_range(*first)))
    assert len(track.f0) == (RATE - 1599) // 160 + 1
    assert track.voiced.mean() > 0.95
    # The criterion reads its bins one hertz low.
    assert track.median(50, 500) == pytest.approx(f0, abs=1.5)


def test_pitch_range_narrows_to_an_octave_either_side():
    f0, criterion = np.full(20, 201.0), np.full(20, 0.3)
    assert pitch.speaker_range(f0, criterion) == (101, 402)
    assert pitch.speaker_range(f0, criterion * 0.1) == (50, 500)


def test_closure_instants_are_one_period_apart(analysed):
    gaps = np.diff(analysed.instants)
    assert np.median(gaps) == 128
    assert (np.abs(gaps - 128) <= 2).mean() > 0.95


def test_swings_pair_each_minimum_with_the_next_maximum():
    x = np.sin(2 * np.pi * np.arange(1000) / 100)
    minima, maxima = closure.swings(x)
    assert minima.tolist() == list(range(75, 900, 100))
    assert maxima.tolist() == list(range(125, 1000, 100))


def test_glottal_flow_in_batches_equals_frames_alone(voice):
    instants = np.arange(2000, 12_000, 128) + np.random.default_rng(4).integers(-9, 9, 79)
    flow, derivative = iaif.glottal_flow(voice, instants)
    alone = np.zeros_like(flow)
    periods = np.diff(instants, prepend=2 * instants[0] - instants[1])
    for g, period in zip(instants, periods, strict=True):
        span = slice(g - 1 - period, g + period)
        part, _ = iaif._inverse_filter_batch(voice[None, span], np.array([2 * period + 1]))
        alone[span] += part[0]
    np.testing.assert_allclose(flow, alone, atol=1e-10 * np.abs(flow).max())
    assert np.abs(derivative).max() > 0
    assert not flow[:1500].any()


def test_glottal_parameters_of_a_known_pulse():
    # Flow: a triangle over 60 % of the period; derivative: its slopes.
    period, cycles = 100, 8
    rise, fall = 40, 20
    pulse = np.concatenate([np.arange(rise) / rise, 1 - np.arange(fall) / fall, np.zeros(40)])
    flow = np.tile(pulse, cycles)
    derivative = np.gradient(flow)
    instants = np.arange(1, cycles) * period - 1
    found = glottal_parameters(flow, derivative, instants)
    # Amplitude 1, steepest slope 1/20, period 100.
    np.testing.assert_allclose(found["NAQ"][1:], 1 / (period / 20), rtol=0.02)
    # Above half height for half of the rise and half of the fall.
    np.testing.assert_allclose(found["QOQ"][1:], (rise + fall) / 2 / period, atol=0.021)
    assert np.isfinite(found["H1H2"]).all()
    assert (found["PSP"][1:] > 0).all()


def test_cycles_outside_20_to_500_hz_count_nothing():
    flow = np.random.default_rng(5).standard_normal(4000)
    found = glottal_parameters(flow, flow, np.array([1000, 1010, 2000]))
    assert all((values[1:] == 0).all() for values in found.values())


def test_wavelets_equal_direct_convolution():
    x = np.random.default_rng(6).standard_normal(12_000)
    n = np.arange(-1000, 1001)
    for octave in (0, 3, 6):
        scale = 2.0**octave
        kernel = -np.cos(np.pi * n / scale) * np.exp(-(n**2) / (2 * scale**2))
        expected = np.convolve(x, kernel)[1000 : 1000 + len(x)]
        np.testing.assert_allclose(wavelets.decompose(x, (octave,))[0], expected, atol=1e-11)


def test_wavelets_spread_nan_by_a_thousand_samples():
    x = np.ones(6000)
    x[3000] = np.nan
    lost = np.flatnonzero(np.isnan(wavelets.decompose(x, (2,))[0]))
    assert (lost[0], lost[-1]) == (2000, 4000)


def test_wavelets_are_exactly_zero_in_silence():
    x = np.zeros(6000)
    x[:1000] = np.random.default_rng(6).standard_normal(1000)
    n = np.arange(-1000, 1001)
    for octave, last in ((0, 1037), (3, 1308), (6, 1999)):
        scale = 2.0**octave
        response = wavelets.decompose(x, (octave,))[0]
        assert np.flatnonzero(response)[-1] == pytest.approx(last, abs=2)
        kernel = -np.cos(np.pi * n / scale) * np.exp(-(n**2) / (2 * scale**2))
        direct = np.convolve(x, kernel)[1000 : 1000 + len(x)]
        faint = slice(1000 + 10 * 2**octave, 1000 + 30 * 2**octave if octave < 5 else 1950)
        np.testing.assert_allclose(response[faint], direct[faint], rtol=1e-6, atol=1e-300)


def test_peak_slope_tells_octaves_of_a_click_apart():
    x = np.zeros(3200)
    x[1600] = 1.0
    # Every wavelet has height 1 at its centre: the slope of a click is 0.
    slopes = wavelets.peak_slope(x)
    assert slopes[7:10] == pytest.approx(0.0, abs=1e-12)


def test_harmonics_of_a_sum_of_cosines():
    f0, n = 200.0, np.arange(RATE)
    amplitudes, phases = [0.5, 0.25, 0.1], [0.3, -1.0, 2.0]
    centre = 799 + 1 + 160 * 20
    x = sum(
        a * np.cos(2 * np.pi * f0 * (h + 1) * (n - centre) / RATE + p)
        for h, (a, p) in enumerate(zip(amplitudes, phases, strict=True))
    )
    x = x + 1e-9 * np.random.default_rng(7).standard_normal(RATE)
    found, _ = harmonics.analyse(x, np.array([20]), np.array([f0]))
    # A window of unit sum halves the amplitude of a cosine.
    np.testing.assert_allclose(2 * found.amplitude[0, 1:4], amplitudes, rtol=2e-3)
    np.testing.assert_allclose(found.phase[0, 1:4], phases, atol=5e-3)
    assert found.count[0] == 40
    assert found.spacing[0] == pytest.approx(200, abs=2)


def test_frames_whose_window_leaves_the_signal_are_dropped():
    assert harmonics.kept_frames(16_000, np.array([1.0, 100.0])).tolist() == [1]


def test_pulse_spectrum_is_the_transform_of_the_pulse():
    rd = 1.2
    alpha, epsilon = lf_model._solve(rd)
    te, ta, omega = lf_model._timing(rd)
    t = (np.arange(400_000) + 0.5) / 400_000
    start = -1 / (np.exp(alpha * te) * np.sin(omega * te))
    tail = np.exp(-epsilon * (t - te)) - np.exp(-epsilon * (1 - te))
    pulse = np.where(t <= te, start * np.exp(alpha * t) * np.sin(omega * t), -tail / (epsilon * ta))
    expected = [np.mean(pulse * np.exp(-2j * np.pi * h * t)) for h in range(1, 9)]
    got = lf_model.pulse_spectrum(np.array([rd]), 8)[0]
    np.testing.assert_allclose(got, expected, atol=2e-5)
    # Flow that starts at zero ends at zero: the derivative has no mean.
    assert pulse.mean() == pytest.approx(0, abs=1e-4)


def test_rates_of_the_pulse_are_interpolated_closely():
    for rd in (0.3, 0.77, 1.9, 2.5):
        x = 2 * (rd - 0.3) / 2.2 - 1
        got = np.polynomial.chebyshev.chebval(x, lf_model._rates())
        np.testing.assert_allclose(got, lf_model._solve(rd), rtol=1e-8)


def test_lockstep_minimiser_goes_the_scalar_way():
    centres = np.linspace(0.2, 2.7, 40)

    def value(x, c):
        return np.cos(5 * (x - c)) * 0.3 + (x - c) ** 2

    places, values = brent.minimise(lambda x: value(x, centres), 40, 0.3, 2.5, 0.01, 32)
    for place, lowest, centre in zip(places, values, centres, strict=True):
        alone = optimize.minimize_scalar(
            value,
            args=(centre,),
            bounds=(0.3, 2.5),
            method="bounded",
            options={"xatol": 0.01, "maxiter": 32},
        )
        assert (place, lowest) == pytest.approx((alone.x, alone.fun), abs=1e-8)


def test_minimiser_without_values_stays_where_it_began():
    place, value = brent.minimise(lambda x: np.full(1, np.nan), 1, 0.0, 1.0, 0.01, 32)
    assert place[0] == pytest.approx(0.381966, abs=1e-6)
    assert np.isnan(value[0])


def test_shape_parameter_without_energy():
    silent = harmonics.Harmonics(
        np.array([100.0]), np.array([100.0]), np.array([79]), np.zeros((1, 80)), np.zeros((1, 80))
    )
    with np.errstate(all="ignore"):
        rd, confidence = glottal_shape(*source_phases(silent))
    assert rd[0] == pytest.approx(0.3 + 0.381966 * 2.2, abs=1e-5)
    assert np.isnan(confidence[0])


@pytest.mark.parametrize("size", [60, 1500])
def test_cepstrum_and_back(size):
    level = np.random.default_rng(8).standard_normal((3, 2049)).astype(np.float32)
    transform = envelope._transform_for(size)
    cepstrum = np.fft.irfft(level, axis=1)[:, : transform.size]
    cepstrum[:, 1:] *= 2
    np.testing.assert_allclose(transform.cepstrum(level), cepstrum, atol=1e-6)
    padded = np.zeros((3, 4096))
    padded[:, : transform.size] = cepstrum
    expected = np.fft.rfft(padded, axis=1).real
    np.testing.assert_allclose(transform.spectrum(cepstrum), expected, atol=2e-5)


def test_envelope_covers_the_peaks_and_is_smooth():
    f0 = 200.0
    bins = np.arange(2049) * RATE / 4096
    formants = -((bins - 1500) ** 2) / 4e6
    comb = formants + 3 * (np.cos(2 * np.pi * bins / f0) - 1)
    found = envelope.true_envelope(comb[None], np.array([f0]))[0]
    assert (comb - found).max() <= np.log(10) / 10
    assert np.abs(found - formants)[100:1900].max() < 0.5


def test_mel_cepstrum_of_a_flat_spectrum():
    got = envelope.mel_cepstrum(np.full((1, 2049), np.e), 5)
    np.testing.assert_allclose(got, [[1, 0, 0, 0, 0]], atol=1e-12)


def test_mean_phase_groups_bins():
    distortion = np.full((1, 512), 0.5)
    distortion[:, 8:10] = -0.25
    coded = phase.code_mean(*phase.vectors(distortion))
    assert coded.shape == (1, 25)
    assert coded[0, 7:10] == pytest.approx([0.5, -0.25, 0.5])


def test_constant_phase_has_no_deviation():
    distortion = np.tile(np.linspace(0, 2, 513), (100, 1))
    deviation = phase.phase_deviation(*phase.vectors(distortion))
    assert np.abs(deviation[12:-12]).max() < 1e-6
    coded = phase.code_deviation(np.zeros((2, 513)))
    np.testing.assert_allclose(coded[:, 0], np.log(0.001))


def test_blocks_of_frames_smooth_like_the_whole(monkeypatch):
    distortion = np.random.default_rng(9).uniform(-3, 3, (180, 513))
    whole = phase.code_phase(distortion)
    monkeypatch.setattr(phase, "_SMOOTHING_BLOCK", 37)
    for got, expected in zip(phase.code_phase(distortion), whole, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)
