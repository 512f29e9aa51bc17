"""Where the columns are."""

from tfds_mosei.schema import FEATURE_NAMES

COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}
MCEP, HMPDM, HMPDD = slice(11, 36), slice(36, 61), slice(61, 74)
