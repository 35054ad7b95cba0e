"""Which stored mask value, or colour, means which label; one-hot encoding and its exact reverse."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from segmed.core.errors import DataError

Colour = tuple[int, int, int]
StoredValue = int | Colour
UNNAMED = "foreground"
"""The name of a single label where neither the data nor the user gave one."""


@dataclass(frozen=True)
class LabelMap:
    """Names of the foreground labels and how files store them.

    Args:
        names: `names[k - 1]` is the name of label k; label 0 is background. By default one label that nobody has named.
        stored: `stored[k]` is the value of label k in files: a grey value of 0 to 255, or an RGB colour.

    Raises:
        DataError: Values that are not one for background and one per label, or not distinct; names that are not.

    Example:
        >>> labels = segmed.LabelMap(names=("oedema", "core"), stored=(0, 100, 200))
        >>> labels.decode(np.array([[0, 200], [100, 0]], np.uint8), "mask.png").tolist()
        [[0, 2], [1, 0]]
    """

    names: tuple[str, ...] = (UNNAMED,)
    stored: tuple[StoredValue, ...] = field(default=(0, 255))

    def __post_init__(self) -> None:
        """Refuse a map whose values are not one per label, or not distinct."""
        if not self.names:
            raise DataError("A label map names at least one label beside the background, got none. Name one.")
        if len(self.stored) != len(self.names) + 1:
            raise DataError(
                f"A label map needs one stored value for background and one per label, got {len(self.stored)} "
                f"values for {len(self.names)} labels. List background first."
            )
        if len(set(self.stored)) != len(self.stored):
            raise DataError(f"Stored label values must differ, got {self.stored}. Give each label its own value.")
        if len(set(self.names)) != len(self.names):
            raise DataError(f"Label names must differ, got {', '.join(self.names)}. Name each label once.")
        if any(not 0 <= number <= 255 for value in self.stored for number in np.atleast_1d(value)):
            raise DataError(f"Stored label values are 0 to 255, got {_listed(self.stored)}. Convert the masks first.")
        if len(self.names) > 255:
            raise DataError(f"At most 255 foreground labels fit a mask, got {len(self.names)}.")

    def means_the_same_as(self, other: "LabelMap") -> bool:
        """Whether both name the same labels; a single label without a name of its own is any single label.

        Args:
            other: The labels of other data, or of a run.

        Returns:
            True for the same names in the same order. How files store them does not count.
        """
        unnamed = UNNAMED in (self.names[0], other.names[0])
        return self.names == other.names or (len(self.names) == len(other.names) == 1 and unnamed)

    def names_one_of(self, known: Collection[str]) -> bool:
        """Whether these are labels to look for by name among `known`: not one that nobody has named.

        Args:
            known: Names that a file or a run has.

        Returns:
            Whether any name, given by somebody, is among them.
        """
        return self.names != (UNNAMED,) or UNNAMED in known

    @property
    def is_colour(self) -> bool:
        """Whether files store labels as RGB colours."""
        return isinstance(self.stored[0], tuple)

    def decode(self, stored: Shaped[np.ndarray, "..."], name: str) -> UInt8[np.ndarray, "h w"]:
        """Turn stored pixels into labels.

        Args:
            stored: `h w` grey values, or `h w 3` colours where the map is in colours.
            name: The file, for the error.

        Returns:
            Labels 0 … K.

        Raises:
            DataError: A pixel whose value is not in the map.
        """
        labels = np.zeros(stored.shape[:2], np.uint8)
        known = np.zeros(stored.shape[:2], bool)
        for label, value in enumerate(self.stored):
            here = np.all(stored == np.asarray(value), axis=-1) if self.is_colour else stored == value
            labels[here] = label
            known |= here
        if not known.all():
            found = sorted({str(np.asarray(value).tolist()) for value in stored[~known][:1000]})[:5]
            raise DataError(
                f"{name}: mask value {', '.join(found)} is not a label; expected {_listed(self.stored)}. "
                "Correct the mask or name its values with --labels."
            )
        return labels

    def encode(self, labels: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "..."]:
        """The exact reverse of `decode`.

        Args:
            labels: Labels 0 … K.

        Returns:
            What files store, uint8: `h w` grey values, or `h w 3` colours.
        """
        return np.asarray(self.stored, np.uint8)[labels]

    def to_json(self) -> dict[str, object]:
        """The map as plain JSON values."""
        return {
            "names": list(self.names),
            "stored": [list(v) if isinstance(v, tuple) else v for v in self.stored],
        }

    @classmethod
    def from_json(cls, value: object) -> "LabelMap":
        """Read what `to_json` wrote; raises `DataError` for anything else."""
        names, stored = (value.get("names"), value.get("stored")) if isinstance(value, dict) else (None, None)
        if not isinstance(names, list) or not isinstance(stored, list) or not all(isinstance(n, str) for n in names):
            raise DataError(f"A label map has lists 'names' and 'stored', got {value!r}.")
        values = [tuple(each) if isinstance(each, list) else each for each in stored]
        if not (all(map(_is_whole, values)) or all(map(_is_colour, values))):
            raise DataError(f"Stored label values are all whole numbers or all colours of three, got {stored!r}.")
        return cls(names=tuple(names), stored=tuple(values))


def one_hot(labels: UInt8[np.ndarray, "h w"], classes: int) -> Bool[np.ndarray, "k h w"]:
    """One channel per class, background first; `classes` counts the background too."""
    return np.arange(classes, dtype=np.uint8)[:, None, None] == labels[None]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_colour(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(_is_whole, value))


def _listed(values: tuple[StoredValue, ...]) -> str:
    return ", ".join(str(value) for value in values)
