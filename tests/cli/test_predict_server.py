"""`mosei-ssl predict --server` says clearly why it cannot."""

import sys

import numpy as np
import pytest

from mosei_ssl.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--server", "localhost:8501"], "is not the URL of a server"),
        (["--server", "http://127.0.0.1:9", "--timeout", "2"], "cannot be reached"),
        (["--server", "grpc://127.0.0.1:9", "--timeout", "2"], "cannot be reached"),
        (["--server", "http://127.0.0.1:9", "--timeout", "0"], "--timeout must be above 0"),
        (["--server", "http://127.0.0.1:9", "--model", "x"], "x holds no SavedModel"),
        (["--server", "http://127.0.0.1:9", "--context", "none"], "without --model"),
    ],
)
def test_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    np.save(tmp_path / "rows.npy", np.zeros((20, 74), np.float32))
    assert main(["predict", str(tmp_path / "rows.npy"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("missing", ["tenacity", "httpx", "grpc", "tensorflow_serving.apis"])
def test_without_the_extra_one_line_says_how_to_install_it(tmp_path, capsys, monkeypatch, missing):
    for name in ("client", "rest_client", "grpc_client"):
        monkeypatch.delitem(sys.modules, f"mosei_ssl.serving.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    np.save(tmp_path / "rows.npy", np.zeros((20, 74), np.float32))
    scheme = "http" if missing in ("tenacity", "httpx") else "grpc"
    assert main(["predict", str(tmp_path / "rows.npy"), "--server", f"{scheme}://localhost"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'mosei_ssl[serving]'" in error
    assert error.count("\n") == 1
