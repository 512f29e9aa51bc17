"""Custom TFDS builder for CMU-MOSEI acoustics."""
