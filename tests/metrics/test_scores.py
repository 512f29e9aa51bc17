"""Scores against numbers worked out by hand, and against MOSEI's published labels."""

import csv
import json

import numpy as np
import pytest

from mosei_ssl.metrics import (
    EMOTIONS,
    all_zero,
    auroc,
    balanced_accuracy,
    evaluate_predictions,
    four_class,
    pearson,
    prediction_dict,
)


def test_four_class_rounds_half_up_and_clips():
    values = np.array([-1.0, 0.0, 0.49, 0.5, 1.5, 2.5, 2.49, 3.0, 3.6, 9.0])
    assert four_class(values).tolist() == [0, 0, 0, 1, 2, 3, 2, 3, 3, 3]


def test_four_class_takes_sixths_stored_as_float32():
    sixths = (np.arange(19, dtype=np.float32) / np.float32(6)).astype(np.float32)
    expected = [(int(k) + 3) // 6 for k in range(19)]
    assert four_class(sixths).tolist() == expected
    assert four_class(np.float32(0.49999997)) == 1


def test_scores_by_hand():
    labels = np.array([[0.0], [1.0], [2.0], [3.0]])
    predictions = {
        "intensity": np.array([[0.5], [1.0], [1.0], [3.0]]),
        "class": np.array([[1], [1], [1], [3]]),
        "present": np.array([[0.6], [0.9], [0.6], [0.7]]),
        "expected": np.array([[0.0], [2.0], [4.0], [6.0]]),
    }
    scores = evaluate_predictions(labels, predictions, ["happy"])["per_emotion"]["happy"]
    assert scores["mae"] == pytest.approx((0.5 + 0 + 1 + 0) / 4)
    assert scores["accuracy"] == 0.5
    assert scores["balanced_accuracy"] == 0.5
    assert scores["pearson_r"] == pytest.approx(1.0)
    # One absent (0.6) against three present (0.9, 0.6, 0.7): two wins and a tie.
    assert scores["auroc"] == pytest.approx(2.5 / 3)


def test_balanced_accuracy_counts_only_classes_that_occur():
    assert balanced_accuracy(np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 0, 0])) == 0.5
    assert balanced_accuracy(np.array([0, 0]), np.array([0, 3])) == 0.5


def test_auroc_agrees_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    present = rng.random(200) < 0.2
    score = rng.integers(0, 5, 200) + present
    assert auroc(present, score) == pytest.approx(roc_auc_score(present, score))


def test_undefined_scores_are_null_in_json():
    labels = np.array([[0.0, 1.0], [0.0, 2.0]])
    result = evaluate_predictions(labels, all_zero(2, 2), ["happy", "sad"])
    assert result["per_emotion"]["happy"]["pearson_r"] is None
    assert result["per_emotion"]["happy"]["auroc"] is None
    assert result["per_emotion"]["sad"]["auroc"] is None
    assert result["overall"]["pearson_r"] is None
    assert result["overall"]["auroc"] is None
    json.dumps(result, allow_nan=False)


def test_giving_up_on_an_emotion_does_not_raise_the_mean_correlation():
    labels = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    values = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    result = evaluate_predictions(labels, prediction_dict(values), ["happy", "sad"])
    assert result["per_emotion"]["sad"]["pearson_r"] is None
    assert result["overall"]["pearson_r"] == pytest.approx(0.5)


def test_an_emotion_without_variation_in_the_labels_is_left_out_of_the_mean():
    labels = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    result = evaluate_predictions(labels, prediction_dict(labels), ["happy", "sad"])
    assert result["overall"]["pearson_r"] == pytest.approx(1.0)


def test_labels_above_three_count_as_three():
    labels = np.array([[3.3333], [0.0]])
    result = evaluate_predictions(labels, prediction_dict(np.array([[3.0], [0.0]])), ["happy"])
    assert result["overall"]["mae"] == 0.0
    assert result["overall"]["accuracy"] == 1.0


def test_near_constant_predictions_have_no_correlation():
    noise = 1.0 + np.array([0.0, 1e-9, -1e-9, 1e-9])
    assert pearson(np.array([0.0, 1.0, 0.0, 1.0]), noise) is None


@pytest.mark.parametrize(
    ("labels", "change", "match"),
    [
        (np.zeros((2, 5)), {}, r"\[N, 6\]"),
        (np.full((2, 6), np.nan), {}, "non-finite"),
        (np.zeros((2, 6)), {"class": np.zeros((3, 6))}, "'class'"),
        (np.zeros((2, 6)), {"present": np.full((2, 6), np.nan)}, "'present'"),
    ],
)
def test_bad_arrays_are_refused(labels, change, match):
    with pytest.raises(ValueError, match=match):
        evaluate_predictions(labels, {**all_zero(2), **change})


def test_missing_key_is_refused():
    predictions = all_zero(2)
    del predictions["expected"]
    with pytest.raises(ValueError, match="'expected'"):
        evaluate_predictions(np.zeros((2, 6)), predictions)


def test_all_zero_on_the_published_mosei_test_labels(shared_data):
    folder = shared_data / "mosei_labels"
    test = set(json.loads((folder / "folds.json").read_text())["test"])
    with open(folder / "mosei_labels.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["id"] in test]
    labels = np.array([[float(row[e]) for e in EMOTIONS] for row in rows])
    assert len(labels) == 4662
    result = evaluate_predictions(labels, all_zero(len(labels)))
    assert result["overall"]["mae"] == pytest.approx(0.1635, abs=5e-5)
    assert result["overall"]["accuracy"] == pytest.approx(0.872, abs=5e-4)
    mae = [result["per_emotion"][e]["mae"] for e in EMOTIONS]
    assert mae == pytest.approx([0.470, 0.144, 0.163, 0.044, 0.117, 0.043], abs=5e-4)
    accuracy = [result["per_emotion"][e]["accuracy"] for e in EMOTIONS]
    assert accuracy == pytest.approx([0.654, 0.876, 0.859, 0.973, 0.909, 0.963], abs=5e-4)
