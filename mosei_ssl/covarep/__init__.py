"""The 74 COVAREP features of a recording, in NumPy, free of MATLAB."""

from mosei_ssl.covarep.columns import APPROXIMATE_COLUMNS, FEATURE_NAMES
from mosei_ssl.covarep.extraction import extract
from mosei_ssl.covarep.stages import Stages

__all__ = [
    "APPROXIMATE_COLUMNS",
    "FEATURE_NAMES",
    "Stages",
    "extract",
]
