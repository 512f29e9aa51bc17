"""Labels, from `mosei-ssl promote` over TF Serving's file to what clients get."""

import shutil

import numpy as np
import pytest
from google.protobuf import text_format

from mosei_ssl.cli import main
from mosei_ssl.serving import LocalModel, connect, export_model
from mosei_ssl.serving.errors import RequestRejected
from mosei_ssl.serving.promotion import served_version
from mosei_ssl.utils.errors import UserError

config_pb2 = pytest.importorskip(
    "tensorflow_serving.config.model_server_config_pb2", reason="mosei_ssl[serving] missing"
)


@pytest.fixture(scope="module")
def two_versions(saved_model, emotion_model, tmp_path_factory):
    """A model with two versions whose answers differ."""
    model = tmp_path_factory.mktemp("promoted") / "emotion"
    shutil.copytree(saved_model.parent, model)
    head = emotion_model.trainable_variables[-1]
    before = head.numpy()
    head.assign(before + 1.0)
    export_model(emotion_model, model)
    head.assign(before)
    return model


@pytest.fixture
def model(two_versions, tmp_path):
    return shutil.copytree(two_versions, tmp_path / "emotion")


def entry(model):
    text = (model / "deployment" / "models.config").read_text()
    config = text_format.Parse(text, config_pb2.ModelServerConfig())
    return config.model_config_list.config[0]


def served(model):
    found = entry(model)
    return dict(found.version_labels), list(found.model_version_policy.specific.versions)


def promote(model, version, label):
    return main(["promote", str(model), str(version), "--label", label])


def test_canary_promotion_and_rollback(model, start_server, capsys):
    rows = [np.random.default_rng(0).normal(size=(50, 74)).astype(np.float32)]
    old, new = (LocalModel(model / name).predict(rows)["expected"] for name in ("1", "2"))
    assert np.abs(old - new).max() > 0.01
    # An export alone changes nothing on a server.
    assert served(model) == ({"stable": 1}, [1])
    assert served_version(model) == model / "1"
    config = model / "deployment" / "models.config"
    server = start_server("--no-warmup", "--models-config", str(config), base=model)

    def answers(label):
        for url in (server.rest, server.grpc):
            with connect(url, label=label, timeout=60) as client:
                yield client.predict(rows)["expected"]

    def check(label, expected):
        for found in answers(label):
            np.testing.assert_allclose(found, expected, atol=1e-5)

    check("stable", old)
    with pytest.raises(RequestRejected, match="label"):
        list(answers("canary"))
    assert promote(model, 2, "canary") == 0
    assert served_version(model, label="canary") == served_version(model) == model / "2"
    assert served_version(model, label="stable") == served_version(model, 1) == model / "1"
    assert capsys.readouterr().out == "canary: version 2, stable: version 1\n"
    check("canary", new)
    check("stable", old)
    assert promote(model, 2, "stable") == 0
    # Version 1 stays loaded, or the way back would be refused.
    assert served(model) == ({"stable": 2, "canary": 2}, [1, 2])
    check("stable", new)
    assert promote(model, 1, "stable") == 0
    check("stable", old)
    with connect(server.grpc, version=2, timeout=60) as client:
        assert client.status() == {2: "AVAILABLE"}


def test_what_a_server_would_refuse_is_refused_at_once(model, capsys):
    before = (model / "deployment" / "models.config").read_text()
    assert promote(model, 2, "stable") == 2
    assert "--label canary" in capsys.readouterr().err
    assert promote(model, 3, "stable") == 2
    assert "no version 3; its highest is 2" in capsys.readouterr().err
    assert promote(model, 2, "a b") == 2
    (model / "2" / "saved_model.pb").write_bytes(b"tampered with")
    assert promote(model, 2, "canary") == 3
    assert "saved_model.pb has been changed" in capsys.readouterr().err
    assert (model / "deployment" / "models.config").read_text() == before


def test_files_of_others_are_kept(model, capsys):
    config = model / "deployment" / "models.config"
    more = 'config { name: "other" base_path: "/models/other" }\n}'
    config.write_text("# mine\n" + config.read_text().rstrip().removesuffix("}") + more)
    assert promote(model, 2, "canary") == 0
    text = config.read_text()
    assert text.startswith("# mine\n")
    parsed = text_format.Parse(text, config_pb2.ModelServerConfig())
    assert [c.name for c in parsed.model_config_list.config] == ["emotion", "other"]
    config.write_text("model_config_list {")
    assert promote(model, 2, "canary") == 2
    assert "not a ModelServerConfig" in capsys.readouterr().err
    config.unlink()
    assert promote(model, 2, "stable") == 0
    assert served(model) == ({"stable": 2}, [2])


def test_a_policy_of_the_latest_becomes_one_of_versions(model):
    config = model / "deployment" / "models.config"
    config.write_text(
        'model_config_list { config { name: "emotion" base_path: "/models/emotion" '
        'model_platform: "tensorflow" version_labels { key: "stable" value: 1 } } }'
    )
    assert promote(model, 2, "stable") == 0
    assert served(model) == ({"stable": 2}, [1, 2])
    renamed = model.rename(model.with_name("mine"))
    assert served_version(renamed, label="stable") == renamed / "2"
    with pytest.raises(UserError, match="gives the label 'canary' to no version"):
        served_version(renamed, label="canary")


def test_version_and_label_exclude_each_other():
    with pytest.raises(UserError, match="either a version or a label"):
        connect("http://localhost:1", version=1, label="stable")
