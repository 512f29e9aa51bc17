"""What changed from one run's predictions to another's."""

import numpy as np
import pytest

from mosei_ssl.metrics.comparison import change, read_predictions


def test_change_of_r_is_the_difference_of_correlations_with_an_interval_around_it(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (200, 6)).astype(float)
    videos = np.repeat([f"v{number}" for number in range(40)], 5)
    r, files = [], []
    for noise in (0.5, 2.0):
        found = labels + noise * rng.normal(size=labels.shape)
        r.append(np.mean([np.corrcoef(labels[:, e], found[:, e])[0, 1] for e in range(6)]))
        values = dict.fromkeys(("intensity", "class", "present", "expected"), found)
        files.append(tmp_path / f"{noise}.npz")
        np.savez(files[-1], video_ids=videos, speakers=videos, labels=labels, **values)
    kept = [read_predictions(file) for file in files]
    value, low, high = change(*kept)["pearson_r"]
    assert value == pytest.approx(r[0] - r[1])
    assert low < value < high
    assert 0.02 < high - low < 0.2
    np.testing.assert_allclose(change(*kept[::-1])["pearson_r"], [-value, -high, -low])


@pytest.mark.parametrize(("speakers", "over"), [(5, "speakers"), (4, "recordings")])
def test_intervals_are_over_speakers_where_enough_are_known(tmp_path, speakers, over):
    labels = np.random.default_rng(0).integers(0, 4, (40, 6)).astype(float)
    videos = np.array([f"v{number}" for number in range(40)])
    names = np.array([f"s{number % speakers}" for number in range(40)])
    values = dict.fromkeys(("intensity", "class", "present", "expected"), labels)
    np.savez(tmp_path / "x.npz", video_ids=videos, speakers=names, labels=labels, **values)
    kept = read_predictions(tmp_path / "x.npz")
    assert kept.over == over
    assert len(set(kept.units)) == (5 if over == "speakers" else 40)
