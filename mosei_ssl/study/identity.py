"""What distinguishes a study from every other, and its claim to its folder."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mosei_ssl.metrics import json_safe, write_json
from mosei_ssl.study.cells import FORMAT, Fold
from mosei_ssl.study.config import finetune_options, pretrain_options
from mosei_ssl.study.options import StudyConfig
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text
from mosei_ssl.utils.parsing import changed
from mosei_ssl.utils.versions import decisive_packages, keras_backend, package_versions

LOCK_FILE = "study.lock"
_LEFT_OVER = (LOCK_FILE, "*study.json*.tmp")


def describe(
    config: StudyConfig, folds: Sequence[Fold], budgets: Sequence[int | str]
) -> dict[str, Any]:
    """What distinguishes a study: versions, Keras's backend, and options that affect results."""
    options = dataclasses.asdict(config)
    # Of these only the outcome counts: the datasets' fingerprints and each arm's resolved options.
    for key in ("datasets", "manual_dir", "folds", "arms", "backbone", "pretrain", "finetune"):
        options.pop(key)
    options["data"].pop("data_dir")
    options["budgets"] = list(budgets)
    options["datasets"] = [{"name": f.dataset, "fingerprint": f.fingerprint} for f in folds]
    # A name says little: a beginning of one is enough, and a dataset may be built again.
    extras = {e.dataset: e.fingerprint for f in folds for e in f.extras}
    options["extra_datasets"] = [{"name": n, "fingerprint": extras[n]} for n in sorted(extras)]
    options["arms"] = {
        arm.name: {"finetune": finetune_options(config, arm)}
        | ({"pretrain": pretrain_options(config, arm)} if arm.pretrained is True else {})
        for arm in config.arms
    }
    backend = keras_backend()
    versions = package_versions(decisive_packages(backend))
    return json_safe({"format": FORMAT, "backend": backend, "versions": versions, **options})


def check_same(out: Path, description: dict[str, Any]) -> None:
    """Raise a UserError unless a folder is free, or holds this study or a part of it.

    Seeds, budgets and arms may be added to a study: what is finished stays as it is.
    """
    file = out / "study.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give a folder")
    if not file.exists():
        # What a study leaves that was killed before study.json was there counts as nothing.
        there = out.iterdir() if out.exists() else ()
        if not all(any(path.match(name) for name in _LEFT_OVER) for path in there):
            raise UserError(f"{out} is not empty and holds no study: give another folder")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} is damaged ({error}): give another folder") from None
    if found.get("format") != FORMAT:
        raise UserError(
            f"{out} was made by another version of mosei_ssl (study format {found.get('format')}, "
            f"this version has {FORMAT}): give another folder"
        )
    if found["backend"] != description["backend"]:
        raise UserError(
            f"{out} was made with another backend of Keras ({found['backend']} there, "
            f"{description['backend']} here): give another folder, or set KERAS_BACKEND"
        )
    versions = changed(description["versions"], found.pop("versions"))
    if versions:
        raise UserError(
            f"{out} was made by other versions ({', '.join(versions)}): give another folder, or "
            "install those versions"
        )
    for key in ("seeds", "budgets"):
        if set(found[key]) < set(description[key]):
            found[key] = description[key]
    found["arms"] = description["arms"] | found["arms"]
    different = changed({k: v for k, v in description.items() if k != "versions"}, found)
    if different:
        raise UserError(
            f"{out} holds a study with other settings ({', '.join(different)}): give another "
            f"folder, or the configuration in {out / 'study.yaml'}"
        )


def write_description(out: Path, config: StudyConfig, description: dict[str, Any]) -> None:
    """Write study.json and study.yaml, where they are missing or the study has grown."""
    # study.json first: it alone marks the folder as a study's, so that a study killed between the
    # two can be resumed.
    file = out / "study.json"
    same = file.exists() and json.loads(file.read_text(encoding="utf-8"))["study"] == description
    if not same:
        command = " ".join(["mosei-ssl", *sys.argv[1:]])
        write_json(file, {"study": description, "command": command})
    if not (same and (out / "study.yaml").exists()):
        text = yaml.safe_dump(json_safe(dataclasses.asdict(config)), sort_keys=False)
        write_text(out / "study.yaml", text)
