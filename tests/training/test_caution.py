"""When a model that has seen few labels should rather answer 0."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from mosei_ssl.layers import DistributionHead
from mosei_ssl.models import emotion_predictions
from mosei_ssl.training.caution import answers_pay, cross_validated_intensity
from mosei_ssl.training.head_fit import fit_head


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def _speech(rng, count=120, told=3.0):
    """Embeddings that tell of an emotion in a fifth of the segments, by so many deviations."""
    labels = np.zeros((count, 6))
    labels[:, 0] = 2.0 * (rng.random(count) < 0.2)
    embeddings = rng.normal(size=(count, 10))
    embeddings[:, 0] += told * labels[:, 0]
    return embeddings, labels


def test_answers_pay_where_embeddings_tell_and_not_where_they_do_not(rng):
    speakers = np.arange(120) % 12
    for told, expected in ((3.0, True), (0.0, False)):
        embeddings, labels = _speech(rng, told=told)
        answers = cross_validated_intensity(embeddings, labels, speakers, 6.0)
        assert answers_pay(labels, answers, speakers) is expected


def test_beyond_doubt_is_students_interval_over_speakers():
    """The quantile for eight speakers is 1.895; of labels of 3 an answer gains what it says."""
    spread = np.tile([1.0, -1.0], 4)
    error = spread.std(ddof=1) / np.sqrt(8)
    labels = np.full((8, 6), 3.0)
    for errors, expected in ((1.88, False), (1.91, True)):
        answers = np.repeat((spread + errors * error)[:, None], 6, axis=1)
        assert answers_pay(labels, answers, np.arange(8)) is expected


def test_one_labelled_segment_says_nothing_about_others():
    labels = np.full((1, 6), 2.0)
    answers = cross_validated_intensity(np.ones((1, 3)), labels, np.array(["a"]), 6.0)
    assert not answers.any()
    assert not answers_pay(labels, answers, np.array(["a"]))


def test_a_gain_from_one_speaker_only_is_no_gain():
    labels = np.full((40, 6), 2.0)
    labels[10:] = 0.0
    answers, alone = labels.copy(), np.repeat([0, 1, 2, 3], 10)
    assert answers_pay(labels, answers, np.arange(40))
    assert not answers_pay(labels, answers, alone)


def test_speakers_do_not_share_folds(rng):
    """Each speaker has a unique mark, which tells their own mood and no other's."""
    mood = np.repeat(rng.random(20) < 0.5, 6)
    labels = np.where(mood[:, None], 2.0, 0.0) * np.eye(6)[0]
    marks = np.kron(np.eye(20), np.ones((6, 1))) * 5
    speakers = np.repeat(np.arange(20), 6)
    for groups, expected in ((speakers, False), (np.arange(120), True)):
        answers = cross_validated_intensity(marks, labels, groups, 0.072)
        assert answers_pay(labels, answers, groups) is expected


def test_heads_are_logistic_regressions_of_continuation_ratios(rng):
    embeddings, labels = _speech(rng, told=0.5)
    weights, bias = fit_head(embeddings, labels, 0.5, 0.0)
    # A quarter of a segment with the emotion and one without, at 0.
    rows, seen = np.vstack([embeddings, np.zeros((2, 10))]), np.append(labels[:, 0] > 0, [0, 1])
    counts = np.append(np.ones(len(labels)), [0.25, 0.25])
    known = LogisticRegression(C=1.0, tol=1e-8).fit(rows, seen, counts)
    np.testing.assert_allclose(weights[:, 0], known.coef_[0], atol=1e-3)
    np.testing.assert_allclose(bias[0], known.intercept_[0], atol=1e-3)
    pulled, _ = fit_head(embeddings, labels, 1e6, np.full((10, 18), 0.25))
    np.testing.assert_allclose(pulled, 0.25, atol=1e-3)


def test_an_emotion_that_no_label_shows_keeps_the_ranks_heard_before(rng):
    embeddings = rng.normal(size=(40, 10)).astype("float32")
    anchor = np.repeat(np.eye(10)[:, :1], 18, axis=1)
    head = DistributionHead()
    head(embeddings)
    head.dense.set_weights(fit_head(embeddings[:1], np.zeros((1, 6)), 120.0, anchor))
    present = np.asarray(emotion_predictions(head(embeddings))["present"])
    for emotion in range(6):
        np.testing.assert_array_equal(present[:, emotion].argsort(), embeddings[:, 0].argsort())


def test_a_head_with_half_of_its_mass_at_0_answers_0_and_ranks_as_before(rng):
    inputs = rng.normal(size=(50, 8)).astype("float32") * 3
    free, cautious = DistributionHead(), DistributionHead(zero_share=0.5)
    for head in (free, cautious):
        head(inputs)
    free.dense.set_weights([rng.normal(size=(8, 18)), rng.normal(size=18)])
    cautious.set_weights(free.get_weights())
    before, after = (np.asarray(head(inputs)) for head in (free, cautious))
    expected = 0.5 * softmax(before, axis=-1) + 0.5 * np.eye(4)[0]
    np.testing.assert_allclose(softmax(after, axis=-1), expected, atol=1e-6)
    found = {key: np.asarray(value) for key, value in emotion_predictions(after).items()}
    assert np.asarray(emotion_predictions(before)["intensity"]).any()
    assert not found["intensity"].any()
    assert not found["class"].any()
    order = np.argsort(np.asarray(emotion_predictions(before)["expected"]), axis=0)
    np.testing.assert_array_equal(np.argsort(found["expected"], axis=0), order)


def test_without_a_penalty_what_never_occurs_is_no_trouble(rng):
    embeddings, labels = _speech(rng, count=12)
    for part in fit_head(np.hstack([embeddings, embeddings]), labels, 0.0):
        assert np.isfinite(part).all()
