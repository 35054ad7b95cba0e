"""Which number in the masks of a tool is which label: labels are the same where they have the same name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.escaping import shortened
from segmed.core.labels import UNNAMED
from segmed.core.reading import read_json
from segmed.evaluation.masks.files import shown

BACKGROUND = "background"
DATASET = "dataset.json"
"""Where nnU-Net and the Medical Segmentation Decathlon keep the names of labels."""
IGNORED = "ignore"
MOST = 255


@dataclass(frozen=True)
class LabelNumbers:
    """The number of each foreground label in files, by name. `source` says who told.

    Example:
        >>> LabelNumbers({"kidney": 1, "tumour": 2}).names
        ('kidney', 'tumour')
    """

    numbers: Mapping[str, int]
    source: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The foreground labels, in their order."""
        return tuple(self.numbers)


@dataclass(frozen=True)
class _Dataset:
    """What is read of a `dataset.json`; labels are `{name: number}` (nnU-Net) or `{number: name}` (MSD)."""

    labels: dict[str, int | str | list[int]]


def parse_label_numbers(text: str) -> LabelNumbers:
    """Labels as on the command line: `background=0,kidney=1,tumour=2`, or a `dataset.json`.

    Raises:
        DataError: What is neither, a number twice, or no label.
    """
    if "=" not in text:
        return read_label_numbers(Path(text))
    entries = [tuple(part.strip() for part in entry.partition("=")[::2]) for entry in text.split(",")]
    wrong = ((name, number) for name, number in entries if not (name and number.isdecimal() and len(number) <= 9))
    bad = next((f"{name}={number}" for name, number in wrong), None)
    if bad is not None:
        raise DataError(f"--labels: {shortened(bad)} is not NAME=NUMBER. Write it as 'background=0,kidney=1,tumour=2'.")
    if len({name for name, _ in entries}) < len(entries):
        raise DataError(f"--labels: {text!r} names a label twice. Give each one number.")
    return _numbers({name: int(number) for name, number in entries}, "--labels")


def read_label_numbers(path: Path) -> LabelNumbers:
    """The labels of a `dataset.json` of nnU-Net or the Medical Segmentation Decathlon.

    Raises:
        DataError: No such file, regions of several numbers, or numbers given twice.
    """
    stored = read_json(path, _Dataset, what="a dataset.json with labels", remedy="Name labels with --labels.")
    labels: dict[str, int] = {}
    for key, value in stored.labels.items():
        name, number = (str(value), key) if key.isdecimal() else (key, value)
        if isinstance(number, list):
            raise DataError(f"{path}: the label {name} is a region of several numbers. Name labels with --labels.")
        if not str(number).isdecimal() or name in labels:
            raise DataError(f"{path}: the label {name} has the number {number!r}. Give each label one whole number.")
        labels[name] = int(number)
    return _numbers(labels, str(path))


def labels_beside(folder: Path) -> LabelNumbers | None:
    """The labels of the `dataset.json` in a folder or the one above it; None where there is none."""
    path = next((place / DATASET for place in (folder, folder.parent) if (place / DATASET).is_file()), None)
    return None if path is None else read_label_numbers(path)


def labels_found(values: Iterable[int]) -> LabelNumbers:
    """Labels of the numbers in references that nobody named.

    Raises:
        DataError: Nothing but background.
    """
    numbers = sorted(set(values) - {0})
    if not numbers:
        raise DataError(
            "The references hold background alone, so there is nothing to score. Check that they are masks."
        )
    if len(numbers) > MOST:
        raise DataError(f"The references hold {len(numbers)} numbers, expected labels. Check that they are masks.")
    if len(numbers) == 1:
        return LabelNumbers({UNNAMED: numbers[0]}, "references")
    return LabelNumbers({f"label {number}": number for number in numbers}, "references")


def of_system(references: LabelNumbers, own: LabelNumbers | None, name: str) -> LabelNumbers:
    """The numbers that a system gives the references' labels, by name; the references' own where it states none.

    Raises:
        DataError: A system that names labels, but lacks one of the references'.
    """
    if own is None:
        return references
    by_name = {label.casefold(): number for label, number in own.numbers.items()}
    if len(references.numbers) == len(own.numbers) == 1 and UNNAMED in (*references.names, *own.names):
        return LabelNumbers({references.names[0]: next(iter(own.numbers.values()))}, own.source)
    if lacking := [label for label in references.names if label.casefold() not in by_name]:
        raise DataError(
            f"{name}: {own.source} has no label {lacking[0]!r}; there are {shown(own.names)}. Say its number with "
            f"--labels-of {name}:{lacking[0]}=NUMBER."
        )
    return LabelNumbers({label: by_name[label.casefold()] for label in references.names}, own.source)


def numbered(
    array: Shaped[np.ndarray, "d h w"], labels: LabelNumbers, name: str, *, others: str
) -> tuple[UInt8[np.ndarray, "d h w"], tuple[int, ...]]:
    """Labels 1 … K in the order of `labels`, 0 elsewhere, and the other numbers that were found.

    Args:
        array: Whole numbers as stored.
        labels: Which number is which label.
        name: The file, for the error.
        others: `refuse` numbers without a label, or `ignore` them, as of organs that nobody scores.

    Raises:
        DataError: A number without a label, where that is refused.
    """
    found = np.zeros(array.shape, np.uint8)
    for label, number in enumerate(labels.numbers.values(), start=1):
        found[array == number] = label
    rest = tuple(int(value) for value in np.unique(array[(found == 0) & (array != 0)]))
    if rest and others == "refuse":
        listed = ", ".join(f"{label}={number}" for label, number in labels.numbers.items())
        raise DataError(
            f"{name}: holds the number {rest[0]}, which is no label; known are {listed}. Name it with --labels."
        )
    return found, rest


def _numbers(labels: Mapping[str, int], source: str) -> LabelNumbers:
    numbers = {name: number for name, number in labels.items() if number != 0 and name not in (BACKGROUND, IGNORED)}
    if not numbers or len(set(numbers.values())) < len(numbers) or len(numbers) > MOST:
        raise DataError(f"{source}: expected up to {MOST} labels besides background, each with its own number above 0.")
    return LabelNumbers(numbers, source)
