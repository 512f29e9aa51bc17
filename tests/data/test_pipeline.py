"""The tf.data pipelines."""

import keras
import numpy as np
import pytest

from mosei_ssl.data import (
    BatchPlan,
    DataConfig,
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


def arrays(dataset):
    return [(x["features"].numpy(), x["padding_mask"].numpy(), y.numpy()) for x, y in dataset]


def test_batches_hold_the_planned_windows(segments):
    config = DataConfig(batch_size=4, max_frames=100)
    dataset = make_training_dataset(segments, config, seed=1)
    plan = BatchPlan(segments.lengths, config, 1)
    assert len(dataset) == plan.steps_per_epoch == 9
    for (features, mask, labels), spec in zip(arrays(dataset), plan.epoch(0), strict=True):
        assert features.shape == (4, spec.padded_length, 74)
        assert features.dtype == np.float32
        assert mask.sum(axis=1).tolist() == spec.lengths.tolist()
        np.testing.assert_array_equal(labels, segments.emotions[spec.indices])
        for row, valid, index, start in zip(features, mask, spec.indices, spec.starts, strict=True):
            assert (row[valid, 0] == index).all()
            assert row[valid, 1].tolist() == list(range(start, start + valid.sum()))
            assert (row[~valid] == 0).all()
            assert valid[: valid.sum()].all()


def test_each_iteration_is_the_next_epoch_however_often_one_is_begun(segments):
    config = DataConfig(batch_size=4, max_frames=50)
    dataset = make_training_dataset(segments, config, seed=1)
    iter(dataset)  # nothing is read of this one
    for epoch in range(3):
        expected = arrays(make_training_dataset(segments, config, seed=1, epoch=epoch))
        for found, wanted in zip(arrays(dataset), expected, strict=True):
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, other)


def test_the_epoch_can_be_set_from_outside(segments):
    config, place = DataConfig(batch_size=4), {"epoch": 5}
    dataset = make_training_dataset(segments, config, epoch=lambda: place["epoch"])
    fifth = arrays(dataset)
    next(iter(dataset))  # as Keras may do, to look at a batch
    for found, again in zip(fifth, arrays(dataset), strict=True):
        np.testing.assert_array_equal(found[0], again[0])
    place["epoch"] = 6
    wanted = arrays(make_training_dataset(segments, config, epoch=6))
    np.testing.assert_array_equal(arrays(dataset)[0][0], wanted[0][0])


def test_keras_takes_the_datasets_as_they_are(segments):
    """fit draws every epoch in full and in another order; evaluate and predict see all once."""
    config, seen = DataConfig(batch_size=4), []

    class FirstValue(keras.Model):
        def call(self, inputs):
            return keras.ops.max(inputs["features"][:, :1, 0], axis=1, keepdims=True)

        def train_step(self, batch):
            seen.append(batch[0]["features"][:, 0, 0].numpy().astype(int).tolist())
            return {"loss": 0.0}

    model = FirstValue()
    model.compile(loss="mse", run_eagerly=True)
    model.fit(make_training_dataset(segments, config), epochs=2, verbose=0)
    plan = BatchPlan(segments.lengths, config)
    assert seen == [spec.indices.tolist() for epoch in (0, 1) for spec in plan.epoch(epoch)]
    found = model.predict(make_evaluation_dataset(segments, config), verbose=0)
    assert found[:, 0].tolist() == list(range(33))
    loss = model.evaluate(make_evaluation_dataset(segments, config), verbose=0)
    wanted = ((np.arange(33)[:, None] - segments.emotions) ** 2).mean()
    assert loss == pytest.approx(wanted, rel=1e-5)


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


def test_as_few_lengths_as_wanted():
    draw = np.random.default_rng(0)
    rows = [np.ones((n, 74)) for n in draw.integers(20, 900, 60)]
    segments = segments_from_arrays(rows, np.zeros((60, 6)))
    config = DataConfig(batch_size=4, max_frames=600, max_lengths=3)
    order = segments.length_order()
    for dataset in (
        make_training_dataset(segments, config),
        make_evaluation_dataset(segments, config, indices=order),
    ):
        lengths = [x["features"].shape[1] for x, _ in dataset]
        assert len(set(lengths)) == 3
    assert max(lengths) >= max(len(row) for row in rows)


def test_inputs_alone_for_pretraining(segments):
    spec = make_training_dataset(segments, DataConfig(batch_size=4), with_labels=False).element_spec
    assert spec["features"].shape.as_list() == [4, None, 74]
    assert spec["padding_mask"].shape.as_list() == [4, None]
