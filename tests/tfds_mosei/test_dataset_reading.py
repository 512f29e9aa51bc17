"""Other ways to build and to read, which must all give the same examples."""

import json
import multiprocessing
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow_datasets as tfds
from children import start_child
from mosei_corpus import examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import CorpusError, segments

SPLITS = ("train", "validation", "test", "unassigned", "unlabelled")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rng = np.random.default_rng(0)
    features, labels = {}, {}
    for number, video in enumerate("abcdefg"):
        rows = ramp(700, 1000 * number)
        rows[200:270, 1] = 0
        rows[rng.integers(0, 700, 3), 7] = -np.inf
        features[video] = (frames(700), rows)
        labels[video] = (
            [[0.2, 3.5], [3.4, 6.0], [50.0, 60.0]],
            [label(happy=rng.random() * 4), label(sad=1), label()],
        )
    del labels["g"], features["b"]
    folds = {"train": ["a", "b", "f", "g"], "validation": ["c"], "test": ["d", "ghost"]}
    return write_corpus(tmp_path_factory.mktemp("corpus"), features, labels, folds)


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    return tfds_mosei.build(data_dir=tmp_path_factory.mktemp("data"), manual_dir=corpus)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for key, item in left.items():
        for name, value in item.items():
            np.testing.assert_array_equal(value, right[key][name], err_msg=f"{key} {name}")


def comparable(metadata):
    return json.loads(json.dumps(dict(metadata)))


@pytest.fixture(scope="module")
def array_records(corpus, tmp_path_factory):
    return tfds_mosei.build(
        data_dir=tmp_path_factory.mktemp("records"), manual_dir=corpus, file_format="array_record"
    )


def test_data_source_gives_the_same_examples_without_tensorflow(built, array_records, tmp_path):
    """A process that cannot import TensorFlow reads what a builder with it wrote."""
    script = tmp_path / "read.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import importlib.util
            find = importlib.util.find_spec
            def absent(name, package=None):
                return None if name.split(".")[0] == "tensorflow" else find(name, package)
            importlib.util.find_spec = absent
            class NoTensorFlow:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] == "tensorflow":
                        raise ModuleNotFoundError(name)
            sys.meta_path.insert(0, NoTensorFlow())
            import numpy as np, tensorflow_datasets as tfds, tfds_mosei
            data_dir, out = sys.argv[1:]
            builder = tfds.builder_from_directory(tfds_mosei.find_prepared(data_dir))
            arrays = {}
            for split in builder.info.splits:
                for i, item in enumerate(builder.as_data_source(split=split)):
                    for name, value in item.items():
                        arrays[f"{split}/{i}/{name}"] = np.asarray(value)
            by_name = tfds.data_source(
                f"tfds_mosei/{builder.builder_config.name}", data_dir=data_dir, split="test")
            assert len(by_name) == len(builder.as_data_source(split="test"))
            assert "tensorflow" not in sys.modules
            np.savez(out, **arrays)
            """
        )
    )
    root = array_records.data_path.parents[2]
    subprocess.run([sys.executable, script, root, tmp_path / "out.npz"], check=True)
    read = np.load(tmp_path / "out.npz")
    for split in SPLITS:
        found = {}
        for number in range(array_records.info.splits[split].num_examples):
            item = {name: read[f"{split}/{number}/{name}"] for name in built.info.features}
            segment = int(item["segment_id"])
            place = segment if segment >= 0 else round(float(item["interval"][0]), 3)
            found[item["video_id"].item().decode(), place] = item
        assert_same(
            {k: {n: v for n, v in x.items() if n != "video_id"} for k, x in found.items()},
            {
                k: {n: v for n, v in x.items() if n != "video_id"}
                for k, x in examples(built, split).items()
            },
        )
    assert comparable(array_records.info.metadata) == comparable(built.info.metadata)


def test_another_format_of_what_is_there_is_refused_clearly(built, corpus):
    with pytest.raises(CorpusError, match="tfrecord"):
        tfds_mosei.build(
            data_dir=built.data_path.parents[2], manual_dir=corpus, file_format="array_record"
        )


def test_beam_gives_the_same_examples(corpus, tmp_path):
    # Each split is a pipeline, which takes seconds; these two have examples of both kinds.
    folds = {"train": [*"abcdefg"], "validation": [], "test": []}
    plain, beamed = (
        tfds_mosei.build(
            data_dir=tmp_path / where, manual_dir=corpus, folds=folds, beam_flags=flags
        )
        for where, flags in (("plain", None), ("data", ["--runner=DirectRunner"]))
    )
    assert beamed.builder_config.name == plain.builder_config.name
    assert [*beamed.info.splits] == ["train", "unlabelled"]
    for split in beamed.info.splits:
        assert_same(examples(beamed, split), examples(plain, split))
    assert comparable(beamed.info.metadata) == comparable(plain.info.metadata)
    assert not list(beamed.data_path.glob("summaries*"))
    with pytest.raises(CorpusError, match="'test' is empty"):
        tfds_mosei.build(
            data_dir=tmp_path / "data",
            manual_dir=corpus,
            folds={"train": ["a"], "validation": ["c"], "test": ["ghost"]},
            beam_flags=["--runner=DirectRunner"],
        )
    assert len(tfds_mosei.list_prepared(tmp_path / "data")) == 1
    # Beam would look for files that fit the pattern, find none and end with a traceback.
    with pytest.raises(CorpusError, match=r"a\[1\].*takes \*, \? and \[ in a path for a pattern"):
        tfds_mosei.build(
            data_dir=tmp_path / "a[1]", manual_dir=corpus, beam_flags=["--runner=DirectRunner"]
        )
    assert tfds_mosei.build(data_dir=tmp_path / "a[1]", manual_dir=corpus).info.splits


def test_tfds_build_hands_beam_its_options_on(corpus, tmp_path, monkeypatch):
    """What Beam makes of them is checked above; each pipeline takes seconds."""
    from tensorflow_datasets.scripts.cli import main

    def options(self, dl_manager, download_config):
        raise CorpusError(f"runner: {download_config.beam_options.get_all_options()['runner']}")

    builder = tfds_mosei.tfds_mosei_dataset_builder.Builder
    monkeypatch.setattr(builder, "_download_and_prepare", options)
    line = ["tfds", "build", "tfds_mosei/covarep", "--imports", "tfds_mosei"]
    line += [f"--manual_dir={corpus}", f"--data_dir={tmp_path}"]
    with pytest.raises(CorpusError, match="runner: DirectRunner"):
        main.main(main._parse_flags([*line, "--beam_pipeline_options=runner=DirectRunner"]))


def test_report_beside_the_dataset(built, draw_page):
    report = json.loads((built.data_path / "report.json").read_text())
    assert report["fingerprint"] == built.info.metadata["fingerprint"]
    train = report["report"]["splits"]["train"]
    # a and f have two segments each inside the features, b has labels only, g features only.
    assert (train["videos"], train["segments"]) == (2, 4)
    assert train["frames"] == 2 * (330 + 260)
    assert train["emotion_levels"]["sad"] == [2, 2, 0, 0]
    assert train["hours"] == pytest.approx(2 * (3.3 + 2.6) / 3600)
    assert report["report"]["dropped"] == {
        "bad_interval": 0,
        "zero_length": 0,
        "bad_label": 0,
        "outside_features": 5,
        "no_features": 3,
        "other_rows": 0,
    }
    assert report["report"]["folds"]["test"]["ids_without_labels"] == ["ghost"]
    assert report["report"]["videos"]["features_without_labels"] == 1
    page = draw_page(built)
    assert page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")
    assert "src=" not in page
    for name in ("peakSlope", "HMPDD_12", "unassigned", "unlabelled", built.builder_config.name):
        assert name in page


def test_names_from_files_cannot_break_the_page(tmp_path, draw_page):
    evil = "<script>alert(1)</script>"
    features = {v: (frames(50), ramp(50)) for v in "abcd"}
    labels = {v: ([[0.1, 0.2]], [label()]) for v in ["a", "b", "c", "d", evil.replace("/", "")]}
    folder = write_corpus(tmp_path / "corpus", features, labels)
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    page = draw_page(built)
    assert "</html>" in page
    assert "<script>alert" not in page


def build_slowly(data, corpus, pipe):
    """Waits for ever at the first example that it writes."""
    whole = segments.video_examples

    def slow(*args):
        found, summary = whole(*args)

        def wait():
            for example in found:
                yield example
                pipe.send("writing")
                signal.pause()

        return wait(), summary

    segments.video_examples = slow
    tfds_mosei.build(data_dir=data, manual_dir=corpus)
    return 0


def test_interrupted_build_leaves_nothing_that_loads_and_can_be_run_again(corpus, tmp_path):
    data, log = tmp_path / "data", tmp_path / "log"
    ours, theirs = multiprocessing.Pipe()
    process = start_child(build_slowly, data, corpus, theirs, log=log)
    theirs.close()
    assert ours.poll(100), log.read_text()
    assert ours.recv() == "writing"
    process.kill()
    process.join()
    left = list(data.glob("tfds_mosei/*/incomplete*"))
    assert len(left) == 1
    assert tfds_mosei.list_prepared(data) == {}
    with pytest.raises(CorpusError, match="no prepared dataset"):
        tfds_mosei.find_prepared(data)
    with pytest.raises(CorpusError, match="it is not prepared"):
        tfds.load(f"tfds_mosei/{left[0].parent.name}", data_dir=data, download=False)

    tfds_mosei.build(data_dir=data, manual_dir=corpus)
    assert not list(data.glob("tfds_mosei/*/incomplete*"))
    again = tfds.builder_from_directory(tfds_mosei.find_prepared(data))
    assert again.info.splits["train"].num_examples == 4


def test_a_failing_build_removes_what_it_wrote(corpus, tmp_path, monkeypatch):
    whole = segments.video_examples

    def fail_at_test(corpus, split, video, timing):
        if split == "test":
            raise OSError("No space left on device")
        return whole(corpus, split, video, timing)

    monkeypatch.setattr(segments, "video_examples", fail_at_test)
    with pytest.raises(CorpusError, match=r"cannot be written \(No space left.*make room"):
        tfds_mosei.build(data_dir=tmp_path, manual_dir=corpus)
    assert not list(tmp_path.glob("tfds_mosei/covarep*"))
    monkeypatch.undo()
    assert (
        tfds_mosei.build(data_dir=tmp_path, manual_dir=corpus).info.splits["test"].num_examples == 2
    )
