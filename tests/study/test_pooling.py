"""Studies of several corpora as one result."""

import json

import numpy as np
import pytest
from scipy import stats

from mosei_ssl.metrics import METRICS, all_zero
from mosei_ssl.metrics.video_sums import video_sums
from mosei_ssl.study import analyse
from mosei_ssl.study.pooling import pool_studies
from mosei_ssl.utils.errors import UserError


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Three studies in which arm and baseline answer with constants; folders and differences."""
    root, gains = tmp_path_factory.mktemp("studies"), (0.2, 0.5, 0.1)
    rng = np.random.default_rng(5)
    for number, gain in enumerate(gains):
        labels = rng.integers(0, 4, size=(12, 6)).astype(float)
        # A tenth more in two of four videos, a tenth less in the others.
        noise = 0.1 * (-1.0) ** np.arange(12)[:, None]
        cells = {}
        for arm, wrong in (("ssl", 1.0 - gain + noise), ("baseline", 1.0)):
            answers = all_zero(12) | {"intensity": labels + wrong}
            sums = {("1", 0): video_sums([f"v{i % 4}" for i in range(12)], labels, answers)}
            cells[arm] = {"25": sums} | ({"100": sums} if number < 2 else {})
        folder = root / f"corpus{number}"
        folder.mkdir()
        found = analyse(cells, {"25": 25.0, "100": 100.0}, ["ssl"])
        (folder / "statistics.json").write_text(json.dumps(found))
    return [root / f"corpus{number}" for number in range(3)], gains


def test_means_over_corpora_have_students_intervals(studies, tmp_path):
    folders, gains = studies
    report = pool_studies(folders, tmp_path / "pooled")
    found = json.loads((tmp_path / "pooled" / "statistics.json").read_text())
    assert list(found["differences"]["ssl"]) == ["25"]  # one study lacks the other
    assert "| predictor | 25 | 100 |" in (tmp_path / "pooled" / "report.md").read_text()
    point = found["differences"]["ssl"]["25"]["mae"]["overall"]
    half = stats.t.ppf(0.975, 2) * np.std(gains, ddof=1) / np.sqrt(3)
    assert point["value"] == pytest.approx(-np.mean(gains), abs=1e-5)
    assert point["high"] - point["value"] == pytest.approx(half, abs=1e-5)
    halves = []
    for folder in folders:
        own = json.loads((folder / "statistics.json").read_text())
        own = own["differences"]["ssl"]["25"]["mae"]["overall"]
        halves.append((own["high"] - own["low"]) / 2)
    assert min(halves) > 0.01
    own = np.sqrt(np.sum(np.square(halves))) / 3
    assert point["speakers_high"] - point["value"] == pytest.approx(own, abs=1e-5)
    assert point["value"] - point["speakers_low"] == pytest.approx(own, abs=1e-5)
    assert "ssl minus baseline | " in (tmp_path / "pooled" / "report.md").read_text()
    assert found["scores"]["baseline"]["25"]["mae"]["overall"]["value"] == pytest.approx(1.0)
    assert set(found["scores"]["ssl"]["25"]) == set(METRICS)
    lines = (tmp_path / "pooled" / "report.md").read_text().splitlines()
    (head,) = [n for n, line in enumerate(lines) if line.startswith("| study | arm |")]
    table = [line for line in lines[head : head + 12] if line.startswith("|")]
    assert any("ssl | " in line and line.rstrip().endswith("| - |") for line in table)
    assert len({line.count("|") for line in table}) == 1
    page = report.read_text()
    assert "corpus1" in page
    assert "SYNTHETIC" not in page


def test_studies_that_do_not_go_together_are_refused(studies, tmp_path):
    folders, _ = studies
    with pytest.raises(UserError, match="at least two"):
        pool_studies(folders[:1], tmp_path)
    with pytest.raises(UserError, match="not a finished study"):
        pool_studies([folders[0], tmp_path / "none"], tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    content = json.loads((folders[0] / "statistics.json").read_text())
    (other / "statistics.json").write_text(json.dumps(content | {"baseline": "ssl"}))
    with pytest.raises(UserError, match="differ in baseline"):
        pool_studies([folders[0], other], tmp_path)
