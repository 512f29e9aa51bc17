"""Which segments to label: on groups that were planted, and from recordings to a table."""

import csv

import numpy as np
import pytest

from mosei_ssl.cli import main
from mosei_ssl.data.selection import select_segments
from mosei_ssl.utils.errors import UserError
from tfds_mosei import FEATURE_NAMES, csd
from tfds_mosei.tables import Table


@pytest.fixture
def groups():
    """Three groups of 30, 20 and 10 points, far apart, and which group each is of."""
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1, 2], [30, 20, 10])
    return rng.normal(size=(60, 5)) + 40 * np.eye(5)[of], of


def test_each_group_gives_its_most_typical_segment_the_largest_first(groups):
    points, of = groups
    chosen = select_segments(points, 3)
    assert of[chosen].tolist() == [0, 1, 2]
    scaled = (points - points.mean(axis=0)) / points.std(axis=0)
    for group, index in enumerate(chosen):
        members = np.flatnonzero(of == group)
        nearest = [
            np.mean(sorted(np.linalg.norm(scaled[members] - scaled[one], axis=1))[1:21])
            for one in members
        ]
        assert index == members[np.argmin(nearest)]
    assert select_segments(points, 3).tolist() == chosen.tolist()


def test_groups_with_labels_are_passed_over(groups):
    points, of = groups
    chosen = select_segments(points, 2, labelled=np.flatnonzero(of == 0)[:1])
    assert of[chosen].tolist() == [1, 2]


def test_no_more_than_there_are_and_none_twice():
    points = np.array([[0.0, 1.0], [0.0, 1.0], [5.0, 1.0]])
    assert sorted(select_segments(points, 9)) in ([0, 2], [1, 2])
    assert select_segments(points[:1], 1).tolist() == [0]


def test_a_table_of_the_segments_to_label(tmp_path, capsys):
    rng = np.random.default_rng(1)
    videos = []
    for name, level in (("one", 0.0), ("two", 8.0)):
        times = np.arange(401)[:, None] * 0.01 + [0, 0.01]
        rows = rng.normal(size=(401, 74)) + level
        rows[200:, :] += 3.0
        rows[:, 7] = -np.inf
        videos.append((name, times[:400], rows[:400]))
    file = csd.write(tmp_path / "a.csd", "COVAREP", videos, dimension_names=FEATURE_NAMES)
    line = ["select", str(file), "--window", "2", "--budget"]
    first = tmp_path / "first.csv"
    assert main([*line, "3", "--template", str(first)]) == 0
    assert "3 of 4 segments" in capsys.readouterr().out
    with first.open(newline="", encoding="utf-8-sig") as opened:
        header, *rows = csv.reader(opened)
    assert header[:4] == ["file", "start", "end", "happy"]
    assert {tuple(row[:3]) for row in rows} < {
        (name, *times) for name in ("one", "two") for times in (("0.0", "2.0"), ("2.0", "4.0"))
    }
    # The one that is left.
    more = tmp_path / "more.xlsx"
    assert main([*line, "9", "--template", str(more), "--labelled", str(first)]) == 0
    assert "1 of 4 segments, the most useful first (3 have labels)" in capsys.readouterr().out
    (left,) = Table(more, ["id"])
    assert (left.text("id"), left.number("start")) not in {(r[0], float(r[1])) for r in rows}
    # A spreadsheet of another person, in whose names capitals differ.
    other = tmp_path / "other.csv"
    other.write_text(first.read_text(encoding="utf-8-sig").replace("one", "ONE.wav"))
    assert main([*line, "9", "--template", str(tmp_path / "d.csv"), "--labelled", str(other)]) == 0
    assert "(3 have labels)" in capsys.readouterr().out
    assert main([*line, "1", "--template", str(first)]) == 2
    more.with_suffix(".csv").write_text("clip,start\none,0\n")
    wrong = ["--template", str(tmp_path / "c.csv"), "--labelled", str(more.with_suffix(".csv"))]
    with pytest.raises(UserError, match="no column names the recordings"):
        main(["--debug", *line, "1", *wrong])
    with pytest.raises(UserError, match="no such file"):
        main(["--debug", "select", str(tmp_path / "b.csd"), "--template", str(tmp_path / "c.csv")])
