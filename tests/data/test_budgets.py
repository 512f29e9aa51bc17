"""Labelled subsets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosei_ssl.data import draw_label_budget
from mosei_ssl.utils.errors import UserError


def corpus(count, seed, rare=0.02):
    rng = np.random.default_rng(seed)
    emotions = (rng.random((count, 6)) < [0.5, 0.2, 0.2, rare, 0.1, rare]) * 2.0
    emotions[rng.integers(count), 3] = 1.0
    emotions[rng.integers(count), 5] = 1 / 3
    return emotions, np.array([f"v{i}" for i in rng.integers(0, count // 5 + 1, count)])


@settings(max_examples=25, deadline=None)
@given(count=st.integers(12, 300), seed=st.integers(0, 50))
def test_budgets_of_a_seed_are_nested_and_hold_every_emotion(count, seed):
    emotions, videos = corpus(count, seed)
    previous: set[int] = set()
    for budget in sorted({6, min(9, count), max(6, count // 2), count}):
        chosen = draw_label_budget(emotions, budget, seed, videos)
        assert len(chosen) == len(set(chosen.tolist())) == budget
        assert (np.diff(chosen) > 0).all()
        present = (emotions > 0).any(axis=0)
        assert ((emotions[chosen] > 0).any(axis=0) == present).all()
        assert previous <= set(chosen.tolist())
        previous = set(chosen.tolist())
    assert draw_label_budget(emotions, "all", seed, videos).tolist() == list(range(count))


def test_speakers_take_turns():
    emotions = np.zeros((200, 6))
    videos = np.repeat([f"v{i}" for i in range(20)], 10)
    chosen = draw_label_budget(emotions, 40, 0, videos)
    assert np.unique(videos[chosen], return_counts=True)[1].tolist() == [2] * 20


def test_same_seed_same_draw_other_seed_other_draw():
    emotions, videos = corpus(300, 1)
    first = draw_label_budget(emotions, 50, 3, videos)
    assert first.tolist() == draw_label_budget(emotions, 50, 3, videos).tolist()
    assert first.tolist() != draw_label_budget(emotions, 50, 4, videos).tolist()


def test_an_emotion_that_never_occurs_is_no_error():
    emotions = np.zeros((10, 6))
    emotions[:, 0] = 1
    assert len(draw_label_budget(emotions, 2, 0)) == 2


def test_the_rest_of_the_draw_is_representative():
    emotions, _ = corpus(3000, 2)
    chosen = draw_label_budget(emotions, 1000, 0)
    share = (emotions[chosen, 0] > 0).mean()
    assert abs(share - (emotions[:, 0] > 0).mean()) < 0.05


@pytest.mark.parametrize("budget", [0, 11, -1, "half", 2.5, True])
def test_an_impossible_budget_is_told(budget):
    with pytest.raises(UserError, match="label budget"):
        draw_label_budget(np.zeros((10, 6)), budget, 0)
