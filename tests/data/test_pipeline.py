"""The tf.data pipelines."""

import numpy as np
import pytest

from mosei_ssl.data import (
    DataConfig,
    load_prepared,
    make_evaluation_dataset,
    make_training_dataset,
    segments_from_arrays,
)


@pytest.fixture(scope="module")
def segments():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 200, 33)
    # Column 0 tells the segment, column 1 the frame.
    rows = [
        np.stack([np.full(n, i), np.arange(n), *np.ones((72, n))], axis=1)
        for i, n in enumerate(lengths)
    ]
    return segments_from_arrays(rows, rng.random((33, 6)))


def batches(data, count):
    return [
        (x["features"].numpy(), x["padding_mask"].numpy(), y.numpy())
        for x, y in data.dataset.take(count)
    ]


def test_batches_hold_the_planned_windows(segments):
    config = DataConfig(batch_size=4, max_frames=100)
    data = make_training_dataset(segments, config, seed=1)
    assert data.steps_per_epoch == 9
    for (features, mask, labels), spec in zip(batches(data, 9), data.plan.epoch(0), strict=True):
        assert features.shape == (4, spec.padded_length, 74)
        assert features.dtype == np.float32
        assert mask.sum(axis=1).tolist() == spec.lengths.tolist()
        np.testing.assert_array_equal(labels, segments.emotions[spec.indices])
        for row, valid, index, start in zip(features, mask, spec.indices, spec.starts, strict=True):
            assert (row[valid, 0] == index).all()
            assert row[valid, 1].tolist() == list(range(start, start + valid.sum()))
            assert (row[~valid] == 0).all()
            assert valid[: valid.sum()].all()


def test_starting_in_the_middle_continues_the_same_stream(segments):
    config = DataConfig(batch_size=4, max_frames=50)
    whole = batches(make_training_dataset(segments, config, seed=1), 25)
    later = make_training_dataset(segments, config, seed=1, start_epoch=1, start_step=5)
    for found, expected in zip(batches(later, 11), whole[14:], strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_epochs_end_the_dataset_and_are_counted(segments):
    data = make_training_dataset(segments, DataConfig(batch_size=4), seed=0, epochs=2, start_step=3)
    assert int(data.dataset.cardinality()) == 15
    assert sum(1 for _ in data.dataset) == 15


def test_shards_together_are_the_batch(segments):
    config = DataConfig(batch_size=4)
    whole = batches(make_training_dataset(segments, config, seed=0), 3)
    parts = [
        batches(make_training_dataset(segments, config, seed=0, shard_index=i, shard_count=2), 3)
        for i in range(2)
    ]
    for step, (features, _, labels) in enumerate(whole):
        np.testing.assert_array_equal(parts[0][step][0], features[0::2])
        np.testing.assert_array_equal(parts[1][step][2], labels[1::2])


@pytest.mark.parametrize(
    "wrong", [{"start_step": 99}, {"shard_index": 2, "shard_count": 2}, {"shard_count": 3}]
)
def test_senseless_starts_and_shards_are_refused(segments, wrong):
    with pytest.raises(ValueError, match=r"start_step|shard"):
        make_training_dataset(segments, DataConfig(batch_size=4), seed=0, **wrong)


@pytest.mark.parametrize("by_length", [False, True])
def test_evaluation_gives_everything_once_in_order(segments, by_length):
    order = segments.length_order() if by_length else None
    dataset = make_evaluation_dataset(segments, DataConfig(batch_size=8), indices=order)
    expected = np.arange(33) if order is None else order
    found, labels = [], []
    for x, y in dataset:
        mask = x["padding_mask"].numpy()
        found.extend(x["features"].numpy()[:, 0, 0].astype(int).tolist())
        assert mask.sum(axis=1).tolist() == segments.lengths[found[-len(mask) :]].tolist()
        labels.append(y.numpy())
    assert found == expected.tolist()
    np.testing.assert_array_equal(np.concatenate(labels), segments.emotions[expected])


def test_one_very_long_segment_gets_a_batch_of_its_own():
    rows = [np.ones((n, 74)) for n in (50, 4000, 50)]
    segments = segments_from_arrays(rows, np.zeros((3, 6)))
    dataset = make_evaluation_dataset(segments, DataConfig(batch_size=4, max_frames=100))
    shapes = [x["features"].shape.as_list() for x, _ in dataset]
    assert [shape[0] for shape in shapes] == [1, 1, 1]
    assert shapes[1][1] >= 4000
    cropped = DataConfig(batch_size=4, max_frames=100, eval_max_frames=60)
    assert [x["features"].shape[0] for x, _ in make_evaluation_dataset(segments, cropped)] == [3]


def test_inputs_alone_for_pretraining(segments):
    data = make_training_dataset(segments, DataConfig(batch_size=4), seed=0, with_labels=False)
    spec = data.dataset.element_spec
    assert spec["features"].shape.as_list() == [4, None, 74]
    assert spec["padding_mask"].shape.as_list() == [4, None]


def test_from_a_prepared_dataset_in_a_disk_cache(tiny_dataset, tmp_path):
    config = DataConfig(batch_size=3, cache="disk", cache_dir=str(tmp_path))
    disk = make_training_dataset(load_prepared(tiny_dataset, "train", config), config, seed=0)
    memory = make_training_dataset(load_prepared(tiny_dataset, "train"), config, seed=0)
    for found, expected in zip(batches(disk, 4), batches(memory, 4), strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
