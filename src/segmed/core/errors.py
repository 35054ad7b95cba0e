"""Errors that a user can act on: one line that names the thing, what was expected, and what to do."""


class SegmedError(ValueError):
    """The base of every error that SegMed raises for bad input; the command line prints it without a traceback.

    Example:
        >>> try:
        ...     segmed.read_image("missing.png")
        ... except segmed.SegmedError as error:
        ...     print(error)
        missing.png: cannot be read (No such file or directory). Check that it exists and that you may read it.
    """


class DataError(SegmedError):
    """A file or a data set is not what it should be."""


class SplitError(SegmedError):
    """A split leaks, belongs to other data, or cannot be made."""


class ConfigError(SegmedError):
    """A setting is unknown, of the wrong type or out of range."""


class ModelError(SegmedError):
    """A model cannot be built, loaded or applied to this input."""


class StoppedError(SegmedError):
    """The process was told to stop; what was done is kept, and what works through a list stops too."""


class MissingDependencyError(SegmedError, ImportError):
    """An optional part is not installed."""
