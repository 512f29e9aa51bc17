"""Any change to an export is noticed."""

import json
import shutil

import pytest

from mosei_ssl.serving.manifest import MANIFEST, latest_version, sha256, verify
from mosei_ssl.utils.errors import UserError


@pytest.fixture
def exported(saved_model, tmp_path):
    return shutil.copytree(saved_model, tmp_path / "emotion" / "1")


def test_an_untouched_export_passes(exported):
    found = verify(exported)
    names = {"saved_model.pb", "variables/variables.index"}
    assert names <= set(found.manifest["files"])
    assert found.files == len([f for f in exported.rglob("*") if f.is_file()]) - 1
    assert found.manifest_sha256 == sha256(exported / MANIFEST)


def test_name_means_its_highest_version(exported):
    shutil.copytree(exported, exported.parent / "10")
    (exported.parent / "11").mkdir()
    assert latest_version(exported.parent).name == "10"
    assert verify(exported.parent).directory.name == "10"


def test_one_changed_bit_is_noticed(exported):
    file = exported / "variables" / "variables.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"variables\.data-00000-of-00001 has been changed"):
        verify(exported)


def test_lost_and_added_files_are_noticed(exported):
    (exported / "fingerprint.pb").unlink()
    (exported / "assets.extra" / "more.txt").write_text("more")
    with pytest.raises(UserError, match=r"fingerprint\.pb is missing; assets\.extra/more\.txt is"):
        verify(exported)


def test_a_manifest_made_to_fit_is_noticed_by_its_own_digest(exported):
    noted = verify(exported).manifest_sha256
    (exported / "fingerprint.pb").write_bytes(b"other")
    manifest = json.loads((exported / MANIFEST).read_text())
    manifest["files"]["fingerprint.pb"] = {"sha256": sha256(exported / "fingerprint.pb"), "size": 5}
    (exported / MANIFEST).write_text(json.dumps(manifest))
    verify(exported)
    with pytest.raises(UserError, match="it is not the manifest expected"):
        verify(exported, noted)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"format": 1, "files": {"a": 1}}',
        '{"format": 1, "files": {"a": {"sha256": "b", "size": "12"}}}',
        '{"format": 1, "files": {"a": {"sha256": "b", "size": Infinity}}}',
        '{"format": 1, "files": {}, "run": null}',
        '{"format": 1, "files": {}, "dataset": []}',
    ],
)
def test_a_damaged_manifest_is_refused(exported, content):
    (exported / MANIFEST).write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        verify(exported)


def test_without_manifest_or_model(exported, tmp_path):
    (exported / MANIFEST).unlink()
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        verify(exported)
    with pytest.raises(UserError, match="holds no SavedModel"):
        verify(tmp_path / "nowhere")
