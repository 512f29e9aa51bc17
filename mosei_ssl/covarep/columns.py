"""Names and order of the 74 columns."""

FEATURE_NAMES: tuple[str, ...] = (
    *("F0", "VUV", "NAQ", "QOQ", "H1H2", "PSP", "MDQ", "peakSlope", "Rd", "Rd_conf", "creak"),
    *(f"MCEP_{i}" for i in range(25)),
    *(f"HMPDM_{i}" for i in range(25)),
    *(f"HMPDD_{i}" for i in range(13)),
)
"""Columns of the feature matrix, in the order of CMU-MOSEI's COVAREP files."""

APPROXIMATE_COLUMNS: tuple[str, ...] = ("creak",)
"""Columns that come from an estimator of our own instead of the original's trained network."""

COLUMN: dict[str, int] = {name: index for index, name in enumerate(FEATURE_NAMES)}
"""Column number of each name."""

MCEP = slice(COLUMN["MCEP_0"], COLUMN["MCEP_24"] + 1)
HMPDM = slice(COLUMN["HMPDM_0"], COLUMN["HMPDM_24"] + 1)
HMPDD = slice(COLUMN["HMPDD_0"], COLUMN["HMPDD_12"] + 1)
