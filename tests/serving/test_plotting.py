"""The picture of a recording."""

import numpy as np

from mosei_ssl.serving import Segment
from mosei_ssl.serving.plotting import plot_recording
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES

RATE = 16_000


def heard(start, end, f0):
    """A segment as of a voice at one pitch; of silence with a pitch of 0."""
    features = np.zeros((round((end - start) * 100), 74))
    features[:, FEATURE_NAMES.index("F0")] = f0 or 220
    features[:, FEATURE_NAMES.index("VUV")] = f0 > 0
    return Segment("talk", start, end, features)


def records(intensities, not_learned=()):
    return [
        {
            "emotions": {name: {"expected": x, "present": x / 3} for name, x in row},
            "not_learned": not_learned,
        }
        for row in (zip(EMOTIONS, values, strict=True) for values in intensities)
    ]


def test_picture_shows_wave_pitch_and_six_emotions(tmp_path):
    samples = np.sin(np.arange(1.5 * RATE))
    # They overlap: what both hold is drawn once.
    segments = [heard(0, 1.0, 130.0), heard(0.5, 1.5, 130.0)]
    intensities = np.linspace(0, 3, 12).reshape(2, 6)
    figure = plot_recording(samples, segments, records(intensities), "a voice")
    wave, pitch, mood = figure.axes
    assert wave.get_xlim() == (0, 1.5)
    np.testing.assert_allclose(pitch.lines[0].get_xdata(), np.arange(150) / 100)
    assert set(pitch.lines[0].get_ydata()) == {130.0}
    assert [line.get_label() for line in mood.lines] == list(EMOTIONS)
    np.testing.assert_allclose(mood.lines[5].get_xydata(), [[0.5, 15 / 11], [1.0, 3]])
    fewer = plot_recording(samples, segments, records(intensities, ["surprise"]))
    assert len(fewer.axes[2].lines) == 5
    figure.savefig(tmp_path / "voice.png")
    assert (tmp_path / "voice.png").stat().st_size > 10_000


def test_a_single_segment_is_drawn_as_bars_with_probabilities():
    intensities = np.array([[0.3, 0, 1.5, 0, 0, 3]])
    figure = plot_recording(np.zeros(RATE), [heard(0, 1, 130.0)], records(intensities))
    bars = figure.axes[2]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], intensities[0])
    assert [label.get_text() for label in bars.get_yticklabels()] == list(EMOTIONS)
    shares = [text.get_text() for text in bars.texts]
    assert shares == [f"present: {share}%" for share in (10, 0, 50, 0, 0, 100)]
    unknown = plot_recording(
        np.zeros(RATE), [heard(0, 1, 130.0)], records(intensities, ["surprise"])
    )
    assert unknown.axes[2].texts[EMOTIONS.index("surprise")].get_text() == "not learned"


def test_picture_of_silence(tmp_path):
    figure = plot_recording(np.zeros(RATE), [heard(0, 1, 0)], records(np.zeros((1, 6))))
    figure.savefig(tmp_path / "silence.png")
    assert any("nothing voiced" in text.get_text() for text in figure.axes[1].texts)
