"""The errors for files that cannot be opened or decoded."""

from pathlib import Path

from segmed.core.errors import DataError


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system will not open."""
    reason = error.strerror or str(error)
    return DataError(f"{path}: cannot be read ({reason}). Check that it exists and that you may read it.")


def damaged(path: Path, what: str, error: Exception) -> DataError:
    """The error for a file that starts like one of format `what` but does not decode."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: damaged or truncated {what} ({reason}). Copy or export it again.")
