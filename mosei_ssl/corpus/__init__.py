"""Recordings and a label table to a corpus in MOSEI's layout."""

from mosei_ssl.corpus.audio_files import extract_file, read_audio
from mosei_ssl.corpus.extract_corpus import CorpusReport, extract_corpus

__all__ = ["CorpusReport", "extract_corpus", "extract_file", "read_audio"]
