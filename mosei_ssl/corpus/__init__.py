"""Recordings and a label table to a corpus in MOSEI's layout."""

import importlib
from typing import TYPE_CHECKING, Any

from mosei_ssl.corpus.audio_files import extract_file, read_audio

if TYPE_CHECKING:
    from mosei_ssl.corpus.extraction import CorpusReport, extract_corpus

__all__ = ["CorpusReport", "extract_corpus", "extract_file", "read_audio"]


def __getattr__(name: str) -> Any:
    # Worker processes only extract: they should not wait for TFDS.
    if name in ("CorpusReport", "extract_corpus"):
        return getattr(importlib.import_module("mosei_ssl.corpus.extraction"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
