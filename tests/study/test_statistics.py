"""The statistics on numbers worked out otherwise, and on planted studies."""

import numpy as np
import pytest
from scipy import stats

from mosei_ssl.metrics import METRICS, evaluate_predictions
from mosei_ssl.metrics.video_sums import scores, video_sums, weighted
from mosei_ssl.study import StatisticsConfig, analyse
from mosei_ssl.study.analysis import Scores, _savings
from mosei_ssl.study.bootstrap import (
    Estimate,
    draw_resamples,
    holm,
    interval,
    resampled_scores,
)
from mosei_ssl.study.curves import converged_budget, converged_interval
from mosei_ssl.study.figures import savings_figure
from mosei_ssl.study.tables import convergence_tables

BUDGETS = {"25": 25.0, "100": 100.0, "400": 400.0, "all": 1000.0}
NO_GAIN = dict.fromkeys(BUDGETS, 0.0)


def random_cell(seed, count=80, videos=7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (count, 6)) * (rng.random((count, 6)) < 0.5) * 1.0
    labels[:, 5] = 0.0
    value = labels + rng.normal(0, 1, labels.shape).round(1)
    value[:, 4] = 0.5
    found = {
        "intensity": np.clip(value, 0, 3),
        "class": np.clip(value, 0, 3).round(),
        "present": value,
        "expected": value,
    }
    return np.array([f"v{i}" for i in rng.integers(0, videos, count)]), labels, found


def as_arrays(result):
    return {
        metric: np.array(
            [
                np.nan if value is None else value
                for value in (
                    *(result["per_emotion"][e][metric] for e in result["per_emotion"]),
                    result["overall"][metric],
                )
            ]
        )
        for metric in METRICS
    }


def test_sums_over_videos_give_the_very_scores_of_evaluate():
    ids, labels, found = random_cell(0)
    sums = video_sums(ids, labels, found)
    got = scores(weighted(sums, np.ones((1, len(sums.videos)))))
    expected = as_arrays(evaluate_predictions(labels, found))
    for metric in METRICS:
        np.testing.assert_allclose(got[metric][0], expected[metric], atol=1e-9, err_msg=metric)


def test_weights_repeat_videos():
    ids, labels, found = random_cell(1)
    sums = video_sums(ids, labels, found)
    weights = np.array([[2, 0, 1, 3, 0, 1, 1]])
    rows = np.concatenate(
        [np.tile(np.flatnonzero(ids == v), n) for v, n in zip(sums.videos, weights[0], strict=True)]
    )
    repeated = {key: value[rows] for key, value in found.items()}
    expected = as_arrays(evaluate_predictions(labels[rows], repeated))
    got = scores(weighted(sums, weights.astype(float)))
    for metric in METRICS:
        np.testing.assert_allclose(got[metric][0], expected[metric], atol=1e-9, err_msg=metric)


def test_folds_are_pooled_and_seeds_averaged():
    cells, parts = {}, {}
    for fold in ("a", "b"):
        for seed in range(2):
            ids, labels, found = random_cell([ord(fold), 0], videos=4)
            found = {k: v + 0.1 * seed if k == "intensity" else v for k, v in found.items()}
            ids = np.char.add(ids, fold)
            parts[fold, seed] = (labels, found)
            cells[fold, seed] = video_sums(ids, labels, found)
    rng = np.random.default_rng(0)
    draws = draw_resamples({"a": 4, "b": 4}, 2, 1, rng, resample_videos=False, resample_seeds=False)
    got = resampled_scores(cells, draws)["mae"][0, -1]
    by_seed = []
    for seed in range(2):
        labels = np.concatenate([parts[f, seed][0] for f in ("a", "b")])
        value = np.concatenate([parts[f, seed][1]["intensity"] for f in ("a", "b")])
        by_seed.append(np.abs(labels - value).mean())
    assert got == pytest.approx(np.mean(by_seed))


def test_rankings_are_not_compared_across_folds():
    # Within each fold they are perfect; fold b's scores lie wholly above fold a's.
    labels = np.array([[0.0], [1.0]])
    cells = {}
    for fold, shift in (("a", 0.0), ("b", 10.0)):
        value = labels + shift
        found = {"intensity": labels, "class": labels, "present": value, "expected": value}
        cells[fold, 0] = video_sums([fold, fold], labels, found)
    rng = np.random.default_rng(0)
    draws = draw_resamples({"a": 1, "b": 1}, 1, 1, rng, resample_videos=False)
    got = resampled_scores(cells, draws)
    assert got["auroc"][0, -1] == got["pearson_r"][0, -1] == 1.0


def test_r_is_the_mean_over_test_splits_by_their_segments():
    """The second split's model answers with a hundred times the spread of the first's."""
    rng = np.random.default_rng(4)
    cells, r, counts = {}, [], (30, 90)
    for fold, count, scale in zip("ab", counts, (0.01, 1.0), strict=True):
        labels = rng.integers(0, 4, (count, 1)).astype(float)
        value = scale * (labels + rng.normal(size=labels.shape))
        r.append(np.corrcoef(labels[:, 0], value[:, 0])[0, 1])
        found = dict.fromkeys(("intensity", "class", "present", "expected"), value)
        cells[fold, 0] = video_sums(np.arange(count) % 5, labels, found)
    draws = draw_resamples({"a": 5, "b": 5}, 1, 1, rng, resample_videos=False)
    got = resampled_scores(cells, draws)["pearson_r"][0, -1]
    assert got == pytest.approx(np.average(r, weights=counts))


def test_drawing_n_minus_1_gives_the_variance_of_a_mean():
    values = np.array([1.0, 4.0])
    draws = draw_resamples({"a": 1}, 2, 20000, np.random.default_rng(0), resample_videos=False)
    spread = values[draws.seeds[:, 0, 0]].std()
    assert spread == pytest.approx(values.std(ddof=1) / np.sqrt(2), rel=0.02)


def test_interval_widens_with_few_seeds():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 1))
    zero = np.zeros((4000, 1))
    of_videos = interval(np.ones(1), noise, noise, zero, videos=400, seeds=2, folds=1)
    of_seeds = interval(np.ones(1), noise, zero, noise, videos=400, seeds=2, folds=1)
    assert of_videos.high[0] - 1 == pytest.approx(1.96, rel=0.05)
    assert of_seeds.high[0] - 1 == pytest.approx(12.7, rel=0.05)
    assert of_videos.p[0] == pytest.approx(0.317, abs=0.02)


def test_identical_arms_differ_by_nothing():
    zero = np.zeros((100, 1))
    found = interval(np.zeros(1), zero, zero, zero, videos=5, seeds=2, folds=1)
    assert (found.low[0], found.high[0], found.p[0]) == (0.0, 0.0, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    got = holm([0.6, float("nan"), 0.7])
    assert got[0] == 1.0
    assert np.isnan(got[1])


def test_convergence_by_hand():
    half = np.array([0.1, 0.1, 0.1])
    rows = np.array([[0.3, 0.2, 0.0], [0.3, 0.0, 0.2], [0.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    assert converged_budget(rows, half).tolist() == [2, 3, 0, 1]


NOISE = np.full(4, stats.norm.ppf(0.975))
"""Half widths of the 95 % interval at four budgets whose differences have the error 1."""


def convergence_of(rng, truth):
    difference = rng.normal(truth, 1.0)
    return converged_interval(difference, rng.normal(difference, 1.0, (400, 4)), NOISE)


def test_where_nothing_helps_convergence_is_at_once_and_not_open():
    rng = np.random.default_rng(0)
    found = [convergence_of(rng, np.zeros(4)) for _ in range(300)]
    # Four independent looks at the level of 95 % find nothing in 81 of 100 studies.
    assert np.mean([budget == 0 for budget, _, _ in found]) == pytest.approx(0.81, abs=0.06)
    assert np.mean([low == 0 for _, low, _ in found]) > 0.95
    # By hand: the end is open unless the last difference is below 2.77 - 1.96 = 0.81 errors.
    assert np.mean([high < 4 for _, _, high in found]) == pytest.approx(0.58, abs=0.08)


def test_convergence_at_a_known_budget_lies_in_its_interval():
    rng = np.random.default_rng(1)
    found = [convergence_of(rng, np.array([9.0, 9.0, 0.0, 0.0])) for _ in range(300)]
    assert np.mean([low <= 2 <= high for _, low, high in found]) > 0.95
    assert np.mean([low == 2 for _, low, _ in found]) > 0.9
    assert np.mean([high < 4 for _, _, high in found]) > 0.5
    never = [convergence_of(rng, np.full(4, 9.0)) for _ in range(20)]
    assert set(never) == {(4, 4, 4)}


def test_planted_convergence_has_two_ends(planted):
    make, as_sums = planted
    gain = {"25": 0.9, "100": 0.7, "400": 0.0, "all": 0.0}
    statistics = StatisticsConfig(samples=100)
    ends = []
    for seed in range(24):
        result = analyse(as_sums(make(seed, gain)), BUDGETS, ["ssl"], statistics=statistics)
        found = result["convergence"]["ssl"]["mae"]
        assert found["low"] == "400"
        ends.append(found["high"])
    assert sum(end is not None for end in ends) > 12


def test_a_gain_at_the_largest_budget_is_told(planted):
    make, as_sums = planted
    result = analyse(
        as_sums(make(0, dict.fromkeys(BUDGETS, 0.6))),
        BUDGETS,
        ["ssl"],
        statistics=StatisticsConfig(samples=200),
    )
    found = result["label_savings"]["ssl"]["mae"]["all"]
    assert found["beyond"]
    assert found["high_beyond"]
    assert found["baseline_labels"] == 1000
    same = as_sums(make(0, NO_GAIN))
    same["ssl"] = same["baseline"]
    result = analyse(same, BUDGETS, ["ssl"], statistics=StatisticsConfig(samples=200))
    found = result["label_savings"]["ssl"]["mae"]["all"]
    assert (found["baseline_labels"], found["beyond"], found["high_beyond"]) == (1000, False, False)


def test_a_loss_at_the_smallest_budget_is_told(planted):
    make, as_sums = planted
    result = analyse(
        as_sums(make(0, dict.fromkeys(BUDGETS, -0.6))),
        BUDGETS,
        ["ssl"],
        statistics=StatisticsConfig(samples=200),
    )
    found = result["label_savings"]["ssl"]["mae"]["25"]
    assert (found["baseline_labels"], found["low"]) == (25, 25)
    assert found["below"]
    assert found["low_below"]
    assert not found["beyond"]


def at_three_budgets(values, spread, errors):
    """Scores whose samples over videos and seeds spread otherwise than their errors."""
    rng = np.random.default_rng(0)
    draws, estimates = {}, {}
    names = ("25", "100", "400")
    for name, value, sigma, error in zip(names, values, spread, errors, strict=True):
        samples = value + sigma * rng.standard_normal((20000, 1))
        draws[name] = {"value": {"mae": np.array([value])}, "both": {"mae": samples}}
        of = np.array([value])
        estimates[name] = {"mae": Estimate(of, of, of, np.array([error]), of)}
    return Scores(draws, estimates)


def test_labels_saved_are_as_sure_as_the_error_says():
    # 0.2 + labels ** -0.5, sure at all budgets; over videos and seeds at once the spread of the
    # difference at 25 is three times the error.
    budgets = {"25": 25.0, "100": 100.0, "400": 400.0}
    sure = at_three_budgets((0.4, 0.3, 0.25), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    pairs = at_three_budgets((-0.05, 0.0, 0.0), (0.03, 0.0, 0.0), (0.01, 0.0, 0.0))
    found = _savings(pairs, sure, budgets, "mae", 0.95)["25"]
    # The curve reaches 0.35 at 0.15 ** -2 labels, and 0.35 with 1.96 errors more and less.
    ends = (0.15**-2, 0.1696**-2, 0.1304**-2)
    assert [found[k] for k in ("baseline_labels", "low", "high")] == pytest.approx(ends, rel=0.03)
    # A curve through two points says nothing.
    two = {name: budgets[name] for name in ("25", "100")}
    assert _savings(pairs, sure, two, "mae", 0.95) is None


def test_one_video_and_one_seed_have_no_intervals(planted):
    make, as_sums = planted
    cells = as_sums(make(0, NO_GAIN, videos=1, folds=1, seeds=1, segments=200, training_noise=0.0))
    result = analyse(cells, BUDGETS, ["ssl"], statistics=StatisticsConfig(samples=100))
    found = result["label_savings"]["ssl"]["mae"]["25"]
    assert found["baseline_labels"] is not None
    assert (found["low"], found["high"]) == (None, None)
    text = convergence_tables(result, "ssl")[1].rows[0][1]
    assert "[" not in text
    assert "<svg" in savings_figure(result, ["mae"])


def test_the_primary_metric_is_not_adjusted(planted):
    make, as_sums = planted
    statistics = StatisticsConfig(samples=200, primary="pearson_r")
    result = analyse(as_sums(make(1, NO_GAIN)), {"25": 25.0}, ["ssl"], statistics=statistics)
    found = {m: row["overall"] for m, row in result["differences"]["ssl"]["25"].items()}
    assert "p_holm" not in found["pearson_r"]
    others = [metric for metric in METRICS if metric != "pearson_r"]
    assert len(others) == 4
    adjusted = holm([found[metric]["p"] for metric in others])
    assert [found[metric]["p_holm"] for metric in others] == pytest.approx(adjusted, abs=1e-6)


def test_planted_help_is_found_and_fades(planted):
    make, as_sums = planted
    gain = {"25": 0.6, "100": 0.4, "400": 0.1, "all": 0.0}
    result = analyse(
        as_sums(make(0, gain)), BUDGETS, ["ssl"], statistics=StatisticsConfig(samples=800)
    )
    difference = result["differences"]["ssl"]
    for budget in ("25", "100"):
        assert difference[budget]["mae"]["overall"]["high"] < 0
        assert difference[budget]["pearson_r"]["overall"]["low"] > 0
        assert difference[budget]["pearson_r"]["overall"]["p_holm"] < 0.05
    last = difference["all"]["mae"]["overall"]
    assert last["low"] < 0 < last["high"]
    found = result["convergence"]["ssl"]["mae"]
    assert found["budget"] in ("400", "all")
    assert found["ever_differs"]
    savings = result["label_savings"]["ssl"]["mae"]["25"]
    assert savings["low"] > 25
    assert savings["low"] <= savings["baseline_labels"] <= savings["high"]
    assert result["design"] == {
        "videos": 18, "seeds": 2, "folds": 6, "samples": 800, "level": 0.95
    }  # fmt: skip


def test_an_arm_can_be_compared_with_another_than_the_baseline(planted):
    make, as_sums = planted
    sums = as_sums(make(0, dict.fromkeys(BUDGETS, 0.5)))
    sums |= {"twin": sums["baseline"], "ours": sums["ssl"]}
    found = analyse(
        *(sums, BUDGETS, ["ssl", "ours", "twin"], "baseline", StatisticsConfig(samples=100)),
        against={"ours": "twin", "twin": "ssl"},
    )
    assert found["against"] == {"ssl": "baseline", "ours": "twin", "twin": "ssl"}
    difference = {
        arm: found["differences"][arm]["25"]["mae"]["overall"] for arm in found["against"]
    }
    assert difference["ours"] == difference["ssl"]
    assert difference["twin"]["value"] == -difference["ssl"]["value"]


def test_where_nothing_helps_the_interval_covers_zero(planted):
    make, as_sums = planted
    result = analyse(
        as_sums(make(3, NO_GAIN)), BUDGETS, ["ssl"], statistics=StatisticsConfig(samples=800)
    )
    for budget in BUDGETS:
        found = result["differences"]["ssl"][budget]["mae"]["overall"]
        assert found["low"] < 0 < found["high"]
    assert result["convergence"]["ssl"]["mae"]["budget"] == "25"
    assert not result["convergence"]["ssl"]["mae"]["ever_differs"]


@pytest.mark.parametrize(
    ("videos", "folds", "seeds", "noise"), [(18, 6, 2, 0.25), (60, 1, 3, 0.05)]
)
def test_null_studies_are_covered(planted, videos, folds, seeds, noise):
    make, as_sums = planted
    budget = {"100": 100.0}
    size = {"videos": videos, "folds": folds, "seeds": seeds, "segments": 4}
    covered = {metric: [] for metric in METRICS}
    for number in range(30):
        cells = as_sums(make(number, {"100": 0.0}, budgets=budget, training_noise=noise, **size))
        statistics = StatisticsConfig(samples=100, seed=number)
        result = analyse(cells, budget, ["ssl"], statistics=statistics)
        for metric, found in result["differences"]["ssl"]["100"].items():
            # The errors of the emotions do not depend on each other.
            covered[metric] += [row["low"] <= 0 <= row["high"] for row in found.values()]
    rates = {metric: np.mean(found) for metric, found in covered.items()}
    assert len(covered["mae"]) == 210
    assert rates["mae"] >= 0.9, rates
    assert min(rates.values()) >= 0.88, rates


def test_same_seed_same_numbers(planted):
    make, as_sums = planted
    cells = as_sums(make(5, NO_GAIN))
    first = analyse(cells, BUDGETS, ["ssl"], statistics=StatisticsConfig(samples=100))
    assert first == analyse(cells, BUDGETS, ["ssl"], statistics=StatisticsConfig(samples=100))


def test_an_arm_without_any_result_is_left_out(planted):
    make, as_sums = planted
    cells = {"baseline": as_sums(make(5, NO_GAIN))["baseline"], "half": {}}
    result = analyse(cells, BUDGETS, ["ssl", "half"], statistics=StatisticsConfig(samples=100))
    assert result["differences"] == result["convergence"] == {}


def test_without_a_baseline_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match="baseline"):
        analyse({}, BUDGETS, ["ssl"])
