"""The picture of a recording."""

import numpy as np

from mosei_ssl.serving.plotting import plot_emotions
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES

RATE = 16_000


def heard(seconds, f0):
    """Rows as of a voice at one pitch; of silence with a pitch of 0."""
    times = np.arange(0, seconds, 0.01)
    features = np.zeros((len(times), 74))
    features[:, FEATURE_NAMES.index("F0")] = f0 or 220
    features[:, FEATURE_NAMES.index("VUV")] = f0 > 0
    return features, times


def test_picture_shows_wave_pitch_and_six_emotions(tmp_path):
    samples = np.sin(np.arange(1.5 * RATE))
    intensities = np.linspace(0, 3, 12).reshape(2, 6)
    windows = [[0, 0.75], [0.75, 1.5]]
    figure = plot_emotions(samples, RATE, *heard(1.5, 130.0), windows, intensities, "a voice")
    wave, pitch, mood = figure.axes
    assert wave.get_xlim() == (0, 1.5)
    assert set(pitch.lines[0].get_ydata()) == {130.0}
    assert [line.get_label() for line in mood.lines] == list(EMOTIONS)
    np.testing.assert_allclose(mood.lines[5].get_xydata(), [[0.375, 15 / 11], [1.125, 3]])
    figure.savefig(tmp_path / "voice.png")
    assert (tmp_path / "voice.png").stat().st_size > 10_000


def test_picture_of_silence(tmp_path):
    figure = plot_emotions(np.zeros(RATE), RATE, *heard(1, 0), [[0, 1]], np.zeros((1, 6)))
    figure.savefig(tmp_path / "silence.png")
    assert any("nothing voiced" in text.get_text() for text in figure.axes[1].texts)
