"""Videos known again under other names, in other pieces."""

import numpy as np
import pytest

from mosei_ssl.data import segments_from_arrays
from mosei_ssl.data.recognition import named, recognise, sample_content
from mosei_ssl.data.segments import concatenate_segments
from tfds_mosei.schema import FEATURE_NAMES

VUV, HMPDM = FEATURE_NAMES.index("VUV"), FEATURE_NAMES.index("HMPDM_0")


def speech(seed, count, voiced=0.5):
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, 74)).astype(np.float32)
    rows[:, VUV] = draw.random(count) < voiced
    return rows


@pytest.fixture(scope="module")
def library():
    """Twenty clips of 2 s and a talk of 10 minutes."""
    return {f"clip{k}": speech(k, 200) for k in range(20)} | {"talk": speech(100, 60_000)}


def test_a_renamed_copy_is_found_and_others_are_not(library):
    known = sample_content(library.items())
    copies = [(f"x{name}", rows) for name, rows in library.items()]
    assert recognise(known, copies) == {f"x{name}": name for name in library}
    others = [(f"new{k}", speech(1000 + k, 3000)) for k in range(50)]
    assert recognise(known, others) == {}
    assert recognise({}, copies) == {}


def test_an_id_is_enough_where_no_more_is_known(library):
    assert recognise({"clip3": frozenset()}, library.items()) == {"clip3": "clip3"}


def test_recordings_of_one_name_are_told_apart_by_content(library, caplog):
    known = sample_content(library.items())
    assert recognise(known, [("clip3", speech(500, 200))]) == {}
    assert "clip3" in caplog.text
    assert recognise(known, [("clip3", library["clip4"])]) == {"clip3": "clip4"}
    # Nothing is known of silence but its name.
    assert recognise(known, [("clip3", np.zeros((200, 74), np.float32))]) == {"clip3": "clip3"}


def test_neither_pieces_nor_a_speaker_s_name_hide_a_recording(library):
    # Labelled stretches of a talk that was heard as a whole, and the other way round.
    pieces = [("part", library["talk"][k : k + 400]) for k in range(1000, 20_000, 700)]
    assert recognise(sample_content([("talk", library["talk"])]), pieces) == {"part": "talk"}
    assert recognise(sample_content(pieces), [("talk", library["talk"])]) == {"talk": "part"}
    # Clips of one speaker under the speaker's name.
    clips = {name: rows for name, rows in library.items() if name != "talk"}
    speaker = [("anna", rows) for rows in clips.values()]
    assert recognise(sample_content(speaker), clips.items()) == dict.fromkeys(clips, "anna")
    assert set(recognise(sample_content(clips.items()), speaker)) == {"anna"}


def test_another_seed_or_processor_hides_nothing(library):
    rows = library["talk"].copy()
    rows[:, HMPDM:] += 1.0
    rows += np.random.default_rng(0).normal(scale=1e-6, size=rows.shape).astype(np.float32)
    assert recognise(sample_content(library.items()), [("x", rows)]) == {"x": "talk"}


def test_silence_and_a_jingle_are_no_recording():
    silence, jingle = np.zeros((500, 74), np.float32), speech(7, 500)
    talks = [np.concatenate([silence, jingle, speech(k, 20_000)]) for k in range(10)]
    known = sample_content([("first", talks[0]), ("silent", silence)])
    assert known["silent"] == frozenset()
    assert recognise(known, [(f"t{k}", rows) for k, rows in enumerate(talks[1:])]) == {}


def test_extra_corpora_are_known_by_their_own_rows(library):
    metadata = {"feature_statistics": {"mean": [0.0] * 74, "std": [1.0] * 74}}
    parts = [
        segments_from_arrays([rows], np.zeros((1, 6)), video_ids=[name], metadata=metadata)
        for name, rows in library.items()
    ]
    parts[1].metadata["feature_statistics"] = {"mean": [5.0] * 74, "std": [3.0] * 74}
    joined = concatenate_segments(parts[:3], match_statistics=True)
    copies = [(f"x{name}", library[name]) for name in ("clip0", "clip1", "clip2")]
    assert recognise(joined.content, copies) == {f"xclip{k}": f"clip{k}" for k in range(3)}


def test_names_are_told():
    found = {"a": "a", "b": "x"}
    assert named(found) == "'a', 'b' (known as 'x')"
    assert named(found | {"c": "c", "d": "d"}) == "'a', 'b' (known as 'x'), 'c' and 1 more"
