"""Phantoms as DICOM: a series of slices for each sequence, and the mask as a segmentation that refers to one."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segmed.core.label_volume import Label, LabelVolume
from segmed.core.optional import optional_import
from segmed.core.volume import Grid, Volume
from segmed.io.dicom.series import find_series
from segmed.io.dicom.writing import Algorithm, write_segmentation
from segmed.version import __version__

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PURPOSE = "Writing DICOM"
DATE = "20000101"


def write_series(
    folder: Path, voxels: UInt8[np.ndarray, "slices rows columns"], grid: Grid, *, patient: str, case: str, number: int
) -> None:
    """Write a file for each slice of a sequence, named by its place; UIDs follow from the names, so that equal calls
    write equal files.

    Args:
        folder: Made here; its name is that of the sequence.
        voxels: Of 8 bits.
        grid: With geometry; slices grow along the cross product of rows and columns.
        patient: The made-up patient.
        case: The study, which has one frame of reference.
        number: Of the series.
    """
    pydicom = optional_import("pydicom", extra="dicom", purpose=PURPOSE)
    lps = grid.columns_first("LPS")
    assert lps is not None
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    folder.mkdir(parents=True)
    for index, plane in enumerate(voxels):
        image = _header(case, patient, f"{case}/{folder.name}/{index}")
        image.SeriesInstanceUID, image.SeriesNumber = _uid(f"{case}/{folder.name}"), number
        image.SeriesDescription, image.InstanceNumber = folder.name, index + 1
        image.ImagePositionPatient = _decimals(lps[:3, 3] + index * lps[:3, 2])
        image.ImageOrientationPatient = _decimals([*(lps[:3, 0] / lengths[0]), *(lps[:3, 1] / lengths[1])])
        image.PixelSpacing = _decimals([lengths[1], lengths[0]])
        image.SliceThickness = image.SpacingBetweenSlices = _decimals([lengths[2]])[0]
        image.Rows, image.Columns = plane.shape
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
        image.add_new("PixelData", "OB", plane.tobytes() + bytes(plane.size % 2))
        pydicom.dcmwrite(folder / f"{index + 1:03d}.dcm", image, enforce_file_format=True)


def write_mask(path: Path, mask: UInt8[np.ndarray, "slices rows columns"], grid: Grid, series: Path, name: str) -> None:
    """Write a mask of 0 and 1 as a segmentation that refers to the series in a folder."""
    labelled = LabelVolume(Volume(mask, grid), (Label(1, name),))
    write_segmentation(path, labelled, find_series(series).series[0], Algorithm("SegMed phantom"))


def _header(case: str, patient: str, image: str) -> Any:
    """The data set of an image without place and pixels."""
    pydicom = optional_import("pydicom", extra="dicom", purpose=PURPOSE)
    uids = optional_import("pydicom.uid", extra="dicom", purpose=PURPOSE)
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    found.SOPClassUID, found.SOPInstanceUID = MR_IMAGE, _uid(image)
    found.StudyInstanceUID, found.FrameOfReferenceUID = _uid(case), _uid(f"{case}/frame")
    found.PatientName, found.PatientID, found.PatientBirthDate, found.PatientSex = patient, patient, "", ""
    found.StudyDate, found.StudyTime, found.StudyID, found.AccessionNumber = DATE, "000000", "1", ""
    found.ReferringPhysicianName, found.PositionReferenceIndicator = "", ""
    found.Modality, found.ImageType, found.Manufacturer = "MR", ["DERIVED", "PRIMARY", "AXIAL"], "SegMed phantom"
    found.ScanningSequence, found.SequenceVariant, found.SoftwareVersions = "RM", "NONE", __version__
    return found


def _uid(text: str) -> str:
    """A UID that follows from a text."""
    return str(optional_import("pydicom.uid", extra="dicom", purpose=PURPOSE).generate_uid(entropy_srcs=[text]))


def _decimals(numbers: Any) -> list[str]:
    """Numbers as decimal strings of at most 16 characters."""
    return [f"{number:.9g}"[:16] for number in numbers]
