"""Names that the examples in docstrings use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def speech_wav(tmp_path_factory) -> Path:
    """One second of a buzz at 120 Hz, as an audio file."""
    import numpy as np

    soundfile = pytest.importorskip("soundfile")
    path = tmp_path_factory.mktemp("examples") / "speech.wav"
    soundfile.write(
        path, np.sign(np.sin(2 * np.pi * 120 * np.arange(16_000) / 16_000)) / 10, 16_000
    )
    return path


@pytest.fixture(autouse=True)
def example_names(request, doctest_namespace) -> None:
    """Gives examples, and only them, the files that they name."""
    node = request.node
    if isinstance(node, pytest.DoctestItem) and "speech_wav" in node.dtest.docstring:
        doctest_namespace["speech_wav"] = request.getfixturevalue("speech_wav")
