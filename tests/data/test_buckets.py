"""Bucket boundaries and the plan of batches."""

import csv
import itertools
import json

import numpy as np
import pytest

from mosei_ssl.data import BatchPlan, DataConfig, bucket_boundaries
from mosei_ssl.utils.errors import UserError


def padded_frames(lengths, boundaries):
    return sum(min(b for b in boundaries if b >= length) for length in lengths)


def test_boundaries_are_the_best_of_their_number():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, 40) * 10
    found = bucket_boundaries(lengths, padding_target=1e-9, max_buckets=3, multiple=10)
    candidates = sorted(set(lengths.tolist()))
    best = min(
        padded_frames(lengths, [*inner, candidates[-1]])
        for inner in itertools.combinations(candidates[:-1], 2)
    )
    assert len(found) == 3
    assert padded_frames(lengths, found) == best


def test_no_more_buckets_than_needed():
    assert bucket_boundaries(np.full(9, 100), multiple=20) == (100,)
    assert bucket_boundaries(np.array([1, 2, 3]), multiple=20) == (20,)
    with pytest.raises(ValueError, match="no lengths"):
        bucket_boundaries(np.array([], dtype=int))


def test_many_distinct_lengths_still_cover_the_longest():
    lengths = np.arange(1, 20000, 7)
    found = bucket_boundaries(lengths, max_buckets=5, multiple=1)
    assert len(found) == 5
    assert found[-1] == lengths[-1]


def plan(lengths, seed=0, **settings):
    return BatchPlan(np.asarray(lengths), DataConfig(**settings), seed)


def test_every_epoch_holds_every_segment_in_full_batches():
    lengths = np.random.default_rng(0).integers(10, 500, 107)
    batches = plan(lengths, batch_size=8, max_frames=300)
    for epoch in (0, 1, 5):
        specs = batches.epoch(epoch)
        assert len(specs) == batches.steps_per_epoch == 14
        assert all(len(spec.indices) == 8 for spec in specs)
        seen = np.concatenate([spec.indices for spec in specs])
        assert set(seen.tolist()) == set(range(107))
        for spec in specs:
            assert (spec.lengths == np.minimum(lengths[spec.indices], 300)).all()
            assert (spec.starts + spec.lengths <= lengths[spec.indices]).all()
            assert spec.padded_length >= spec.lengths.max()
            assert spec.padded_length in batches.boundaries


def test_epochs_differ_and_are_a_pure_function_of_the_seed():
    lengths = np.random.default_rng(0).integers(10, 500, 50)

    def order(seed, epoch):
        return [s.indices.tolist() for s in plan(lengths, seed, batch_size=4).epoch(epoch)]

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


@pytest.mark.parametrize(("count", "min_steps"), [(40, 1), (107, 1), (64, 1), (13, 7)])
def test_all_epochs_have_batches_of_the_same_shapes(count, min_steps):
    lengths = np.random.default_rng(count).integers(10, 500, count)
    batches = BatchPlan(lengths, DataConfig(batch_size=16), 0, min_steps=min_steps)
    shapes = [sorted(spec.padded_length for spec in batches.epoch(epoch)) for epoch in range(30)]
    assert all(found == shapes[0] for found in shapes)
    # What fills the places left is another draw in each epoch.
    drawn = {tuple(sorted(np.concatenate([s.indices for s in batches.epoch(e)]))) for e in (0, 1)}
    assert len(drawn) == (1 if count == 64 else 2)


def test_long_segments_give_another_window_each_epoch():
    batches = plan([1000, 1000], batch_size=2, max_frames=100)
    starts = {int(s.starts[0]) for epoch in range(20) for s in batches.epoch(epoch)}
    assert len(starts) > 10
    assert min(starts) >= 0
    assert max(starts) <= 900


def test_few_labels_are_repeated_up_to_the_steps_wanted():
    batches = BatchPlan(np.array([10, 20, 30]), DataConfig(batch_size=2), 0, min_steps=6)
    seen = np.concatenate([spec.indices for spec in batches.epoch(0)])
    assert np.bincount(seen).tolist() == [4, 4, 4]


def test_padding_stays_below_a_tenth_at_moseis_lengths(shared_data):
    folder = shared_data / "mosei_labels"
    train = set(json.loads((folder / "folds.json").read_text())["train"])
    with open(folder / "mosei_labels.csv", newline="") as file:
        seconds = [
            float(row["end"]) - float(row["start"])
            for row in csv.DictReader(file)
            if row["id"] in train
        ]
    lengths = np.maximum(1, np.round(np.array(seconds) * 100)).astype(int)
    batches = BatchPlan(lengths, DataConfig(), 0)
    assert len(lengths) == 16327
    assert len(batches.boundaries) <= 12
    for epoch in (0, 1):
        specs = batches.epoch(epoch)
        real = sum(int(spec.lengths.sum()) for spec in specs)
        assert real > 0.9 * sum(spec.padded_length * len(spec.indices) for spec in specs)


@pytest.mark.parametrize("key", ["batch_size", "max_frames"])
def test_bad_settings_are_told_by_key(key):
    with pytest.raises(UserError, match=key):
        DataConfig(**{key: 0})
