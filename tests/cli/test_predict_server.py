"""`mosei-ssl predict --server` says clearly why it cannot."""

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
        (["--server", "http://127.0.0.1:9", "--model", "x"], "either --model"),
    ],
)
def test_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    np.save(tmp_path / "rows.npy", np.zeros((20, 74), np.float32))
    assert main(["predict", str(tmp_path / "rows.npy"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
