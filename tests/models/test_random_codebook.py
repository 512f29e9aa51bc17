"""A codebook that stays random beside the learned one."""

import keras
import numpy as np

from mosei_ssl.models import CodebookBackbone, CodebookModel, EmotionModel

STATISTICS = ([0.0] * 74, [1.0] * 74)


def test_states_of_both_stand_side_by_side_and_pretraining_moves_one_only(x):
    options = {"hidden_dim": 8, "code_dim": 4, "seed": 3}
    alone = CodebookBackbone(*STATISTICS, **options)
    both = CodebookBackbone(*STATISTICS, **options, random_dim=6)
    assert (alone.output_dim, both.output_dim) == (8, 14)
    before = {name: np.asarray(model(x)["sequence"]) for name, model in (("a", alone), ("b", both))}
    np.testing.assert_array_equal(before["a"], before["b"][..., :8])
    assert np.abs(before["b"][..., 8:]).max() > 0
    task = CodebookModel(both)
    task.adapt(x)
    task.compile(keras.optimizers.Adam(0.02))
    task.fit(x, verbose=0)
    after = np.asarray(both(x)["sequence"])
    np.testing.assert_array_equal(before["b"][..., 8:], after[..., 8:])
    assert np.abs(before["b"][..., :8] - after[..., :8]).max() > 1e-3
    assert len(both.learned_variables) == len(alone.learned_variables)


def test_columns_of_random_entries_are_known(x):
    backbone = CodebookBackbone(*STATISTICS, hidden_dim=8, code_dim=4, random_dim=6)
    model = EmotionModel(backbone)
    model.adapt([x])
    embedding = np.asarray(model.embedding(x))
    for variable in backbone.encoder.random.weights:
        variable.assign(variable + 1.0)
    changed = (np.asarray(model.embedding(x)) != embedding).any(axis=0)
    assert changed.any()
    assert not (changed & model.learned_columns).any()
    assert (~model.learned_columns).sum() == 2 * 6
