"""Other people's packages of MOSEI, made into a corpus that `build` takes."""

from tfds_mosei.convert.corpus import convert_package
from tfds_mosei.convert.recognition import recognise

__all__ = ["convert_package", "recognise"]
