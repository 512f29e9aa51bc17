"""What is exported answers as the Keras model does, anywhere, and only what it should."""

import json
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from children import start_child
from serving_child import answer_without_this_package

from mosei_ssl.serving import LocalModel, exporting
from mosei_ssl.serving.exporting import export, export_model
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS


@pytest.fixture(scope="module")
def served(saved_model):
    loaded = tf.saved_model.load(str(saved_model))
    return lambda signature, **inputs: {
        name: value.numpy()
        for name, value in loaded.signatures[signature](
            **{key: tf.constant(value) for key, value in inputs.items()}
        ).items()
    }


def speech(length, seed=0):
    return np.random.default_rng(seed).normal(scale=3.0, size=(length, 74)).astype(np.float32)


def padded(*segments, to=None, fill=0.0):
    longest = to or max(len(rows) for rows in segments)
    features = np.full((len(segments), longest, 74), fill, np.float32)
    for row, rows in zip(features, segments, strict=True):
        row[: len(rows)] = rows
    return features, np.array([len(rows) for rows in segments], np.int32)


def expected(model, features, length):
    mask = np.arange(features.shape[1])[None] < length[:, None]
    inputs = {"features": np.where(mask[..., None], features, 0.0), "padding_mask": mask}
    return {name: value.numpy() for name, value in model.to_predictor()(inputs).items()}


def test_answers_are_those_of_the_keras_model(served, emotion_model):
    segments = [speech(n, seed=n) for n in (1, 9, 10, 11, 250)]
    segments[4][3, 7] = -np.inf
    segments[4][4, 2] = np.nan
    features, length = padded(*segments)
    answers = served("serving_default", features=features, length=length)
    truth = expected(emotion_model, features, length)
    assert set(answers) == {*OUTPUTS, "emotions"}
    for name in OUTPUTS:
        assert answers[name].shape == (5, 6)
        np.testing.assert_allclose(answers[name], truth[name], atol=1e-5)
    assert answers["class"].dtype == np.int32
    assert answers["intensity"].dtype == np.float32
    assert [name.decode() for name in answers["emotions"][4]] == list(EMOTIONS)
    # A model that always says the same would pass all of the above.
    assert np.ptp(answers["present"], axis=0).max() > 0.01


def test_an_answer_does_not_depend_on_its_batch_or_padding(served):
    lengths = (1, 2, 9, 10, 11, 19, 20, 21, 64, 100, 333, 650, 1660)
    segments = [speech(n, seed=n) for n in lengths]
    features, length = padded(*segments, to=1700, fill=np.nan)
    together = served("serving_default", features=features, length=length)
    for index, rows in enumerate(segments):
        alone = served("serving_default", features=rows[None], length=np.array([len(rows)], "i4"))
        for name in OUTPUTS:
            np.testing.assert_allclose(alone[name][0], together[name][index], atol=1e-5)


def example(rows):
    values = tf.train.FloatList(value=np.asarray(rows, np.float32).ravel())
    feature = {"features": tf.train.Feature(float_list=values)}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_serialised_examples_give_the_same_answers(served):
    segments = [speech(n, seed=n) for n in (30, 1, 77)]
    features, length = padded(*segments)
    by_tensor = served("serving_default", features=features, length=length)
    by_example = served("serving_examples", examples=[example(rows) for rows in segments])
    assert set(by_example) == set(by_tensor)
    for name in OUTPUTS:
        np.testing.assert_allclose(by_example[name], by_tensor[name], atol=1e-5)


def test_the_context_is_heard_as_in_training(served, saved_model):
    """Every segment of the batch comes from a different recording; the last has no context."""
    segments = [speech(n, seed=n) for n in (30, 1, 77)]
    recordings = [speech(900, seed=9) + 2, speech(4000, seed=8) - 1, np.zeros((0, 74), np.float32)]
    features, length = padded(*segments)
    means = [rows.mean(axis=0) if len(rows) else np.zeros(74) for rows in recordings]
    found = served(
        "serving_context",
        features=features,
        length=length,
        recording_mean=np.array(means, "f4"),
        recording_frames=np.array([len(rows) for rows in recordings], "i4"),
    )
    model = LocalModel(saved_model)
    for index, (segment, rows) in enumerate(zip(segments, recordings, strict=True)):
        here = model.predict([segment], recording=rows if len(rows) else None)
        for name in OUTPUTS:
            np.testing.assert_allclose(found[name][index], here[name][0], atol=1e-4)
    alone = served("serving_default", features=features, length=length)
    assert np.abs(found["expected"] - alone["expected"])[:2].max() > 1e-3


@pytest.mark.parametrize(
    ("mean", "frames", "message"),
    [
        (np.zeros((2, 73)), [1, 1], r"recording_mean must be \[batch, 74\]"),
        (np.zeros((1, 74)), [1, 1], r"recording_mean must be \[batch, 74\]"),
        (np.zeros((2, 74)), [1], r"recording_frames must be \[batch\]"),
        (np.full((2, 74), np.nan), [1, 1], "recording_mean must be finite"),
        (np.zeros((2, 74)), [1, -1], "recording_frames must not be negative"),
    ],
)
def test_bad_contexts_are_invalid_arguments(served, mean, frames, message):
    features, length = padded(speech(5), speech(4))
    context = {"recording_mean": mean.astype("f4"), "recording_frames": np.array(frames, "i4")}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("serving_context", features=features, length=length, **context)


def test_a_model_without_context_has_no_signature_for_it(emotion_model, tmp_path):
    version = export_model(emotion_model, tmp_path / "alone", {"run": {"context": False}})
    assert set(tf.saved_model.load(str(version)).signatures) == {
        *("serving_default", "serving_examples", "embedding"),
    }


def test_embedding_is_what_the_head_reads(served, emotion_model):
    features, length = padded(speech(40), speech(25, seed=1))
    found = served("embedding", features=features, length=length)["embedding"]
    mask = np.arange(40)[None] < length[:, None]
    truth = emotion_model.embedding({"features": features, "padding_mask": mask}).numpy()
    assert found.shape == (2, emotion_model.embedding_dim)
    np.testing.assert_allclose(found, truth, atol=1e-5, rtol=1e-5)


def test_no_segment_at_all_is_answered_with_nothing(served):
    features, length = np.zeros((0, 5, 74), np.float32), np.zeros(0, np.int32)
    assert served("serving_default", features=features, length=length)["intensity"].shape == (0, 6)


@pytest.mark.parametrize(
    ("shape", "length", "message"),
    [
        ((1, 0, 74), [0], "every length must be from 1"),
        ((1, 5, 74), [0], "every length must be from 1"),
        ((1, 5, 74), [-3], "every length must be from 1"),
        ((2, 5, 74), [5, 6], "every length must be from 1"),
        ((2, 5, 74), [5], "length must be .batch."),
        ((1, 5, 73), [5], "features must be .batch, frames, 74."),
        ((1, 5, 1), [5], "features must be .batch, frames, 74."),
        ((1, 12_001, 74), [5], "at most 12000 frames"),
    ],
)
def test_bad_tensors_are_invalid_arguments(served, shape, length, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("serving_default", features=np.zeros(shape, "f4"), length=np.array(length, "i4"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("embedding", features=np.zeros(shape, "f4"), length=np.array(length, "i4"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\x0a\x7fcut short", "Could not parse example"),
        (b"", "at least one frame"),
        (example(np.zeros(73)), "frames x 74 floats"),
        (example(np.zeros((12_001, 74))), "at most 12000 frames"),
    ],
)
def test_bad_examples_are_invalid_arguments(served, record, message):
    good = example(speech(5))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("serving_examples", examples=[good, record])


def test_longest_segment_is_answered(served):
    features, length = padded(speech(12_000))
    answers = served("serving_default", features=features, length=length)
    assert np.isfinite(answers["present"]).all()


def test_it_loads_where_neither_this_package_nor_keras_can_be_imported(
    saved_model, emotion_model, tmp_path
):
    features, length = padded(speech(123), speech(40, seed=1))
    np.savez(tmp_path / "in.npz", features=features, length=length)
    files, log = [saved_model, tmp_path / "in.npz", tmp_path / "o.npz"], tmp_path / "log"
    child = start_child(answer_without_this_package, *map(str, files), log=log)
    child.join(60)
    assert child.exitcode == 0, log.read_text()
    truth = expected(emotion_model, features, length)
    with np.load(tmp_path / "o.npz") as found:
        for name in OUTPUTS:
            np.testing.assert_allclose(found[name], truth[name], atol=1e-5)


def test_versions_count_up_and_nothing_else_is_left(emotion_model, tmp_path):
    (tmp_path / "emotion" / "4").mkdir(parents=True)
    first = export_model(emotion_model, tmp_path / "emotion")
    assert first == tmp_path / "emotion" / "5"
    assert (first / "saved_model.pb").is_file()
    assert sorted(entry.name for entry in (tmp_path / "emotion").iterdir()) == [
        "4",
        "5",
        "deployment",
    ]


def test_exports_at_the_same_time_are_all_kept(tmp_path):
    folders = [tmp_path / f".export-{n}" for n in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "saved_model.pb").write_text(folder.name)
    with ThreadPoolExecutor(12) as pool:
        published = list(pool.map(lambda folder: exporting._publish(folder, tmp_path), folders))
    assert sorted(int(version.name) for version in published) == list(range(1, 13))
    for folder, version in zip(folders, published, strict=True):
        assert (version / "saved_model.pb").read_text() == folder.name
    assert {entry.name for entry in tmp_path.iterdir() if not entry.name.isdecimal()} == {
        "deployment"
    }


def test_a_failed_export_leaves_nothing(emotion_model, tmp_path, monkeypatch):
    errors = {
        "write_manifest": OSError(28, "No space left on device"),
        # As TensorFlow says it.
        "serving_signatures": tf.errors.ResourceExhaustedError(
            None, None, "variables.data; No space left on device"
        ),
    }
    for step, error in errors.items():

        def fail(*_, error=error, **__):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(exporting, step, fail)
            with pytest.raises(UserError, match=r"cannot write to .*No space left"):
                export_model(emotion_model, tmp_path / "emotion")
        assert list((tmp_path / "emotion").iterdir()) == []


def test_an_export_into_an_exported_version_is_refused(emotion_model, saved_model):
    before = sorted(saved_model.rglob("*"))
    with pytest.raises(UserError, match=rf"give {saved_model.parent}\."):
        export_model(emotion_model, saved_model)
    assert sorted(saved_model.rglob("*")) == before


def test_manifest_names_run_and_dataset(saved_model):
    manifest = json.loads((saved_model / "assets.extra" / "manifest.json").read_text())
    assert manifest["run"] == {
        "result": {"arm": "ssl", "labels": 8, "epoch": 1},
        "name": "ssl8",
        "kind": "finetune",
        "seed": 3,
        "versions": {"mosei_ssl": "0.1.0"},
        "freeze_backbone": None,
        "context": True,
    }
    assert manifest["dataset"]["fingerprint"] == "0123456789"
    assert manifest["model"]["backbone"] == "TransformerBackbone"
    assert set(manifest["versions"]) == {"python", "mosei_ssl", "tensorflow", "keras", "numpy"}


def copy_of(run, to, **changes):
    info = json.loads((run / "run.json").read_text())
    to.mkdir()
    (to / "run.json").write_text(json.dumps({**info, **changes}))
    (to / "model.keras").write_bytes((run / "model.keras").read_bytes())
    return to


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pretrain"}, "is a pretrain run"),
        ({"state": "running"}, "has not finished"),
        ({"format": 99}, "has run format 99"),
    ],
)
def test_other_runs_are_refused(finished_run, tmp_path, changes, message):
    run = copy_of(finished_run, tmp_path / "run", **changes)
    with pytest.raises(UserError, match=message):
        export(run, tmp_path / "emotion")
    assert not (tmp_path / "emotion").exists()


def test_a_damaged_model_is_refused(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path / "run")
    whole = (run / "model.keras").read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for content in (whole[:0], whole[:100], whole[: len(whole) // 2], whole[:-30], changed):
        (run / "model.keras").write_bytes(content)
        with pytest.raises(UserError, match=r"model\.keras .*damaged or cut short"):
            export(run, tmp_path / "emotion")


def test_code_in_a_model_file_is_not_run(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path / "run")
    unsafe = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Lambda(lambda x: x, output_shape=(2,))]
    )
    unsafe.save(run / "model.keras")
    with pytest.raises(UserError, match="cannot be read"):
        export(run, tmp_path / "emotion")


def test_another_model_is_refused(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path / "run")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(run / "model.keras")
    with pytest.raises(UserError, match="not an EmotionModel"):
        export(run, tmp_path / "emotion")


def test_another_backend_is_refused(emotion_model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND=tensorflow"):
        export_model(emotion_model, tmp_path / "emotion")
