"""Damaged tables, folds and .mat files are read, or are one clear error that names the file."""

import json
import zlib

import numpy as np
import pytest
import scipy.io
from mosei_corpus import FUZZ_CASES, IDS, checked, damaged, ramp

from mosei_ssl.corpus.label_table import read_labels
from mosei_ssl.utils.errors import UserError
from tfds_mosei import FEATURE_NAMES
from tfds_mosei.folds import load_folds
from tfds_mosei.labels import labels_from_csv
from tfds_mosei.mat import read_mat, read_table

LABELS = "id;start;end;happy;sad;anger;surprise;disgust;fear;text\n" + "".join(
    f'v{i % 3};{i};{i + 1};{i % 4};0;0.5;0;0;1;"um; ""yes"""\n' for i in range(9)
)
OWN = "file,start,end,happy,speaker\n" + "".join(f"{i}.wav,{i},,1.5,s{i}\n" for i in range(9))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Good files by name, and how each is read."""
    folder = tmp_path_factory.mktemp("whole")
    rows = "\n".join(",".join(map(str, row)) for row in ramp(9))
    lists = [f"standard_{name}_fold = ['{name}']\n" for name in ("train", "valid", "test")]
    for name, packed in (("plain.mat", False), ("packed.mat", True)):
        content = {"features": ramp(9), "names": np.array([list(FEATURE_NAMES)], object)}
        scipy.io.savemat(folder / name, content, do_compression=packed)
    recordings = [folder / f"{i}.wav" for i in range(9)]
    return {
        "labels.csv": (LABELS.encode(), labels_from_csv),
        "own.csv": (OWN.encode("utf-8-sig"), lambda path: read_labels(path, recordings)),
        "rows.csv": (rows.encode(), read_table),
        "named.csv": (",".join(FEATURE_NAMES).encode() + b"\n" + rows.encode(), read_table),
        "folds.json": (json.dumps(IDS).encode(), load_folds),
        "folds.py": ("".join(lists).encode(), load_folds),
        "plain.mat": ((folder / "plain.mat").read_bytes(), read_mat),
        "packed.mat": ((folder / "packed.mat").read_bytes(), read_mat),
    }


NAMES = [
    "labels.csv",
    "own.csv",
    "rows.csv",
    "named.csv",
    "folds.json",
    "folds.py",
    "plain.mat",
    "packed.mat",
]


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files(whole, name, tmp_path):
    content, read = whole[name]
    path = tmp_path / name
    path.write_bytes(content)
    read(path)
    rng, messages = np.random.default_rng(zlib.crc32(name.encode())), []
    cases = FUZZ_CASES // 4 if name.endswith(".mat") else FUZZ_CASES  # each in a child process
    for _ in range(cases):
        path.write_bytes(damaged(rng, content))
        try:
            read(path)
        except UserError as error:
            # A table's mistakes come all at once, each on a line.
            lines = [line for line in str(error).splitlines() if not line.startswith("and ")]
            messages += [checked(UserError(line), path) for line in lines]
    assert {*messages} == {"refused"}
    assert len(messages) > cases / 10
