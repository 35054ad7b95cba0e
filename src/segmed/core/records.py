"""What a data set is before a pixel is read: a list of slices, each with its patient."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segmed.core.labels import LabelMap
from segmed.core.units import Unit, unit_of


@dataclass(frozen=True)
class Record:
    """One slice: a unique `case` id, the `patient` it belongs to, its position in the volume and its files."""

    case: str
    patient: str
    slice_index: int
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class SliceDataset:
    """Records in order (patients together, slices in numeric order), their labels, and facts per patient.

    `root` is the folder it lies in, `manifest` the file that lists it where there is one.
    `attributes[patient]` holds whatever the data set says of a patient: sex, age, institution.
    `columns[name][case]` holds the further columns of a manifest.
    `patients_known` is False where nothing said which images are of one patient: each then counts as one, and
    whatever is made of the data says so.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    labels: LabelMap = field(default_factory=LabelMap)
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    manifest: Path | None = None
    patients_known: bool = True
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """What opens it again."""
        return self.manifest or self.root

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients, each once, in the order of the records."""
        return tuple(dict.fromkeys(record.patient for record in self.records))

    @property
    def unit(self) -> Unit:
        """What `patients` counts: patients, or images where these are not known."""
        return unit_of(patients_known=self.patients_known)

    def by_case(self) -> dict[str, Record]:
        """The records by case id."""
        return {record.case: record for record in self.records}


def by_patient(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records by patient, keeping their order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.patient, []).append(record)
    return groups
