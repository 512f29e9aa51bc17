"""Names other people's packages of MOSEI where a corpus is expected."""

import os
from pathlib import Path

import h5py

from tfds_mosei.convert.containers import mfn_audio, mfn_form
from tfds_mosei.csd import HDF5_START
from tfds_mosei.schema import FEATURE_ROOT


def recognise(path: str | os.PathLike[str]) -> str | None:
    """Says what a file is, if it is another project's package of MOSEI.

    Pickles are not opened: names in their first bytes tell which they are. Gives one line with
    what it is and the command that converts it; None for other files.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            what = _what(path, file.read(2**16))
        path = mfn_audio(path) if what and what.startswith("MFN") else path
    except Exception:  # damaged, or not there
        return None
    if not what or what.startswith("MFN"):
        return what and f"{what}. `mosei-ssl convert {path} --out corpus` makes a corpus of them."
    return (
        f"{what}. `mosei-ssl convert {path} --labels CMU_MOSEI_Labels.csd --out corpus` makes a "
        "corpus of it; without MOSEI's labels (.csd or .csv), most have no emotions."
    )


def _what(path: Path, start: bytes) -> str | None:
    if start.startswith(HDF5_START):
        with h5py.File(path, "r", locking=False) as file:
            if "d1" in file:
                return mfn_form(path)
            if FEATURE_ROOT in file and "data" not in file[FEATURE_ROOT]:
                return f"{path.name} is MultiBench's HDF5 of segments"
            return f"{path.name} holds segments in HDF5" if {"train", "test"} <= {*file} else None
    if path.suffix == ".npz":
        return f"{path.name} is a NumPy archive"
    if path.suffix not in (".pkl", ".pickle") and start[:1] != b"\x80":
        return None
    mmsa = "aligned_50" in path.name or b"raw_text" in start
    form = "MMSA's" if mmsa else "MulT's or MultiBench's" if "mosei" in path.name else "a"
    return (
        f"{path.name} is {form} pickle of segments (a row a word, or 20 rows a second, most with "
        "sentiment only), which build never opens, since a pickle can run code"
    )
