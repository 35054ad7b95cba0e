"""A data set of our own: brain-like MR volumes with tumours, in the layout of the Kaggle LGG data set or as NIfTI.

For demonstrations, tests and load; no result on it says anything about patients.
"""

from segmed.data.phantom.write import write_phantom

__all__ = ["write_phantom"]
