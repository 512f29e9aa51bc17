"""What a study gives to a paper."""

import struct

import pytest

from mosei_ssl.metrics import EMOTIONS, METRICS
from mosei_ssl.study import figures, paper


def point(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


@pytest.fixture
def result():
    def scores(value):
        found = {e: point(value + i / 10) for i, e in enumerate((*EMOTIONS, "overall"))}
        return {budget: dict.fromkeys(METRICS, found) for budget in ("25", "all")}

    return {
        "budgets": {"25": 25, "all": 400},
        "primary": "mae",
        "baseline": "from_scratch",
        "against": {"ssl": "from_scratch"},
        "arms": ["ssl", "from_scratch"],
        "scores": {"ssl": scores(0.3), "from_scratch": scores(0.2), "all_zero": scores(0)},
        "differences": {"ssl": scores(-0.5)},
    }


def test_figures_have_the_widths_of_columns_and_are_stamped(result, tmp_path):
    paper.write_paper(tmp_path, result, ["ssl"], "SYNTHETIC")
    widths = {"mae_column": 3.5, "mae_difference_column": 3.5, "mae_emotions_double": 7.16}
    assert {file.stem for file in tmp_path.glob("*.p*")} == set(widths)
    for name, inches in widths.items():
        pixels = struct.unpack(">I", (tmp_path / f"{name}.png").read_bytes()[16:20])[0]
        assert pixels == pytest.approx(300 * inches, abs=1)
        pdf = (tmp_path / f"{name}.pdf").read_bytes()
        assert f"/MediaBox [ 0 0 {72 * inches:g}".encode() in pdf
        assert b"CreationDate" not in pdf  # the same data gives the same file
    assert (tmp_path / "tables.tex").read_text().count("SYNTHETIC") == len(METRICS) + 1


def test_tables_say_what_was_found_in_latex(result):
    text = paper.latex(result)
    assert r"ssl & $0.900 [0.800, 1.000]$ & $0.900 [0.800, 1.000]$ \\" in text
    assert r"difference to from\_scratch" in text
    assert "$+0.100 [+0.000, +0.200]$" in text
    assert text.count(r"\begin{tabular}{lrr}") == len(METRICS) + 1


def test_emotions_have_one_scale(result):
    drawn = []
    panels = [("mae", emotion) for emotion in EMOTIONS]
    figures.budget_figure(result, ["ssl"], panels, finish=lambda f: drawn.append(f) or "")
    assert len({axis.get_ylim() for axis in drawn[0].axes}) == 1
