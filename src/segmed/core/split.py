"""Which slices are for training, validation and test: a value that knows whether it leaks."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segmed.core.errors import SplitError
from segmed.core.files import write_json
from segmed.core.reading import read_json
from segmed.core.units import Unit, unit_of

PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")
FORMAT = 1


@dataclass(frozen=True)
class Partition:
    """Slice ids of one fold: training, validation (epoch, threshold and post-processing are chosen on it), test."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def part(self, name: PartName) -> tuple[str, ...]:
        """The ids of the slices of one part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


@dataclass(frozen=True)
class Split:
    """One or more folds of a data set, with all that is needed to make them again and to refuse a misuse.

    Args:
        strategy: How it was made, in a word: patient, institution, slice, …
        seed: The seed that dealt the patients.
        data_hash: SHA-256 of the decoded pixels; it ties the split to the data.
        leaking: Whether a patient's slices are spread over the parts, as in the reproduced paper's. Every output made
            with such a split says LEAKING.
        patient_of: The patient of each slice.
        folds: Training, validation and test slices of each fold.
        patients_known: False where nobody said which images are of one patient. Each image is then a patient of its
            own in `patient_of`, the split may leak, and every output made with it says PATIENTS UNKNOWN.
        numbered: Whether it names slices and patients by their numbers among those of the data, as a run's own split
            does, so that the run names nobody. `named` gives their ids back.

    Example:
        >>> split = segmed.Split.load("split.json")
        >>> split.leaking, len(split.folds)
        (False, 1)
    """

    strategy: str
    seed: int
    data_hash: str
    leaking: bool
    patient_of: Mapping[str, str]
    folds: tuple[Partition, ...]
    patients_known: bool = True
    numbered: bool = False

    @property
    def unit(self) -> Unit:
        """What `patient_of` tells apart: patients, or images where these are not known."""
        return unit_of(patients_known=self.patients_known)

    def fold(self, index: int) -> Partition:
        """One fold.

        Args:
            index: Its number, from 0.

        Returns:
            The slice ids of its parts.

        Raises:
            SplitError: There is no such fold.
        """
        if not 0 <= index < len(self.folds):
            raise SplitError(f"Fold {index} does not exist; this split has folds 0 to {len(self.folds) - 1}.")
        return self.folds[index]

    def without_validation(self) -> "Split":
        """The same split with every fold's validation patients among its training patients."""
        folds = tuple(Partition((*fold.train, *fold.validation), (), fold.test) for fold in self.folds)
        return dataclasses.replace(self, folds=folds)

    def validate(self) -> None:
        """Raise `SplitError` where parts share a slice, or a patient unless the split is marked as leaking."""
        for number, fold in enumerate(self.folds):
            _require_disjoint({part: fold.part(part) for part in PARTS}, f"fold {number}: slice")
            unknown = [slice_id for part in PARTS for slice_id in fold.part(part) if slice_id not in self.patient_of]
            if unknown:
                raise SplitError(f"fold {number}: slice {unknown[0]} has no patient. Make the split again.")
            if not self.leaking:
                patients = {part: {self.patient_of[slice_id] for slice_id in fold.part(part)} for part in PARTS}
                _require_disjoint(patients, f"fold {number}: patient")

    def require_data(self, data_hash: str) -> None:
        """Raise `SplitError` unless the split was made for exactly these pixels.

        Args:
            data_hash: That of the decoded data, `DecodedDataset.data_hash`.

        Raises:
            SplitError: The split was made for other data.
        """
        if data_hash != self.data_hash:
            raise SplitError(
                f"The split was made for data {self.data_hash[:12]}, but the data is now {data_hash[:12]}: files were "
                "added, removed or changed, or read with other --labels, --patient-regex or --plane. Read the data as "
                "for the split, or make a new one with `segmed data split`."
            )

    def as_numbers(self, slice_ids: Iterable[str], patients: Iterable[str]) -> "Split":
        """The split with numbers for ids: `slice-0` is the first slice of the data in the order of their ids.

        Args:
            slice_ids: Those of all slices of the data.
            patients: Ids of all its patients.

        Returns:
            The split that names nobody.

        Raises:
            SplitError: The split has a slice or patient that the data has not.
        """
        if self.numbered:
            return self
        return self._renamed(_numbers("slice", slice_ids), _numbers("patient", patients), numbered=True)

    def named(self, slice_ids: Iterable[str], patients: Iterable[str]) -> "Split":
        """The split with the ids of the data for numbers; as `as_numbers`, whose reverse it is.

        Args:
            slice_ids: All of the data set's.
            patients: All of the data set's.

        Returns:
            The split by the ids of the data.
        """
        if not self.numbered:
            return self
        slice_of, patient_of = _numbers("slice", slice_ids), _numbers("patient", patients)
        return self._renamed(
            {number: slice_id for slice_id, number in slice_of.items()},
            {number: patient for patient, number in patient_of.items()},
            numbered=False,
        )

    def _renamed(self, slice_ids: Mapping[str, str], patients: Mapping[str, str], *, numbered: bool) -> "Split":
        try:
            folds = [
                {part: tuple(slice_ids[slice_id] for slice_id in fold.part(part)) for part in PARTS}
                for fold in self.folds
            ]
            patient_of = {slice_ids[slice_id]: patients[patient] for slice_id, patient in self.patient_of.items()}
        except KeyError as error:
            raise SplitError(
                f"The split has {error.args[0]}, which the data has not. Read the data as for the split, or make a new "
                "one with `segmed data split`."
            ) from error
        renamed = tuple(Partition(**fold) for fold in folds)
        return dataclasses.replace(self, folds=renamed, patient_of=patient_of, numbered=numbered)

    def save(self, path: Path) -> None:
        """Write the split as JSON, atomically.

        Args:
            path: The file; one that is there is replaced.

        Raises:
            DataError: The folder cannot be written, or the disk is full.
        """
        folds = [{part: list(fold.part(part)) for part in PARTS} for fold in self.folds]
        marks = {"LEAKING": True} if self.leaking else {"by_patient": True} if self.patients_known else {}
        write_json(
            path,
            {
                "format": FORMAT,
                "strategy": self.strategy,
                **marks,
                "patients_known": self.patients_known,
                **({"numbered": True} if self.numbered else {}),
                "seed": self.seed,
                "data_hash": self.data_hash,
                "patients": dict(self.patient_of),
                "folds": folds,
            },
        )

    @classmethod
    def load(cls, path: Path | str) -> "Split":
        """Read and validate a split.

        Args:
            path: A file that `save` or `segmed data split` wrote.

        Returns:
            The split; one of 0.1 whose images have names of patients of their own counts as known.

        Raises:
            SplitError: The file is missing, damaged or of a later version, or its parts share a slice or patient.
        """
        path = Path(path)
        value = read_json(
            path, _Stored, what="a split made by `segmed data split`", remedy="Make it again.", error=SplitError,
            version=FORMAT,
        )  # fmt: skip
        split = value.split()
        try:
            split.validate()
        except SplitError as error:
            raise SplitError(f"{path}: {error}") from error
        return split


@dataclass(frozen=True)
class _Stored:
    """What a split's file holds."""

    strategy: str
    seed: int
    data_hash: str
    patients: dict[str, str]
    folds: tuple[Partition, ...]
    LEAKING: bool = False
    patients_known: bool | None = None
    """None in files of earlier versions, which did not say."""
    numbered: bool = False

    def split(self) -> Split:
        """The value, not yet validated."""
        named = any(slice_id != patient for slice_id, patient in self.patients.items())
        return Split(
            strategy=self.strategy,
            seed=self.seed,
            data_hash=self.data_hash,
            leaking=self.LEAKING,
            patient_of={self._id(slice_id): patient for slice_id, patient in self.patients.items()},
            folds=tuple(
                Partition(**{part: tuple(map(self._id, fold.part(part))) for part in PARTS}) for fold in self.folds
            ),
            patients_known=named if self.patients_known is None else self.patients_known,
            numbered=self.numbered,
        )

    def _id(self, slice_id: str) -> str:
        """An id of the file; the numbers of slices were called `case-0` in 0.1."""
        return re.sub("^case-", "slice-", slice_id) if self.numbered else slice_id


def _numbers(what: str, ids: Iterable[str]) -> dict[str, str]:
    return {each: f"{what}-{number}" for number, each in enumerate(sorted(set(ids)))}


def _require_disjoint(parts: Mapping[PartName, Iterable[str]], what: str) -> None:
    seen: dict[str, PartName] = {}
    for part, members in parts.items():
        for member in members:
            if member in seen:
                raise SplitError(
                    f"{what} {member} is in both {seen[member]} and {part}. "
                    "Split by patient with `segmed data split`, which never leaks."
                )
            seen[member] = part
