"""Label-efficient audio emotion recognition on CMU-MOSEI's acoustic features."""

__version__ = "0.1.0"
