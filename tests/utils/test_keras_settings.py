"""Settings of Keras that this package cannot work with are named before anything is done."""

import json

import pytest

from mosei_ssl.cli import main
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.keras_settings import check_keras_settings


@pytest.fixture(autouse=True)
def keras_home(tmp_path, monkeypatch):
    home = tmp_path / "keras-home"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    return home


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "evaluate", "export", "predict", "study"])
@pytest.mark.parametrize(
    ("variable", "value"), [("KERAS_BACKEND", "torch"), ("TF_USE_LEGACY_KERAS", "1")]
)
def test_a_variable_is_named_and_nothing_left_behind(
    tmp_path, monkeypatch, capsys, verb, variable, value
):
    monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    arguments = {
        "export": ["--run", "r", "--to", "m"],
        "predict": ["x.npy", "--model", "m"],
        "study": ["--config", "s.yaml", "--out", "o"],
    }.get(verb, ["--run", "r"])
    assert main([verb, *arguments]) == 2
    error = capsys.readouterr().err
    assert f"{variable} is {value}" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keras-home"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "cntk"}, "is cntk; tensorflow or jax is needed: set KERAS_BACKEND=tensorflow"),
        ({"floatx": "float16"}, "floatx in "),
        ({"floatx": "float64", "backend": "tensorflow"}, "is float64; float32 is needed"),
        ({"epsilon": "1e-7"}, "epsilon in "),
        ({"image_data_format": "th"}, "image_data_format in "),
        (["tensorflow"], "holds no mapping"),
    ],
)
def test_a_settings_file_is_named(keras_home, settings, message):
    file = keras_home / "keras.json"
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=message) as error:
        check_keras_settings()
    assert str(file) in str(error.value)


def test_the_variable_wins_over_the_file_and_damage_is_ignored_as_keras_does(
    keras_home, monkeypatch
):
    (keras_home / "keras.json").write_text('{"backend": "theano"}')
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    check_keras_settings()
    monkeypatch.delenv("KERAS_BACKEND")
    (keras_home / "keras.json").write_text('{"backend": ')
    check_keras_settings()


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jax" else name)
    with pytest.raises(UserError, match=r"KERAS_BACKEND is jax, which is not installed.*\[jax\]"):
        check_keras_settings()
