"""The exception that bad corpora, folds and prepared datasets are reported with."""


class CorpusError(ValueError):
    """Something is wrong with the corpus, its folds or a prepared dataset.

    The message alone is meant for the user: what is wrong, in which file or video, and what to
    do about it. Programs can catch it as a ``ValueError``.

    Example:
        ```python
        try:
            tfds_mosei.build("covarep", data_dir="data", manual_dir="downloads/mosei")
        except tfds_mosei.CorpusError as error:
            sys.exit(str(error))
        ```
    """


class NothingPreparedError(CorpusError):
    """A folder holds no prepared dataset at all."""
