"""DICOM series of grids: classic slices in any file names, enhanced images, and what scanners do to them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from segmed.core.volume import Grid, Volume

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
PATIENT = {
    "PatientName": "Quillfeather^Zebulon", "PatientID": "MRN-7788123", "PatientBirthDate": "19430207",
    "OtherPatientIDs": "ALT-5566", "ReferringPhysicianName": "Oxenford^Barnaby", "InstitutionName": "Saint Plantedname",
    "SeriesDescription": "Quillfeather T1", "StudyDescription": "MRN-7788123 brain", "AccessionNumber": "ACC-998877",
}  # fmt: skip
"""What no message may quote."""
Change = Callable[[int, Dataset], None]


def stackable(grid: Grid) -> Grid:
    """The grid as a DICOM series can have it: slices grow along the cross product of rows and columns."""
    lps = grid.columns_first("LPS")
    assert lps is not None
    if np.linalg.det(lps[:3, :3]) > 0:
        return grid
    lps = lps.copy()
    lps[:3, 3] += lps[:3, 2] * (grid.shape[0] - 1)
    lps[:3, 2] *= -1
    return Grid.of_columns_first(grid.shape, lps, "LPS")


def header(kind: str = MR, *, series: int = 3, uid: str = "1.2.3.4") -> FileDataset:
    """A header with a patient, and no image yet."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = kind, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CT" if kind == CT else "MR"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.SeriesNumber = uid, "1.2.3", series
    dataset.FrameOfReferenceUID = "1.2.3.9"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.PatientSex = "20200101", "101010", "1", "O"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer, dataset.PositionReferenceIndicator = "Phantom", ""
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    return dataset


def set_pixels(dataset: Dataset, array: np.ndarray) -> None:
    """Pixels of a slice, or of frames, of 8 or 16 bits."""
    dataset.Rows, dataset.Columns = array.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * array.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(array.dtype.kind == "i")
    stored = array.astype(array.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = stored + bytes(len(stored) % 2)
    dataset["PixelData"].VR = "OB" if array.dtype.itemsize == 1 else "OW"


def plane(grid: Grid, index: int) -> tuple[list[float], list[float], list[float]]:
    """Position, orientation and pixel spacing of a slice, in DICOM's terms; 16 characters a number."""
    lps = grid.columns_first("LPS")
    assert lps is not None
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    position = lps[:3, 3] + index * lps[:3, 2]
    orientation = [*(lps[:3, 0] / lengths[0]), *(lps[:3, 1] / lengths[1])]
    return _short(position), _short(orientation), _short([lengths[1], lengths[0]])


def write_series(
    folder: Path,
    volume: Volume,
    *,
    kind: str = MR,
    series: int = 3,
    change: Change | None = None,
    names: Sequence[str] | None = None,
    uid: str | None = None,
) -> list[Path]:
    """Classic slices, named in an order that is not theirs; `change` edits the data set of each.

    Args:
        folder: Where; made if missing.
        volume: 8- or 16-bit integers on a grid with geometry.
        kind: SOP class.
        series: SeriesNumber.
        change: Takes the slice's index and its data set.
        names: File names by slice.
        uid: SeriesInstanceUID.

    Returns:
        The files, by slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = volume.grid.shape[0]
    uid = uid or generate_uid()
    order = np.random.default_rng(count).permutation(count)
    paths = [folder / (names[index] if names else f"IM{order[index]:04d}") for index in range(count)]
    for index, path in enumerate(paths):
        dataset = header(kind, series=series, uid=uid)
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing = plane(volume.grid, index)
        dataset.InstanceNumber, dataset.SliceThickness = index + 1, 1.0
        lps = volume.grid.columns_first("LPS")
        dataset.SpacingBetweenSlices = _short(
            [abs(lps[:3, 2] @ np.cross(lps[:3, 0], lps[:3, 1]) / np.linalg.norm(np.cross(lps[:3, 0], lps[:3, 1])))]
        )[0]
        set_pixels(dataset, volume.array[index])
        if change is not None:
            change(index, dataset)
        dataset.save_as(path, enforce_file_format=True)
    return paths


def write_enhanced(path: Path, volume: Volume, change: Callable[[Any], None] | None = None) -> None:
    """An enhanced MR image with its frames in an order that is not theirs."""
    dataset = header(ENHANCED_MR)
    count = volume.grid.shape[0]
    order = np.random.default_rng(1).permutation(count)
    set_pixels(dataset, volume.array[order])
    dataset.NumberOfFrames, dataset.InstanceNumber = count, 1
    shared, frames = Dataset(), list[Dataset]()
    _, orientation, spacing = plane(volume.grid, 0)
    measures, turned = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = spacing, 1.0
    turned.ImageOrientationPatient = orientation
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    for index in order:
        frame, place, values = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = plane(volume.grid, int(index))[0]
        values.RescaleIntercept, values.RescaleSlope, values.RescaleType = 0, 2, "US"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [values]
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    if change is not None:
        change(dataset)
    dataset.save_as(path, enforce_file_format=True)


def _short(numbers: Sequence[float] | np.ndarray) -> list[float]:
    """Numbers as a decimal string of DICOM holds them."""
    return [float(f"{number:.9g}"[:16]) for number in numbers]
