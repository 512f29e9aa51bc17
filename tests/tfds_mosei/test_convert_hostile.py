"""Packages come from anywhere: nothing in a pickle runs, and damage is one message."""

import collections
import os
import pickle
import shutil
import struct
import time

import h5py
import numpy as np
import pytest
from mosei_corpus import FUZZ_CASES, damaged

from mosei_ssl.cli.main import main
from tfds_mosei import CorpusError
from tfds_mosei.convert import convert_package, recognise


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


class Plain:
    """Unpickling it makes an object of a class."""


class Outside(pickle.Pickler):
    """Refers to objects outside of the pickle."""

    def persistent_id(self, value):
        return "outside" if isinstance(value, Plain) else None


def entry(n=3, rows=8, **changes):
    audio = np.abs(np.random.default_rng(n).normal(size=(n, rows, 74))).astype(np.float32)
    names = np.array([f"v{i}[0]" for i in range(n)])
    return {"audio": audio, "id": names, "labels": np.linspace(-1, 1, n)} | changes


def package(**changes):
    return {"train": entry(**changes), "valid": entry(2), "test": entry(1)}


def stand_in_array(shape, data):
    """The instructions of an array that claims a shape."""
    rebuild, arguments, state = np.zeros((1, 74), np.float32).__reduce__()
    return Call(rebuild, *arguments, state=(state[0], shape, *state[2:4], data))


def nested(make, depth=100_000):
    """A pickle of containers within each other, which no Python object need be made for."""
    return b"\x80\x04" + make * depth + b"."


MARK = "marker"
HOSTILE = {
    "os.system": lambda: Call(os.system, f"touch {MARK}"),
    "eval": lambda: Call(eval, f"open({MARK!r}, 'w')"),
    "exec": lambda: Call(exec, f"open({MARK!r}, 'w')"),
    "getattr": lambda: Call(getattr, Call(getattr, "text", "join"), "__self__"),
    "numpy.load": lambda: Call(np.load, "other.npy"),
    "numpy.frombuffer": lambda: Call(np.frombuffer, b"12345678"),
    "a reduce in a reduce": lambda: Call(eval, Call(str, f"open({MARK!r}, 'w')")),
    "an object": Plain,
    "a class": lambda: Plain,
    "a default dictionary": lambda: collections.defaultdict(list, a=1),
    "in an array": lambda: np.array([Call(os.system, f"touch {MARK}")], object),
    "a structured array": lambda: np.zeros(2, dtype=[("a", "f4")]),
    "a state for a list": lambda: Call(set, [1], state={"x": 1}),
}
BYTES = {
    "persistent id": b"\x80\x04\x8c\x01xQ.",
    "instance": b"(S'touch marker'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch marker'\no.",
    "extension": b"\x80\x04\x82\x01.",
    "dotted name": b"\x80\x04\x8c\x08builtins\x8c\x0ceval.__call__\x93.",
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"x.",
    "a bytearray of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b"x.",
    "text of gigabytes": b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"x.",
    "a frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 10**12) + b"x.",
    "a number of gigabytes": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "a place in memory that is far": b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1) + b".",
    "tuples in tuples as a key": b"\x80\x04}" + b")" + b"\x85" * 100_000 + b"Ns.",
    "lists in lists": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a set of tuples in tuples": b"\x80\x04(" + b")" + b"\x85" * 100_000 + b"\x91.",
    "nothing": b"",
    "text": b"id,start,end\n",
}


def refuse(path, tmp_path, capfd):
    """The message of a conversion that must fail, through the command line."""
    before = set(tmp_path.iterdir())
    assert main(["convert", str(path), "--out", str(tmp_path / "out")]) == 2
    message = capfd.readouterr().err
    assert message.startswith(f"mosei-ssl convert: {path}")
    assert message.count("\n") == 1
    assert set(tmp_path.iterdir()) == before
    recognise(path)
    assert not (tmp_path / MARK).exists()
    return message


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("place", ["alone", "in a package"])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_pickle_runs(name, place, tmp_path, capfd):
    content = HOSTILE[name]()
    if place == "in a package":
        content = package(id=content)
    for protocol in (0, 2, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
        message = refuse(tmp_path / "a.pkl", tmp_path, capfd)
        assert "could run code" in message, message


def test_objects_outside_of_a_pickle_are_refused(tmp_path, capfd):
    with (tmp_path / "a.pkl").open("wb") as file:
        Outside(file).dump(package(id=Plain()))
    assert "could run code" in refuse(tmp_path / "a.pkl", tmp_path, capfd)


@pytest.mark.parametrize("name", BYTES)
def test_instructions_written_by_hand_are_refused(name, tmp_path, capfd):
    (tmp_path / "a.pkl").write_bytes(BYTES[name])
    start = time.process_time()
    refuse(tmp_path / "a.pkl", tmp_path, capfd)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("shape", [(10**12, 1, 74), (3, 10**9, 74), (-1, 8, 74), (2**62, 4, 74)])
def test_shapes_that_the_bytes_do_not_bear_out(shape, tmp_path, capfd):
    content = package(audio=stand_in_array(shape, bytes(3 * 8 * 74 * 4)))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    refuse(tmp_path / "a.pkl", tmp_path, capfd)


def test_the_same_rows_again_and_again_claim_more_than_the_file_holds(tmp_path, capfd):
    x = np.ones((2000, 74), np.float16)
    item = ((None, None, x), 0.0, "v[0]")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([item] * 20_000))
    assert "GB" in refuse(tmp_path / "a.pkl", tmp_path, capfd)


def test_hdf5_that_claims_rows_it_does_not_hold(tmp_path, capfd):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("train/audio", (10**6, 10**6, 74), "f4", chunks=(1, 8, 74))
    assert "GB" in refuse(tmp_path / "a.h5", tmp_path, capfd)


def test_npz_of_objects_is_refused(tmp_path, capfd):
    content = entry(id=np.array([Call(os.system, f"touch {MARK}")] * 3, object))
    np.savez(tmp_path / "a.npz", **content)
    refuse(tmp_path / "a.npz", tmp_path, capfd)


def test_mutants_of_all_containers_give_a_corpus_or_one_message(tmp_path):
    sources = {}
    for name, protocol in (("a.pkl", 4), ("b.pkl", 2), ("c.pkl", 0)):
        sources[name] = pickle.dumps(package(), protocol=protocol)
    lists = [
        ((np.zeros(8), np.zeros((8, 35)), x, ["w"]), np.zeros((1, 7)), "v[0]")
        for x in entry()["audio"]
    ]
    sources["d.pkl"] = pickle.dumps(lists)
    np.savez(tmp_path / "e.npz", **entry())
    np.savez_compressed(tmp_path / "f.npz", **entry())
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for name, values in entry().items():
            file[f"train/{name}"] = values.astype("S") if name == "id" else values
    with h5py.File(tmp_path / "h.hdf5", "w") as file:
        for i, x in enumerate(entry()["audio"]):
            file[f"COVAREP/v[{i}]/features"] = x
            file[f"All Labels/v[{i}]/features"] = np.zeros((1, 7))
    sources |= {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    rng, read = np.random.default_rng(0), 0
    for number in range(FUZZ_CASES):
        name = sorted(sources)[number % len(sources)]
        folder = tmp_path / f"mutant_{number}"
        folder.mkdir()
        (folder / name).write_bytes(damaged(rng, sources[name]))
        message = ""
        try:
            convert_package(folder / name, folder / "out")
        except CorpusError as error:
            message = str(error)
        assert "\n" not in message
        assert {p.name for p in folder.iterdir()} == ({name} if message else {name, "out"})
        recognise(folder / name)
        shutil.rmtree(folder)
        read += not message
    assert FUZZ_CASES / 50 < read < FUZZ_CASES * 49 / 50
