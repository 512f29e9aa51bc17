"""What fine-tuning promises: equal terms for both arms, honest scores, equal numbers again."""

import dataclasses
import json
import os
import shutil

import keras
import numpy as np
import pytest
from scipy.special import log_expit

import tfds_mosei
from mosei_ssl.config import FinetuneConfig, HeadConfig, PretrainConfig, TransformerConfig
from mosei_ssl.data import DataConfig, load_segments, make_evaluation_dataset
from mosei_ssl.data.selection import select_segments
from mosei_ssl.metrics import evaluate_predictions, pooled_features
from mosei_ssl.serving import LocalModel
from mosei_ssl.training import evaluate, finetune, load_model, pretrain
from mosei_ssl.training.evaluation import predict_segments
from mosei_ssl.training.finetuning import _build, _choose
from mosei_ssl.training.head_fit import fit_head
from mosei_ssl.training.starting_point import take_over
from mosei_ssl.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("quick")

SPLITS = ("validation", "test")


@pytest.fixture
def untrained(monkeypatch):
    """For tests of what is checked and settled before training: the runs end there."""
    monkeypatch.setattr("mosei_ssl.training.finetuning._train", lambda *arguments: None)


def test_both_arms_share_labels_order_and_head_and_differ_in_the_backbone(
    pretrained, finetuning, finetuned, options
):
    config = finetuning("any", from_scratch=True, seed=5, backbone=options["backbone"])
    segments = load_segments(config, "train")
    keras.utils.clear_session()
    baseline, ssl = _build(config, segments, 24), _build(config, segments, 24)
    take_over(pretrained, ssl)
    learned = load_model(pretrained / "backbone.keras")
    for ours, theirs in zip(
        ssl.backbone.trainable_variables, learned.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_array_equal(
        ssl.distribution.get_weights()[0], baseline.distribution.get_weights()[0]
    )
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(ssl.backbone.get_weights(), baseline.backbone.get_weights(), strict=True)
    )
    runs = [finetune(finetuning("ssl", pretrained=str(pretrained.path))), finetuned]
    labels = [json.loads((run / "labels.json").read_text()) for run in runs]
    assert labels[0] == labels[1]
    assert len(labels[0]) == 24
    assert [run.info["result"]["arm"] for run in runs] == ["ssl", "baseline"]


def test_segments_can_be_those_that_select_would_choose(finetuning):
    random = finetuning("any", from_scratch=True, labels=20)
    selected = dataclasses.replace(random, label_selection="select")
    segments = load_segments(random, "train").labelled()
    pooled = pooled_features(segments, segments.statistics["mean"])
    chosen = _choose(selected, segments).tolist()
    assert chosen == sorted(select_segments(pooled, 20, seed=random.seed).tolist())
    assert chosen != _choose(random, segments).tolist()
    with pytest.raises(UserError, match="choose 1 to"):
        _choose(dataclasses.replace(selected, labels=10_000), segments)
    assert len(_choose(dataclasses.replace(selected, labels="all"), segments)) == len(segments)


def test_draws_take_turns_over_speakers_or_over_the_videos_of_a_single_one(finetuning):
    """Of 7 videos the first six are of one speaker; every segment has the same emotions."""
    config = finetuning("any", from_scratch=True, labels=8)
    segments = load_segments(config, "train")
    videos = sorted(set(segments.video_ids))
    emotions = np.tile([2.0, 0, 0, 0, 0, 0], (len(segments), 1))

    def drawn(speakers):
        metadata = segments.metadata | {"speakers": speakers}
        known = dataclasses.replace(segments, emotions=emotions, metadata=metadata)
        chosen = known.subset(_choose(config, known))
        return [int(np.sum(chosen.video_ids == video)) for video in videos]

    assert drawn({video: ["anna"] for video in videos[:-1]})[-1] == 4
    assert max(drawn({})) == max(drawn({video: ["anna"] for video in videos})) == 2


def test_a_run_without_context_hears_raw_rows_in_training_evaluation_and_prediction(
    finetuning, synthetic_data
):
    alone = finetune(finetuning("alone", from_scratch=True, context=False))
    config = alone.options(FinetuneConfig)
    assert not config.context
    raw = load_segments(config, "test")
    moved = load_segments(dataclasses.replace(config, context=True), "test")
    assert np.abs(raw.rows(0) - moved.rows(0)).max() > 0.01
    model = load_model(alone / "model.keras")
    evaluate(alone.path)
    with np.load(alone / "predictions-test.npz") as kept:
        found = kept["expected"]
        assert kept["speakers"].tolist() == raw.speaker_ids.tolist()
    by_hand = predict_segments(model, raw, config)["expected"]
    np.testing.assert_allclose(found, by_hand, atol=1e-5)
    assert LocalModel(alone.path).feature_mean is None


def test_a_head_may_learn_segments_in_context_and_without(finetuning, pretrained):
    options = {"freeze_backbone": True, "cautious": False, "pretrained": str(pretrained.path)}
    run = finetune(finetuning("both", also_alone=True, **options))
    config, model = run.options(FinetuneConfig), load_model(run / "model.keras")
    names = json.loads((run / "labels.json").read_text())
    wanted = [(name["video_id"], name["segment_id"]) for name in names]
    embeddings, labels = [], []
    for context in (True, False):
        train = load_segments(dataclasses.replace(config, context=context), "train")
        keys = list(zip(train.video_ids.tolist(), train.segment_ids.tolist(), strict=True))
        part = train.subset([keys.index(key) for key in wanted])
        for batch in make_evaluation_dataset(part, config, with_labels=False):
            embeddings.append(keras.ops.convert_to_numpy(model.embedding(batch)))
        labels.append(part.emotions)
    labels = np.concatenate(labels)
    strength = model.head.weight_penalty * labels.size
    kernel, _ = fit_head(np.concatenate(embeddings), labels, strength)
    np.testing.assert_allclose(model.distribution.get_weights()[0], kernel, atol=2e-3)


@pytest.mark.parametrize("more", [{"context": False, "freeze_backbone": True}, {}])
def test_segments_are_learned_alone_only_where_that_changes_something(finetuning, more):
    with pytest.raises(UserError, match="also_alone needs context"):
        finetune(finetuning("any", from_scratch=True, also_alone=True, **more))


def test_the_weight_prior_counts_less_the_more_labels_there_are(finetuning):
    config = finetuning("any", from_scratch=True, weight_prior=20.0)
    segments = load_segments(config, "train")
    assert _build(config, segments, 40).head.weight_penalty == 0.5
    assert _build(config, segments, 400).head.weight_penalty == 0.05
    fixed = finetuning("any", from_scratch=True)
    assert _build(fixed, segments, 400).head.weight_penalty == HeadConfig().weight_penalty


def test_the_same_command_twice_gives_the_same_metrics(finetuned, finetuning):
    texts = []
    for run in (finetuned, finetune(finetuning("again", from_scratch=True))):
        evaluate(run.path)
        texts.append((run / "metrics.json").read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["dataset"]["synthetic"] is True


def test_metrics_are_those_of_the_kept_predictions_beside_all_predictors(finetuned, synthetic_data):
    run = finetuned
    result = evaluate(run.path, "test")
    assert list(result["predictors"]) == ["model", "all_zero", "train_median", "ridge", "svr"]
    test = load_segments(DataConfig(data_dir=str(synthetic_data)), "test")
    with np.load(run / "predictions-test.npz", allow_pickle=False) as kept:
        np.testing.assert_array_equal(kept["segment_ids"], test.segment_ids)
        np.testing.assert_array_equal(kept["labels"], test.emotions)
        mae = float(np.abs(kept["intensity"] - test.emotions).mean())
        scores = evaluate_predictions(test.emotions, dict(kept))
    assert result["predictors"]["model"]["overall"]["mae"] == pytest.approx(mae, abs=1e-6)
    assert result["predictors"]["model"]["overall"] == scores["overall"]
    zero = float(np.abs(test.emotions).mean())
    assert result["predictors"]["all_zero"]["overall"]["mae"] == pytest.approx(zero, abs=1e-6)


def test_without_labels_an_emotion_model_is_adapted_to_the_corpus(finetuned, finetuning):
    run = finetune(finetuning("none", labels=0, pretrained=str(finetuned.path)))
    before, after = (load_model(r / "model.keras") for r in (finetuned, run))
    kernel = before.distribution.get_weights()[0]
    np.testing.assert_allclose(after.distribution.get_weights()[0], 0.75 * kernel, rtol=1e-6)
    assert json.loads((run / "labels.json").read_text()) == []
    found = evaluate(run.path, "test")["predictors"]
    assert set(found) == {"model", "all_zero"}
    assert found["model"]["overall"]["mae"] == found["all_zero"]["overall"]["mae"]
    assert found["model"]["overall"]["pearson_r"] is not None
    with pytest.raises(UserError, match="nothing to learn from but an emotion model"):
        finetune(finetuning("nothing", labels=0, from_scratch=True))


def test_a_linear_probe_leaves_the_backbone_as_it_was(pretrained, finetuning):
    run = finetune(finetuning("probe", freeze_backbone=True, pretrained=str(pretrained.path)))
    before = load_model(pretrained / "backbone.keras").learned_variables
    after = load_model(run / "model.keras").backbone.learned_variables
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert not (run / "history.csv").exists()  # no epochs


@pytest.mark.parametrize("heard", [False, True])
def test_a_probe_has_the_best_head(finetuned, finetuning, heard):
    start = {"pretrained": str(finetuned.path)} if heard else {"from_scratch": True}
    start |= {"freeze_backbone": True, "weight_prior": 2.0, "cautious": False}
    config = finetuning("probe", **start)
    model = load_model(finetune(config) / "model.keras")
    train = load_segments(config, "train").labelled()
    labelled = train.subset(_choose(config, train))
    labelled = labelled.subset(labelled.length_order())
    batches = list(make_evaluation_dataset(labelled, config, with_labels=False))
    embeddings = [keras.ops.convert_to_numpy(model.embedding(batch)) for batch in batches]
    anchor = 0.0
    if heard:
        anchor = 0.75 * load_model(finetuned / "model.keras").distribution.get_weights()[0]

    def loss(kernel, bias):
        model.distribution.set_weights([kernel, bias])
        logits = np.concatenate(
            [keras.ops.convert_to_numpy(model.distribution(e)) for e in embeddings]
        )
        fit = float(model.loss_function(labelled.emotions, logits))
        # A quarter of a segment each way.
        rare = 0.25 * np.sum(log_expit(bias) + log_expit(-bias)) / labelled.emotions.size
        return fit - rare + 2.0 / len(labelled) * np.sum((kernel - anchor) ** 2)

    kernel, bias = model.distribution.get_weights()
    rng, least = np.random.default_rng(0), loss(kernel, bias)
    for _ in range(10):
        step = 0.03 * rng.normal(size=kernel.shape), 0.1 * rng.normal(size=bias.shape)
        assert loss(kernel + step[0], bias) > least < loss(kernel - step[0], bias)
        assert loss(kernel, bias + step[1]) > least < loss(kernel, bias - step[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "choose the arm"),
        ({"from_scratch": True, "pretrained": "x"}, "choose the arm"),
        ({"from_scratch": True, "labels": 100000}, "label budget 100000 is impossible"),
        ({"from_scratch": True, "monitor": "val_mea"}, "no score named 'val_mea'.*val_mae"),
        ({"pretrained": "nowhere"}, "nowhere is not a run directory"),
    ],
)
def test_bad_options_are_told_in_one_message(finetuning, changes, message):
    with pytest.raises(UserError, match=message):
        finetune(finetuning("run", **changes))


@pytest.mark.parametrize("cut", ["empty", "half", "garbage"])
def test_a_backbone_cut_short_is_named(pretrained, finetuning, cut):
    file = pretrained / "backbone.keras"
    content = file.read_bytes()
    file.write_bytes(
        {"empty": b"", "half": content[: len(content) // 2], "garbage": b"x" * 999}[cut]
    )
    with pytest.raises(UserError, match=r"backbone\.keras cannot be read.*repeat the run"):
        finetune(finetuning("run", pretrained=str(pretrained.path)))


def test_an_unfinished_pretraining_is_not_taken_over(pretrained, finetuning):
    info = json.loads((pretrained / "run.json").read_text())
    (pretrained / "run.json").write_text(json.dumps({**info, "state": "running"}))
    with pytest.raises(UserError, match="has not finished"):
        finetune(finetuning("run", pretrained=str(pretrained.path)))


def test_a_pretraining_on_rows_of_another_period_is_refused(pretrained, finetuning, untrained):
    file = pretrained / "run.json"
    info = json.loads(file.read_text())
    assert info["dataset"]["row_period"] == 0.01
    info["dataset"]["row_period"] = 0.05
    file.write_text(json.dumps(info))
    config = finetuning("run", pretrained=str(pretrained.path))
    with pytest.raises(UserError, match=r"a row every 10 ms; .* pretrained on a row every 50 ms"):
        finetune(config)
    assert not os.path.exists(config.run)


def test_held_out_speakers_are_kept_out_of_pretraining(pretraining):
    for splits in (["train+test"], ["train + test"], ["train", " test"]):
        with pytest.raises(UserError, match="held-out speakers: leave out test"):
            pretrain(pretraining("run", splits=splits))
    assert pretraining("run", splits=["train + unlabelled", "train"]).splits == [
        "train",
        "unlabelled",
    ]


def test_a_backbone_that_has_seen_the_held_out_speakers_is_refused(
    pretrained, finetuning, untrained, tmp_path
):
    # The same drawn videos and some more, dealt out anew.
    other = tfds_mosei.build("synthetic", data_dir=tmp_path / "other", size=12)
    known = pretrained.options(PretrainConfig)
    config = finetuning(
        "run", pretrained=str(pretrained.path), epochs=1, data_dir=str(tmp_path / "other")
    )
    seen = set(load_segments(known, "train").video_ids)
    held = {split: set(load_segments(config, split).video_ids) for split in SPLITS}
    shared = seen & (held["validation"] | held["test"])
    assert shared
    with pytest.raises(UserError, match=r"was pretrained on another dataset.*of the .* split") as e:
        finetune(config)
    assert any(repr(str(video)) in str(e.value) for video in shared)
    assert other.builder_config.name in str(e.value)
    # Under other names they are the same videos.
    file = pretrained / "videos.json"
    known = json.loads(file.read_text())
    assert set(known) == seen
    file.write_text(json.dumps({f"copy of {video}": known[video] for video in known}))
    with pytest.raises(UserError, match=r"was pretrained on another dataset") as e:
        finetune(config)
    assert any(f"'{video}' (known as 'copy of {video}')" in str(e.value) for video in shared)


def test_a_split_without_labels_is_told(finetuned):
    with pytest.raises(UserError, match=r"'unlabelled' .* has no labelled segment to score"):
        evaluate(finetuned.path, "unlabelled")


def test_scores_that_cannot_be_written_leave_the_older_ones(finetuned, monkeypatch):
    run = finetuned
    evaluate(run.path)
    before = {name: (run / name).read_bytes() for name in ("metrics.json", "predictions-test.npz")}

    def full(temporary, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mosei_ssl.utils.files.put_in_place", full)
    with pytest.raises(UserError, match=r"No space left on device\. Its earlier scores are kept"):
        evaluate(run.path)
    assert {name: (run / name).read_bytes() for name in before} == before


def test_tensorboard_gets_losses_rate_and_emotions(finetuned):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, found = finetuned, {}
    for split in ("train", "validation"):
        events = EventAccumulator(str(run / split)).Reload()
        found[split] = set(events.Tags()["tensors"])
    assert {"epoch_loss", "epoch_learning_rate"} <= found["train"]
    assert {"epoch_loss", "epoch_mae", "epoch_mae_happy", "epoch_pearson_r"} <= found["validation"]


def test_a_run_on_relative_places_is_scored_from_elsewhere_also_once_moved(
    finetuning, synthetic_data, tmp_path, monkeypatch
):
    shutil.copytree(synthetic_data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    finetune(finetuning("run", from_scratch=True, epochs=1, data_dir="data"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    expected = evaluate(tmp_path / "run")
    (tmp_path / "run").rename("run")
    (tmp_path / "data").rename("moved")
    with pytest.raises(UserError, match="no prepared dataset"):
        evaluate("run")
    assert evaluate("run", data_dir="moved") == expected


def test_without_a_dataset_of_its_own_fine_tuning_takes_that_of_the_pretraining(
    pretrained, finetuning, options, synthetic_data, untrained, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    given = finetuning("given", pretrained="pre", epochs=1)
    same = {"epochs": 1, "backbone": options["backbone"]}
    bare = finetuning("bare", pretrained="pre", data_dir="data", **same)
    with caplog.at_level("INFO", logger="mosei_ssl"):
        run = finetune(bare)
    assert f"no dataset in data: taking that of pre, in {synthetic_data}" in caplog.messages
    assert "do not apply" not in caplog.text
    # Nor does the backbone's shape come from anywhere else.
    other = dataclasses.replace(given, backbone=TransformerConfig(hidden_dim=8))
    assert run.config() == finetune(other).config()
    assert "the backbone is that of pre: options of it do not apply" in caplog.text
    # A folder that was named is not another one.
    with pytest.raises(UserError, match="typo: no prepared dataset"):
        finetune(dataclasses.replace(bare, data_dir="typo"))
