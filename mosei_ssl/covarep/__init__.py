"""The 74 COVAREP features of a recording, computed with NumPy and SciPy.

Columns are :data:`tfds_mosei.FEATURE_NAMES`; ``docs/covarep.md`` lists the papers cited here.
"""

from mosei_ssl.covarep.analysis import Analysis
from mosei_ssl.covarep.extraction import analyse, extract, row_times
from mosei_ssl.covarep.options import EXTRACTOR_VERSION, ExtractionOptions
from mosei_ssl.covarep.signal import SAMPLE_RATE

__all__ = [
    "EXTRACTOR_VERSION",
    "SAMPLE_RATE",
    "Analysis",
    "ExtractionOptions",
    "analyse",
    "extract",
    "row_times",
]
