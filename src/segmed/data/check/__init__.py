"""Look at every file of a data set before anything is trained on it."""

from segmed.data.check.report import CheckReport
from segmed.data.check.run import check

__all__ = ["CheckReport", "check"]
