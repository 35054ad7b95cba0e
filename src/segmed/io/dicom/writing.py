"""Masks as DICOM segmentations, by highdicom, and as RT structure sets; both refer to the images they belong to."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float

from segmed.core.errors import DataError
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.labels import Colour
from segmed.core.optional import optional_import
from segmed.core.volume import Triple, Volume
from segmed.io.dicom.contours import outlines
from segmed.io.dicom.headers import STRUCTURE_SET, Dataset, privately, read_header
from segmed.io.dicom.series import Series
from segmed.version import __version__

PURPOSE = "Writing DICOM"
PALETTE: tuple[Colour, ...] = (
    (230, 60, 50), (60, 160, 230), (70, 190, 90), (240, 180, 40), (160, 90, 200), (60, 200, 190), (240, 130, 180),
    (150, 110, 70),
)  # fmt: skip
"""Colours of labels that have none, by value."""
MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What is taken over from the images, and written empty where anonymisation has removed it."""
SERIES_OFFSET = 1000
"""What is added to the number of the images' series."""


@dataclass(frozen=True)
class Algorithm:
    """What made the masks.

    Args:
        name: Such as a run's name.
        version: Of it.
    """

    name: str = "SegMed"
    version: str = __version__


def write_segmentation(path: Path, mask: LabelVolume, source: Series, algorithm: Algorithm = Algorithm()) -> None:
    """Write a binary segmentation with a segment for each label, and a frame for each of its slices, empty or not.

    The standard counts segments from 1 without gaps; labels that have gaps are renumbered, with a warning.

    Args:
        path: Where to write.
        mask: On the grid of `source`, in any order of its voxels.
        source: The images, whose patient and study the file takes over.
        algorithm: What made the mask.

    Raises:
        DataError: A mask on another grid, or without labels.
        MissingDependencyError: highdicom is not installed.
    """
    hd = optional_import("highdicom", extra="dicom", purpose=PURPOSE)
    _require_frame_of_reference(path, source)
    stack = source.stack()
    array = mask.on_grid(stack.grid, str(path)).volume.array
    labels = sorted(_labels(path, mask), key=lambda label: label.value)
    numbers = np.zeros(max(label.value for label in labels) + 1, np.uint8 if len(labels) < 256 else np.uint16)
    numbers[[label.value for label in labels]] = np.arange(1, len(labels) + 1)
    if any(int(numbers[label.value]) != label.value for label in labels):
        told = ", ".join(f"{label.value} becomes {numbers[label.value]}" for label in labels)
        warnings.warn(f"{path}: segments are counted from 1 without gaps, so label {told}.", stacklevel=3)

    def built() -> bytes:
        images = [read_header(file, pixels=True) for file in dict.fromkeys(frame.file for frame in stack.frames)]
        for image in images:
            _complete(image, stack.grid.spacing)
        segments = [_described(label, int(numbers[label.value]), algorithm) for label in labels]
        frames = numbers[array]
        if len(images) == 1:  # frames of an enhanced image are counted in its own order
            frames = frames[np.argsort([frame.number for frame in stack.frames])]
        dataset = hd.seg.Segmentation(
            source_images=images, pixel_array=frames, segmentation_type="BINARY", segment_descriptions=segments,
            series_instance_uid=hd.UID(), series_number=(source.number or 0) + SERIES_OFFSET, sop_instance_uid=hd.UID(),
            instance_number=1, manufacturer="SegMed", manufacturer_model_name="segmed-torch",
            software_versions=__version__, device_serial_number="none", omit_empty_frames=False,
            content_label="SEGMENTATION", series_description=f"Segmentation by {algorithm.name}"[:64],
        )  # fmt: skip
        return _encoded(dataset)

    path.write_bytes(privately(source.folder, built))


def write_structures(path: Path, mask: LabelVolume, source: Series, algorithm: Algorithm = Algorithm()) -> None:
    """Write an RT structure set: contours along the edges of voxels, so that the mask can be read back exactly.

    Holes are contours of their own inside of others; readers fill them by the odd-even rule. See `write_segmentation`
    for the arguments and errors.
    """
    _require_frame_of_reference(path, source)
    stack = source.stack()
    volume = mask.on_grid(stack.grid, str(path)).volume
    labels = _labels(path, mask)

    def built() -> bytes:
        headers = {file: read_header(file) for file in dict.fromkeys(frame.file for frame in stack.frames)}
        first = headers[stack.frames[0].file]
        dataset = _structure_set(first, algorithm)
        references = [_reference(headers[frame.file], frame.number) for frame in stack.frames]
        dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame(first, references)]
        dataset.StructureSetROISequence = [_roi(label, first, algorithm) for label in labels]
        dataset.ROIContourSequence = [_roi_contours(label, volume, references) for label in labels]
        dataset.RTROIObservationsSequence = [_observation(label) for label in labels]
        return _encoded(dataset)

    path.write_bytes(privately(source.folder, built))


def _require_frame_of_reference(path: Path, source: Series) -> None:
    if not source.frame_of_reference:
        raise DataError(
            f"{path}: the images of {source.name} have no frame of reference, which a mask in DICOM refers to. Write "
            "another format."
        )


def _complete(image: Dataset, spacing: Triple | None) -> None:
    """Add what highdicom expects of an image and anonymisation often removes."""
    for keyword in MAY_BE_EMPTY:
        if keyword not in image:
            setattr(image, keyword, "")
    if "SliceThickness" not in image and spacing is not None and "NumberOfFrames" not in image:
        image.SliceThickness = f"{spacing[0]:.10g}"


def _encoded(dataset: Dataset) -> bytes:
    """The file of a data set."""
    file = BytesIO()
    optional_import("pydicom", extra="dicom", purpose=PURPOSE).dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _labels(path: Path, mask: LabelVolume) -> tuple[Label, ...]:
    if not mask.labels:
        raise DataError(f"{path}: a mask without labels, expected at least one. Name them, with --names.")
    return mask.labels


def _described(label: Label, number: int, algorithm: Algorithm) -> Dataset:
    hd = optional_import("highdicom", extra="dicom", purpose=PURPOSE)
    codes = optional_import("pydicom.sr.codedict", extra="dicom", purpose=PURPOSE).codes
    return hd.seg.SegmentDescription(
        number, label.name[:64], codes.SCT.AnatomicalStructure, codes.SCT.AnatomicalStructure, "AUTOMATIC",
        hd.AlgorithmIdentificationSequence(algorithm.name, codes.DCM.ArtificialIntelligence, algorithm.version),
        tracking_uid=hd.UID(), tracking_id=label.name[:64],
        display_color=hd.color.CIELabColor.from_rgb(*_colour(label)),
    )  # fmt: skip


def _colour(label: Label) -> Colour:
    return label.colour or PALETTE[(label.value - 1) % len(PALETTE)]


def _structure_set(image: Dataset, algorithm: Algorithm) -> Dataset:
    """A structure set of the image's patient and study, still without structures."""
    pydicom = optional_import("pydicom", extra="dicom", purpose=PURPOSE)
    uids = optional_import("pydicom.uid", extra="dicom", purpose=PURPOSE)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = STRUCTURE_SET, uids.generate_uid()
    dataset.SpecificCharacterSet = image.get("SpecificCharacterSet") or "ISO_IR 192"
    dataset.StudyInstanceUID = image.StudyInstanceUID
    for keyword in MAY_BE_EMPTY:
        setattr(dataset, keyword, image.get(keyword) or "")
    now = datetime.now()
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "RTSTRUCT", "SegMed", "segmed-torch"
    dataset.SoftwareVersions, dataset.OperatorsName = __version__, ""
    dataset.SeriesInstanceUID, dataset.SeriesNumber = (
        uids.generate_uid(),
        int(image.get("SeriesNumber") or 0) + SERIES_OFFSET,
    )
    dataset.SeriesDescription = f"Structures by {algorithm.name}"[:64]
    dataset.StructureSetLabel, dataset.InstanceNumber = "SEGMED", 1
    dataset.StructureSetDate, dataset.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = image.FrameOfReferenceUID, ""
    return dataset


def _reference(image: Dataset, number: int) -> Dataset:
    """What a contour refers to: a file, or a frame of one."""
    found = optional_import("pydicom", extra="dicom", purpose=PURPOSE).Dataset()
    found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    if "NumberOfFrames" in image:
        found.ReferencedFrameNumber = number + 1
    return found


def _referenced_frame(image: Dataset, references: list[Dataset]) -> Dataset:
    pydicom = optional_import("pydicom", extra="dicom", purpose=PURPOSE)
    series, study, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    series.SeriesInstanceUID, series.ContourImageSequence = image.SeriesInstanceUID, references
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID, study.RTReferencedSeriesSequence = image.StudyInstanceUID, [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = image.FrameOfReferenceUID, [study]
    return frame


def _roi(label: Label, image: Dataset, algorithm: Algorithm) -> Dataset:
    roi = optional_import("pydicom", extra="dicom", purpose=PURPOSE).Dataset()
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID = label.value, image.FrameOfReferenceUID
    roi.ROIName, roi.ROIGenerationAlgorithm = label.name[:64], "AUTOMATIC"
    roi.ROIGenerationDescription = f"{algorithm.name} {algorithm.version}"[:64]
    return roi


def _roi_contours(label: Label, volume: Volume, references: list[Dataset]) -> Dataset:
    pydicom = optional_import("pydicom", extra="dicom", purpose=PURPOSE)
    roi = pydicom.Dataset()
    roi.ReferencedROINumber, roi.ROIDisplayColor = label.value, list(_colour(label))
    roi.ContourSequence = []
    for index, points in _contours(label, volume):
        contour = pydicom.Dataset()
        contour.ContourImageSequence = [references[index]]
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
        contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
        roi.ContourSequence.append(contour)
    return roi


def _contours(label: Label, volume: Volume) -> Iterator[tuple[int, Float[np.ndarray, "_ 3"]]]:
    """Slices and contours in millimetres, LPS."""
    lps = volume.grid.columns_first("LPS")
    assert lps is not None
    for index in np.flatnonzero((volume.array == label.value).any(axis=(1, 2))).tolist():
        for contour in outlines(volume.array[index] == label.value):
            places = np.column_stack(
                [contour[:, 1], contour[:, 0], np.full(len(contour), index), np.ones(len(contour))]
            )
            yield index, (places @ lps.T)[:, :3]


def _observation(label: Label) -> Dataset:
    found = optional_import("pydicom", extra="dicom", purpose=PURPOSE).Dataset()
    found.ObservationNumber, found.ReferencedROINumber = label.value, label.value
    found.RTROIInterpretedType, found.ROIInterpreter = "", ""
    return found
