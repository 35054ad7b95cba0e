"""What a data set is before a pixel is read: a list of slices, each with its patient and its volume."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.identity import Identity
from segmed.core.labels import LabelMap
from segmed.core.stacking import Plane
from segmed.core.units import Unit, unit_of


@dataclass(frozen=True)
class VolumeFiles:
    """A volume that lies in files of its own: one study, or time point, of a patient.

    Args:
        name: A unique id.
        images: A file for each sequence, all on the grid of the first; they are the channels, in this order.
        mask: The file of the reference, on the same grid; None where there is none.
        plane: How its slices are cut.
        series: Of folders of DICOM, which series, by its number or the name of a file; None of those that have one.
        sequences: Of DICOM of several series, which of them each of `images` is, the first being `series`.
        identity: What headers of its study say of people, by which listing named the labels of a DICOM mask;
            None where none were compared.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path | None = None
    plane: Plane = "acquired"
    series: str | None = None
    sequences: tuple[str, ...] = ()
    identity: Identity | None = field(default=None, repr=False, compare=False)

    def series_of(self, index: int) -> str | None:
        """Which series the file of one sequence is."""
        return self.sequences[index] if self.sequences else self.series

    @property
    def files(self) -> tuple[Path, ...]:
        """All of its files, the mask last."""
        return self.images if self.mask is None else (*self.images, self.mask)


@dataclass(frozen=True)
class Record:
    """One slice: its unique `slice_id`, the `patient` it belongs to, its position in the volume and its files.

    `source` has the files of the volume that it is a slice of, numbered from 1 as the volume is cut; None where the
    slice has files of its own. `image` is the first of the files then. `annotated` is the name by which COCO's
    annotations in the file `mask` know the image; None of a mask that is an image. `of_case` names the volume of
    a slice with files of its own, where the data set says which of a patient's it is.
    """

    slice_id: str
    patient: str
    slice_index: int
    image: Path
    mask: Path | None
    source: VolumeFiles | None = None
    annotated: str | None = None
    of_case: str | None = None

    @property
    def volume(self) -> str:
        """The volume that the slice lies in: a patient has one, unless volumes are named or have files of their own."""
        return self.of_case or self.patient if self.source is None else self.source.name

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the slice is read from."""
        if self.source is not None:
            return self.source.files
        return (self.image,) if self.mask is None else (self.image, self.mask)


@dataclass(frozen=True)
class SliceDataset:
    """Records in order (patients together, slices in numeric order), their labels, and facts per patient.

    `root` is the folder it lies in, `manifest` the file that lists it where there is one.
    `attributes[patient]` holds whatever the data set says of a patient: sex, age, institution.
    `columns[name][slice_id]` holds the further columns of a manifest.
    `patients_known` is False where nothing said which images are of one patient: each then counts as one, and
    whatever is made of the data says so.
    `labels_by_headers` is True where headers of DICOM masks, which people type, name the labels.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    labels: LabelMap = field(default_factory=LabelMap)
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    manifest: Path | None = None
    patients_known: bool = True
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    labels_by_headers: bool = False

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

    def require_plane(self, plane: Plane, reader: str) -> None:
        """Raise `DataError` where volumes are cut along another plane than `reader` reads."""
        own = next((record.source.plane for record in self.records if record.source is not None), plane)
        if own != plane:
            raise DataError(
                f"{reader}: reads volumes along plane {plane}, but {self.name} was opened along {own}. Open it with "
                f"plane {plane}."
            )

    def by_slice_id(self) -> dict[str, Record]:
        """The records by slice id."""
        return {record.slice_id: record for record in self.records}


def by_patient(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records by patient, keeping their order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.patient, []).append(record)
    return groups


def by_volume(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records by volume, keeping their order; by patient where they have neither names nor files of their own."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.volume, []).append(record)
    return groups
