"""Names and units of everything an example holds."""

EMOTIONS: tuple[str, ...] = ("happy", "sad", "anger", "surprise", "disgust", "fear")
"""The six emotions in the order of the label files; each from 0 (absent) to 3 (strong)."""

LABEL_NAMES: tuple[str, ...] = ("sentiment", *EMOTIONS)
"""The seven columns of the label files; sentiment from -3 to 3."""

FEATURE_NAMES: tuple[str, ...] = (
    "F0",
    "VUV",
    "NAQ",
    "QOQ",
    "H1H2",
    "PSP",
    "MDQ",
    "peakSlope",
    "Rd",
    "Rd_conf",
    "creak",
    *(f"MCEP_{i}" for i in range(25)),
    *(f"HMPDM_{i}" for i in range(25)),
    *(f"HMPDD_{i}" for i in range(13)),
)
"""The 74 COVAREP columns in file order."""

NUM_FEATURES = len(FEATURE_NAMES)

VUV_COLUMN = FEATURE_NAMES.index("VUV")
"""Column that is 1 where the voice is on, 0 where it is off."""

FRAME_PERIOD = 0.01
"""Seconds from one feature row to the next."""

FEATURE_ROOT = "COVAREP"
"""Root name of the feature file."""

LABEL_ROOT = "All Labels"
"""Root name of the label file."""

LABELLED_SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""The splits that a folds file assigns videos to."""
