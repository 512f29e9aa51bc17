"""The 74 COVAREP features of a recording, in NumPy, free of MATLAB."""

from mosei_ssl.covarep.columns import APPROXIMATE_COLUMNS, FEATURE_NAMES
from mosei_ssl.covarep.corpus import CorpusReport, extract_corpus
from mosei_ssl.covarep.extraction import extract
from mosei_ssl.covarep.files import extract_file, read_audio
from mosei_ssl.covarep.stages import Stages

__all__ = [
    "APPROXIMATE_COLUMNS",
    "FEATURE_NAMES",
    "CorpusReport",
    "Stages",
    "extract",
    "extract_corpus",
    "extract_file",
    "read_audio",
]
