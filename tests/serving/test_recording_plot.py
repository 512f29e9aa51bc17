"""The picture of a recording."""

import numpy as np
from voices import RATE

from mosei_ssl.covarep import extract
from mosei_ssl.serving.recording_plot import plot_emotions


def test_picture_shows_wave_pitch_and_six_emotions(tmp_path, voice):
    features, times = extract(voice, RATE)
    intervals = [[0, 0.75], [0.75, 1.5]]
    intensities = np.linspace(0, 3, 12).reshape(2, 6)
    figure = plot_emotions(voice, RATE, features, times, intervals, intensities, title="a voice")
    wave, pitch, mood = figure.axes
    assert wave.get_xlim() == (0, 1.5)
    assert np.nanmedian(pitch.lines[0].get_ydata()) == np.median(features[20:-20, 0])
    assert [line.get_label() for line in mood.lines] == [
        *("happy", "sad", "anger", "surprise", "disgust", "fear")
    ]
    np.testing.assert_allclose(mood.lines[5].get_xydata(), [[0.375, 15 / 11], [1.125, 3]])
    figure.savefig(tmp_path / "voice.png")
    assert (tmp_path / "voice.png").stat().st_size > 10_000


def test_picture_of_silence(tmp_path):
    features, times = extract(np.zeros(RATE), RATE)
    figure = plot_emotions(np.zeros(RATE), RATE, features, times, [[0, 1]], np.zeros((1, 6)))
    figure.savefig(tmp_path / "silence.png")
    assert any("nothing voiced" in text.get_text() for text in figure.axes[1].texts)
