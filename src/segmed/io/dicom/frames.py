"""What places a slice: one frame of a classic file, or each frame of an enhanced one, with the same facts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from segmed.core.errors import DataError
from segmed.io.dicom.headers import Dataset, damaged_dicom

UNIT = 1e-3
"""How far from length 1, or from perpendicular, the directions of a frame may be."""
FACTS = {
    "EchoTime": "echo time", "EchoNumbers": "echo number", "InversionTime": "inversion time",
    "TriggerTime": "trigger time", "TemporalPositionIdentifier": "time point", "AcquisitionNumber": "acquisition",
    "DiffusionBValue": "b value", "FlipAngle": "flip angle", "ImageType": "image type", "AcquisitionTime": "time",
}  # fmt: skip
"""Keywords, and their words, by which images at one place may differ."""
FRAME_FACTS = {
    "echo time": ("MREchoSequence", "EffectiveEchoTime"),
    "time point": ("FrameContentSequence", "TemporalPositionIndex"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "b value": ("MRDiffusionSequence", "DiffusionBValue"),
    "trigger time": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
}
"""The same in the functional groups of enhanced images."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A slice of a DICOM file.

    Args:
        file: The file.
        number: Its place among the file's frames, from 0.
        position: The centre of its first pixel in millimetres, LPS.
        across: The direction in which columns grow.
        down: The direction in which rows grow.
        spacing: Millimetres between rows and between columns.
        between: Millimetres to the next slice, as its header says; None where it does not.
        thickness: Millimetres of the slice itself; None where it is not stated.
        stored: What pixels are stored as: rows, columns, bits allocated, bits stored, signed.
        scaling: Slope and intercept of stored numbers.
        facts: What tells it from other images of the same place, by the words of `FACTS`.
    """

    file: Path
    number: int
    position: Float[np.ndarray, "3"]
    across: Float[np.ndarray, "3"]
    down: Float[np.ndarray, "3"]
    spacing: tuple[float, float]
    between: float | None
    thickness: float | None
    stored: tuple[int, int, int, int, bool]
    scaling: tuple[float, float]
    facts: dict[str, str]

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        """The direction across the slice."""
        return np.cross(self.across, self.down)

    def __str__(self) -> str:
        """The file's name, and the frame where the file has several."""
        return self.file.name if self.number == 0 else f"{self.file.name} (frame {self.number + 1})"


def frames_of(path: Path, dataset: Dataset) -> tuple[Frame, ...]:
    """All slices of a file; call it `privately`.

    Raises:
        DataError: An image without a place in the patient, in colours, a mosaic, or of several frames without places.
    """
    _require_grey(path, dataset)
    count = int(dataset.get("NumberOfFrames") or 1)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        if len(dataset.PerFrameFunctionalGroupsSequence) != count:
            raise damaged_dicom(path, "its frames and their places differ in number")
        return tuple(_enhanced(path, dataset, number) for number in range(count))
    if count > 1:
        raise DataError(
            f"{path}: {count} frames without places of their own (such as a dose grid, a cine or a mosaic), expected "
            "slices with positions. Export them as single slices or as enhanced images."
        )
    return (_classic(path, dataset),)


def group(dataset: Dataset, number: int, name: str) -> Dataset | None:
    """A functional group of a frame: its own, or the one that all share; None where there is neither."""
    own = dataset.PerFrameFunctionalGroupsSequence[number]
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for place in (own, *shared):
        if found := place.get(name):
            return found[0]
    return None


def plane_of(path: Path, dataset: Dataset, number: int) -> tuple[Dataset, Dataset, Dataset]:
    """Position, orientation and pixel measures of a frame of an enhanced image or a segmentation."""
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    position, orientation, measures = (group(dataset, number, name) for name in names)
    if position is None or orientation is None or measures is None:
        raise _without_place(path)
    return position, orientation, measures


def directions(path: Path, orientation: Dataset) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Where columns and rows grow, as unit vectors that are perpendicular."""
    values = vector(path, orientation.get("ImageOrientationPatient"), 6)
    across, down = values[:3], values[3:]
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if max(abs(length - 1) for length in lengths) > UNIT or abs(across @ down) > UNIT:
        raise damaged_dicom(path, "its orientation is no two perpendicular directions")
    return across / lengths[0], down / lengths[1]


def vector(path: Path, values: object, count: int) -> Float[np.ndarray, "n"]:
    """Finite numbers of an element; raises `DataError` where there are others or not as many."""
    if values is None or values == "":
        raise _without_place(path)
    found = np.array([float(value) for value in np.atleast_1d(np.asarray(values, object))], np.float64)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise damaged_dicom(path, "its place is not stated in numbers")
    return found


def pixel_spacing(path: Path, measures: Dataset) -> tuple[float, float]:
    """Millimetres between rows, and between columns."""
    rows, columns = vector(path, measures.get("PixelSpacing"), 2)
    if min(rows, columns) <= 0:
        raise damaged_dicom(path, "its pixel spacing is not positive")
    return float(rows), float(columns)


def length_of(measures: Dataset, keyword: str) -> float | None:
    """`SpacingBetweenSlices` or `SliceThickness`; None where it is no positive number. A sign has no meaning here."""
    value = measures.get(keyword)
    if value in (None, "") or not np.isfinite(step := abs(float(value))) or step == 0:
        return None
    return step


def _classic(path: Path, dataset: Dataset) -> Frame:
    across, down = directions(path, dataset)
    facts = {word: str(dataset[name].value) for name, word in FACTS.items() if name in dataset}
    return Frame(
        path,
        0,
        vector(path, dataset.get("ImagePositionPatient"), 3),
        across,
        down,
        pixel_spacing(path, dataset),
        length_of(dataset, "SpacingBetweenSlices"),
        length_of(dataset, "SliceThickness"),
        _stored(path, dataset),
        _scaling(path, dataset),
        facts,
    )


def _enhanced(path: Path, dataset: Dataset, number: int) -> Frame:
    position, orientation, measures = plane_of(path, dataset, number)
    across, down = directions(path, orientation)
    values = group(dataset, number, "PixelValueTransformationSequence")
    facts = dict(_frame_facts(dataset, number))
    return Frame(
        path,
        number,
        vector(path, position.get("ImagePositionPatient"), 3),
        across,
        down,
        pixel_spacing(path, measures),
        length_of(measures, "SpacingBetweenSlices"),
        length_of(measures, "SliceThickness"),
        _stored(path, dataset),
        (1.0, 0.0) if values is None else _scaling(path, values),
        facts,
    )


def _frame_facts(dataset: Dataset, number: int) -> Iterator[tuple[str, str]]:
    for word, (sequence, keyword) in FRAME_FACTS.items():
        found = group(dataset, number, sequence)
        if found is not None and keyword in found:
            yield word, str(found[keyword].value)


def _scaling(path: Path, dataset: Dataset) -> tuple[float, float]:
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    found = (1.0 if slope in (None, "") else float(slope), 0.0 if intercept in (None, "") else float(intercept))
    if not np.isfinite(found).all() or found[0] == 0:
        raise damaged_dicom(path, "its rescale slope and intercept scale nothing")
    return found


def _stored(path: Path, dataset: Dataset) -> tuple[int, int, int, int, bool]:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    allocated, bits = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    if allocated not in (8, 16, 32) or not 0 < bits <= allocated or int(dataset.get("HighBit", bits - 1)) != bits - 1:
        raise damaged_dicom(path, "its bits make no grey values")
    if min(rows, columns) < 1:
        raise damaged_dicom(path, "an image of no size")
    return rows, columns, allocated, bits, bool(int(dataset.get("PixelRepresentation", 0)))


def _require_grey(path: Path, dataset: Dataset) -> None:
    colours, samples = str(dataset.get("PhotometricInterpretation", "")), int(dataset.get("SamplesPerPixel", 1))
    if colours != "MONOCHROME2" or samples != 1:
        found = "white for zero (MONOCHROME1)" if colours == "MONOCHROME1" else "colours or a palette"
        raise DataError(f"{path}: an image in {found}, expected grey values of a scanner. Take its series out.")
    if "ModalityLUTSequence" in dataset:
        raise DataError(f"{path}: values by a table (modality LUT), expected a slope and an intercept. Convert it.")
    if "MOSAIC" in (dataset.get("ImageType") or ()):
        raise DataError(
            f"{path}: a Siemens mosaic, many slices in one picture, expected one slice per image. Convert it to "
            "NIfTI with dcm2niix, or export it as enhanced DICOM."
        )


def _without_place(path: Path) -> DataError:
    return DataError(
        f"{path}: an image without a place in the patient (a radiograph, an ultrasound or a screenshot), expected "
        "slices with position, orientation and pixel spacing."
    )
