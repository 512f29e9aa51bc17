"""What a segment is judged relative to."""

import numpy as np
import pytest

from mosei_ssl.serving.inputs import read_segments
from mosei_ssl.utils.errors import UserError
from tfds_mosei import csd, schema


def times(count):
    begin = np.arange(count) / 100
    return np.stack([begin, begin + 0.01], axis=1)


def test_the_context_is_the_recording_or_all_of_the_speaker(tmp_path, caplog):
    videos = [("anna_1", 1.0, 300), ("anna_2", 4.0, 100), ("carl", 8.0, 50)]
    path = csd.write(
        tmp_path / "speech.csd",
        "COVAREP",
        [(name, times(count), np.full((count, 74), value)) for name, value, count in videos],
        dimension_names=schema.FEATURE_NAMES,
    )

    def found(**options):
        segments = read_segments(path, window=2.0, **options)
        return [(s.name, s.context[0], float(s.context[1][0])) for s in segments]

    alone = [("anna_1", 300, 1.0), ("anna_1", 300, 1.0), ("anna_2", 100, 4.0), ("carl", 50, 8.0)]
    assert found() == alone
    assert found(speaker_from="^([a-z]+)_") == [
        *[("anna_1", 400, 1.75), ("anna_1", 400, 1.75), ("anna_2", 400, 1.75)],
        alone[-1],
    ]
    assert "does not fit 1 names, such as 'carl'" in caplog.text
    for pattern, message in (("anna", "needs a group"), ("^(bea)", "fits no name")):
        with pytest.raises(UserError, match=message):
            found(speaker_from=pattern)


def test_a_speaker_may_be_in_several_files(tmp_path):
    files = [tmp_path / f"{name}.npy" for name in ("anna_1", "anna_2", "bea_1")]
    for value, file in enumerate(files):
        np.save(file, np.full((100, 74), value, np.float32))
    found = [s.context for s in read_segments(files, speaker_from="^([a-z]+)_")]
    assert [(count, means[0]) for count, means in found] == [(200, 0.5), (200, 0.5), (100, 2.0)]
