"""What a Keras user expects of the models: compile, evaluate, save, load, summary, export."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from model_testing import CONFIGS, MEAN, STD, make_batch, numpy_weights, outputs_of

import mosei_ssl
from mosei_ssl.config import TASKS
from mosei_ssl.models import (
    Backbone,
    CodebookBackbone,
    EmotionModel,
    EmotionPredictor,
    LayerwiseAdamW,
    build_backbone,
    build_pretraining_model,
)

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
X = make_batch([23, 40, 60, 12])
LABELS = np.array(
    [[0, 0, 1, 0, 0, 0], [np.nan] * 6, [0, 1 / 3, 2.5, np.nan, 0, 3], [0.5, 0, 0, 0, 0, 3.5]],
    "float32",
)


def fitted(**options):
    model = EmotionModel(build_backbone(CONFIGS["codebook"], MEAN, STD), seed=1)
    model.adapt(X)
    model.compile("adam", **options)
    # Making a graph takes longer than the few steps of these tests.
    model.run_eagerly = ON_TENSORFLOW
    model.fit(X, LABELS, verbose=0)
    return model


@pytest.fixture(scope="module")
def trained():
    return fitted(metrics=["mae", "accuracy"])


@pytest.fixture(scope="module")
def predictions(trained):
    return trained.to_predictor().predict(X, verbose=0)


def test_evaluate_gives_what_its_names_say(trained, predictions):
    found = trained.evaluate(X, LABELS, batch_size=3, verbose=0, return_dict=True)
    answers = predictions
    labelled = np.isfinite(LABELS)
    labels = np.clip(LABELS, 0, 3)
    mae = np.abs(answers["intensity"] - labels)[labelled].mean()
    accuracy = (answers["class"] == np.floor(labels + 0.5))[labelled].mean()
    assert set(found) == {"loss", "mae", "accuracy"}
    np.testing.assert_allclose([found["mae"], found["accuracy"]], [mae, accuracy], rtol=1e-5)


def test_sample_weights_count_in_metrics(trained):
    weighted = fitted(metrics=None, weighted_metrics=["mae"])
    weighted.set_weights(trained.get_weights())
    weights = np.array([0.0, 1.0, 1.0, 0.0])
    found = weighted.evaluate(X, LABELS, sample_weight=weights, verbose=0, return_dict=True)
    part = {name: array[1:3] for name, array in X.items()}
    expected = trained.evaluate(part, LABELS[1:3], verbose=0, return_dict=True)
    np.testing.assert_allclose(found["mae"], expected["mae"], rtol=1e-5)


def test_compiled_with_an_optimizer_alone_it_has_its_own_loss_and_metrics(backbone):
    model = EmotionModel(backbone, {"weight_penalty": 0.0, "dropout": 0.0}, seed=1)
    model.compile("adam")
    found = model.evaluate(X, LABELS, verbose=0, return_dict=True)
    assert set(found) == {"loss", "mae", "accuracy"}
    expected = float(model.loss_function(LABELS, model(X)))
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_unknown_metric_names_are_refused(backbone):
    with pytest.raises(mosei_ssl.UserError, match="'mae' and 'accuracy'"):
        EmotionModel(backbone).compile("adam", metrics=["mse"])


def test_saved_compiled_and_loaded_gives_the_same_scores(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    loaded.run_eagerly = ON_TENSORFLOW
    expected = trained.evaluate(X, LABELS, verbose=0, return_dict=True)
    found = loaded.evaluate(X, LABELS, verbose=0, return_dict=True)
    assert found == expected
    assert int(loaded.optimizer.iterations) == int(trained.optimizer.iterations)
    assert not loaded.get_config()["frozen"]


def test_loaded_in_another_process_whichever_import_comes_first(trained, predictions, tmp_path):
    # One order on each backend; both take a while.
    imports = "import mosei_ssl, keras" if ON_TENSORFLOW else "import keras, mosei_ssl"
    trained.to_predictor().save(tmp_path / "predictor.keras")
    np.savez(tmp_path / "batch.npz", **X)
    program = (
        "import numpy as np\n"
        "p = keras.saving.load_model('predictor.keras')\n"
        f"p.run_eagerly = {ON_TENSORFLOW}\n"
        "answers = p.predict(dict(np.load('batch.npz')), verbose=0)['expected']\n"
        "np.save('answers.npy', np.asarray(answers))\n"
    )
    subprocess.run(
        [sys.executable, "-c", f"{imports}\n{program}"],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        check=True,
    )
    answers = np.load(tmp_path / "answers.npy")
    np.testing.assert_allclose(answers, predictions["expected"], atol=1e-6)


def test_the_package_alone_imports_neither_keras_nor_anything_slow():
    program = (
        "import sys, time; start = time.perf_counter(); import mosei_ssl\n"
        "assert time.perf_counter() - start < 0.1\n"
        "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_all_that_is_exported_is_there():
    for name in mosei_ssl.__all__:
        assert getattr(mosei_ssl, name) is not None
    with pytest.raises(AttributeError, match="FooConfig"):
        mosei_ssl.FooConfig  # noqa: B018


def test_the_order_of_the_steps_does_not_matter():
    results = []
    for order in ("apfc", "fcpa", "cfpa"):
        backbone = build_backbone(CONFIGS["codebook"], MEAN, STD, seed=1)
        model = EmotionModel(backbone, {"dropout": 0.0}, seed=2)
        for step in order:
            if step == "a":
                model.adapt([(X, LABELS)])
            elif step == "p":
                model.set_prior(LABELS)
            elif step == "f":
                model.freeze_backbone()
            else:
                model.compile("adam", metrics=None)
        start = numpy_weights(backbone)
        model.fit(X, LABELS, shuffle=False, verbose=0)
        for path, value in numpy_weights(backbone).items():
            np.testing.assert_array_equal(value, start[path])
        results.append(outputs_of(model, X))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_freezing_takes_effect_after_training_has_begun_and_is_saved(tmp_path):
    model = fitted(metrics=["mae"])
    before, head = numpy_weights(model.backbone), numpy_weights(model.distribution)
    model.freeze_backbone()
    model.fit(X, LABELS, verbose=0)
    for path, value in numpy_weights(model.backbone).items():
        np.testing.assert_array_equal(value, before[path])
    assert any((v != head[path]).any() for path, v in numpy_weights(model.distribution).items())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert {v.path for v in loaded.trainable_variables} == {
        v.path for v in model.distribution.trainable_variables
    }


@pytest.mark.parametrize("batches", [X, (X, LABELS), [X], [(X, LABELS)], [(X, LABELS, np.ones(4))]])
def test_adapt_takes_batches_as_fit_does(backbone, batches):
    model = EmotionModel(backbone)
    model.adapt(batches)
    statistics = outputs_of(backbone, X)["summary"]
    np.testing.assert_allclose(statistics.mean(axis=0), 0.0, atol=1e-4)


def test_adapt_refuses_what_it_cannot_go_through_twice(backbone):
    with pytest.raises(mosei_ssl.UserError, match="several times"):
        EmotionModel(backbone).adapt(iter([X]))
    with pytest.raises(mosei_ssl.UserError, match="at least one batch"):
        EmotionModel(backbone).adapt([])


def make_model(kind):
    backbone = build_backbone(CONFIGS["transformer"], MEAN, STD)
    if kind == "backbone":
        return backbone
    if kind == "emotion":
        return EmotionModel(backbone)
    if kind == "predictor":
        return EmotionPredictor(EmotionModel(backbone))
    if kind == "codebook":
        backbone = build_backbone(CONFIGS["codebook"], MEAN, STD)
    return build_pretraining_model(TASKS[kind](), backbone)


@pytest.mark.parametrize("kind", [*TASKS, "backbone", "emotion", "predictor"])
def test_every_model_has_a_summary_and_a_whole_state_tree(kind):
    model = make_model(kind)
    lines = []
    model.summary(print_fn=lines.append)
    assert f"{model.count_params():,}" in "".join(lines)
    model.compile(LayerwiseAdamW())
    model.optimizer.build(model.trainable_variables)
    tree = model.get_state_tree("numpy_array")
    held = sum(len(keras.tree.flatten(part)) for part in tree.values())
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    assert held == len(variables)
    assert any("seed" in v.path for v in variables)
    for variable in variables:
        variable.assign(keras.ops.ones(variable.shape, variable.dtype))
    model.set_state_tree(tree)
    after = model.get_state_tree("numpy_array")
    keras.tree.assert_same_structure(tree, after)
    for a, b in zip(keras.tree.flatten(tree), keras.tree.flatten(after), strict=True):
        np.testing.assert_array_equal(a, b)


def test_exports_any_batch_size_and_length(trained, tmp_path):
    predictor = trained.to_predictor()
    if not ON_TENSORFLOW:
        with pytest.raises(mosei_ssl.UserError, match="KERAS_BACKEND=tensorflow"):
            predictor.export(tmp_path / "saved")
        return
    import tensorflow as tf

    predictor.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    for lengths in ([1], [23, 40, 1], [3000]):
        batch = make_batch(lengths)
        answers, expected = served.serve(batch), predictor(batch)
        for name in expected:
            np.testing.assert_allclose(answers[name], expected[name], atol=1e-5)


def test_backbones_are_loaded_from_runs_and_files(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    for preset in (tmp_path, str(tmp_path / "model.keras")):
        backbone = CodebookBackbone.from_preset(preset)
        np.testing.assert_array_equal(
            outputs_of(backbone, X)["sequence"], outputs_of(trained.backbone, X)["sequence"]
        )
    trained.backbone.save(tmp_path / "backbone.keras")
    assert type(Backbone.from_preset(tmp_path)) is CodebookBackbone


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("mosei-small", "presets: emotion-small"),
        ("runs/none", "missing"),
        ("EMPTY", "holds neither"),
        ("EMPTY/cut.keras", "damaged"),
    ],
)
def test_presets_that_are_not_there_are_reported(tmp_path, preset, message):
    (tmp_path / "cut.keras").write_bytes(b"PK")
    with pytest.raises(mosei_ssl.UserError, match=message):
        Backbone.from_preset(preset.replace("EMPTY", str(tmp_path)))


def test_another_backbone_is_not_taken_for_this_one(transformer, tmp_path):
    transformer.save(tmp_path / "backbone.keras")
    with pytest.raises(mosei_ssl.UserError, match="holds a TransformerBackbone"):
        CodebookBackbone.from_preset(tmp_path)
