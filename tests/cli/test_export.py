"""`mosei-ssl export` and `mosei-ssl verify`."""

import importlib.metadata
import json

import pytest

import mosei_ssl
from mosei_ssl.cli import main


@pytest.fixture
def not_installed(monkeypatch):
    """As in a checkout on PYTHONPATH, which has no metadata of a package."""
    real = importlib.metadata.version

    def version(name):
        if name == "mosei_ssl":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.usefixtures("not_installed")
def test_export_then_verify(finished_run, tmp_path, capsys):
    assert main(["export", "--run", str(finished_run), "--to", str(tmp_path / "emotion")]) == 0
    exported, digest = capsys.readouterr().out.splitlines()
    assert exported == f"Exported {tmp_path / 'emotion' / '1'}"
    noted = digest.split()[-1]
    assert main(["verify", str(tmp_path / "emotion"), "--manifest-sha256", noted]) == 0
    # An unset variable of a script must not pass for a digest.
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "emotion"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["directory"] == str(tmp_path / "emotion" / "1")
    assert found["manifest_sha256"] == noted
    assert found["manifest"]["versions"]["mosei_ssl"] == mosei_ssl.__version__
    assert found["files"] == len(found["manifest"]["files"])
    assert main(["verify", str(tmp_path / "emotion"), "--manifest-sha256", ""]) == 3
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "emotion")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("OK  ")
    assert "as exported" in out
    assert "ssl8, seed 3" in out
    assert "covarep-0123456789, fingerprint 0123456789" in out

    (tmp_path / "emotion" / "1" / "saved_model.pb").write_bytes(b"tampered")
    assert main(["verify", str(tmp_path / "emotion" / "1")]) == 3
    error = capsys.readouterr().err
    assert "saved_model.pb has been changed" in error
    assert "Traceback" not in error


def test_a_version_is_not_taken_for_a_model(finished_run, tmp_path, capsys):
    model = tmp_path / "emotion"
    assert main(["export", "--run", str(finished_run), "--to", str(model)]) == 0
    before = sorted(model.rglob("*"))
    for place in ("1", "2", "2/", "1/assets.extra", "1/variables/x"):
        capsys.readouterr()
        assert main(["export", "--run", str(finished_run), "--to", f"{model}/{place}"]) == 2
        error = capsys.readouterr().err
        assert f"next version number is chosen automatically: give {model}." in error
    assert sorted(model.rglob("*")) == before


def test_what_cannot_be_exported_is_one_line(tmp_path, capsys):
    assert main(["export", "--run", str(tmp_path / "no"), "--to", str(tmp_path / "x")]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no SavedModel" in capsys.readouterr().err
