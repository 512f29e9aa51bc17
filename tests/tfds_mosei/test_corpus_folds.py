"""Folds of a corpus: beside it, given, or downloaded."""

import hashlib
import http.server
import threading

import pytest
import tensorflow_datasets as tfds
from mosei_corpus import IDS, examples, write_corpus

import tfds_mosei
from tfds_mosei import CorpusError
from tfds_mosei import folds as folds_lib
from tfds_mosei.folds import load_folds, make_folds


def standard_file(folds):
    names = {"train": "train", "validation": "valid", "test": "test"}
    return "".join(f"standard_{names[k]}_fold={v!r}\n" for k, v in folds.items())


def test_standard_file_is_parsed_not_executed(tmp_path):
    path = tmp_path / "cmu_mosei_std_folds.py"
    mark = tmp_path / "executed"
    path.write_text(f"open({str(mark)!r}, 'w')\n" + standard_file(IDS))
    folds = load_folds(path)
    assert folds.videos == {split: tuple(ids) for split, ids in IDS.items()}
    assert not mark.exists()
    path.write_text(standard_file(IDS) + f"standard_test_fold=list(open({str(mark)!r}, 'w'))\n")
    with pytest.raises(CorpusError, match="not a plain list"):
        load_folds(path)
    assert not mark.exists()
    path.write_text("standard_train_fold=['a']\n")
    with pytest.raises(CorpusError, match="no assignment to standard_valid_fold"):
        load_folds(path)


def test_order_of_ids_does_not_matter_and_names_of_splits_vary():
    one = make_folds({"train": ["a", "b"], "valid": ["c"], "test": ["d"]})
    two = make_folds({"test": ["d"], "dev": ["c"], "train": ["b", "a", "a"]})
    assert one.digest == two.digest
    assert one.split_of("c") == "validation"
    assert one.split_of("elsewhere") is None


@pytest.mark.parametrize(
    "folds",
    [
        [],
        {"train": "abc", "validation": ["c"], "test": ["d"]},
        {"train": [1], "validation": ["c"], "test": ["d"]},
        {"train": [], "validation": [], "test": []},
        {"train": ["a"], "validation": ["c"], "test": ["d"], "extra": ["e"]},
        {"train": ["a"], "validation": ["c"], "dev": ["b"], "test": ["d"]},
    ],
)
def test_folds_that_are_none(folds):
    with pytest.raises(CorpusError):
        make_folds(folds)


@pytest.fixture
def served_folds(tmp_path, monkeypatch):
    """Serves a folds file over HTTP and registers its checksum, as the real one is."""
    content = standard_file(IDS).encode()
    served = {"body": content}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if served["body"] else 404)
            self.end_headers()
            self.wfile.write(served["body"] or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/cmu_mosei_std_folds.py"
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(folds_lib, "STANDARD_FOLDS_URL", url)
    monkeypatch.setattr(folds_lib, "STANDARD_FOLDS_SHA256", digest)
    info = tfds.core.download.checksums.UrlInfo(
        size=tfds.core.utils.Size(len(content)), checksum=digest, filename="folds.py"
    )
    monkeypatch.setattr(tfds_mosei.Builder, "url_infos", {url: info})
    yield served
    server.shutdown()


def test_standard_folds_are_downloaded(tmp_path, served_folds):
    folder = write_corpus(tmp_path / "corpus", folds=None)
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert set(examples(built, "train")) == {("a", 0), ("b", 0)}
    assert built.info.metadata["folds"]["videos"] == {"train": 2, "validation": 1, "test": 1}


def test_downloaded_folds_of_another_content_are_refused(tmp_path, served_folds):
    served_folds["body"] += b"# changed\n"
    folder = write_corpus(tmp_path / "corpus", folds=None)
    with pytest.raises(CorpusError, match="could not be fetched"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert tfds_mosei.list_prepared(tmp_path / "data") == {}


def test_message_when_the_host_is_down(tmp_path, served_folds):
    served_folds["body"] = None
    folder = write_corpus(tmp_path / "corpus", folds=None)
    with pytest.raises(CorpusError, match=r"Put a folds.json or cmu_mosei_std_folds.py into"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)


def test_registered_checksum_is_the_one_in_the_code():
    infos = tfds_mosei.Builder.url_infos
    info = infos[folds_lib.STANDARD_FOLDS_URL]
    assert info.checksum == folds_lib.STANDARD_FOLDS_SHA256
    assert int(info.size) == 46028
    told = tfds_mosei.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert f"46,028 bytes, SHA-256\n    {folds_lib.STANDARD_FOLDS_SHA256}." in told
