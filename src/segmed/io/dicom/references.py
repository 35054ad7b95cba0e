"""Which series a DICOM segmentation or structure set belongs to, and its labels by name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.identity import NOBODY, Identity
from segmed.core.volume import Grid
from segmed.io.dicom.headers import SEGMENTATIONS, Dataset, privately, read_header, sop_class
from segmed.io.dicom.label_names import LabelName, segment_names, structure_names
from segmed.io.dicom.reading import read_dicom_labels
from segmed.io.dicom.series import Series
from segmed.io.dicom.structures import is_closed, no_structures


@dataclass(frozen=True)
class MaskHeader:
    """What a segmentation or structure set says of itself without its voxels.

    Args:
        file: The file.
        names: Its segments, or structures that have a closed contour, by number; several may have one name.
        series: UIDs of the series that it names.
        instances: UIDs of the images that it names.
        frame_of_reference: The UID of the frame that it is drawn in; empty where it states none, or several.
        withheld: Numbers of those whose names tell who the patient is, and so are not among `names`.
        image: What its images say of people, by which names were withheld; to be compared.
    """

    file: Path
    names: tuple[tuple[int, str], ...]
    series: frozenset[str] = field(repr=False)
    instances: frozenset[str] = field(repr=False)
    frame_of_reference: str = field(repr=False)
    withheld: tuple[int, ...] = ()
    image: Identity = field(default=NOBODY, repr=False)


def mask_header(file: Path, image: Identity = NOBODY) -> MaskHeader:
    """Read what a segmentation or structure set refers to; `DataError` for a damaged file, or points and lines alone.

    Names of labels are withheld that hold what its own header or its `image` says of people.
    """

    def read() -> MaskHeader:
        dataset = read_header(file)
        of_kind = _of_segmentation if sop_class(dataset) in SEGMENTATIONS else _of_structures
        return replace(of_kind(file, dataset, image), image=image)

    return privately(file, read)


def series_of(mask: MaskHeader, candidates: Sequence[Series]) -> Series:
    """The series that a mask belongs to: the one that it names, or whose images it names, or of its frame of reference.

    Raises:
        DataError: None of the candidates, several, or one whose frame of reference is another.
    """
    if mask.series or mask.instances:
        how = "refers to"
        found = [each for each in candidates if each.uid in mask.series]
        found = found or [each for each in candidates if each.instances & mask.instances]
    else:
        how = "names no images, and has the frame of reference of"
        found = [each for each in candidates if mask.frame_of_reference == each.frame_of_reference != ""]
        found = [each for each in found if not each.localiser] or found
    if not found:
        raise DataError(f"{mask.file}: refers to images that are not in this data set. Add them, or take it out.")
    if len(found) > 1:
        listed = ", ".join(map(str, found[:4]))
        raise DataError(f"{mask.file}: {how} {len(found)} series: {listed}. Keep the one that it was drawn on.")
    own = found[0].frame_of_reference
    if own and mask.frame_of_reference and own != mask.frame_of_reference:
        raise DataError(
            f"{mask.file}: drawn in another frame of reference than the series has that it refers to, {found[0]}. "
            "Export both again."
        )
    return found[0]


def read_named_labels(
    path: Path, grid: Grid, names: Sequence[str], image: Identity = NOBODY
) -> UInt8[np.ndarray, "slices rows columns"]:
    """A segmentation or structure set on the grid of its image, as labels 1, 2, … in the order of `names`.

    Segments of other names are left out; several of one name are one label. A mask in which nothing is drawn is empty.

    Args:
        path: The file.
        grid: The grid of its image.
        names: Of the labels, as `mask_header` names them with the same `image`.
        image: What its images say of people.

    Raises:
        DataError: As `read_dicom_labels` does; or it has segments, and none of these names.
    """
    known = mask_header(path, image).names
    if not known:
        return np.zeros(grid.shape, np.uint8)
    segments = [(number, name) for number, name in known if name in names]
    if not segments:
        raise DataError(
            f"{path}: none of its segments ({', '.join(name for _, name in known)}) has the name of a label, expected "
            f"{', '.join(names)}. Name labels as segments, with --labels."
        )
    often = Counter(name for _, name in segments)
    wanted = [name if often[name] == 1 else str(number) for number, name in segments]
    found = read_dicom_labels(path, grid=grid, segments=wanted, image=image)
    numbers = np.zeros(max(label.value for label in found.labels) + 1, np.uint8)
    for label in found.labels:
        numbers[label.value] = names.index(label.name) + 1
    return numbers[found.volume.array]


def _of_segmentation(file: Path, dataset: Dataset, image: Identity) -> MaskHeader:
    told = segment_names(dataset, image)
    named = dataset.get("ReferencedSeriesSequence") or ()
    images = {uid for each in named for uid in _uids(each.get("ReferencedInstanceSequence"))}
    groups = [*(dataset.get("SharedFunctionalGroupsSequence") or ())]
    groups += [*(dataset.get("PerFrameFunctionalGroupsSequence") or ())]
    for group in groups:
        for derivation in group.get("DerivationImageSequence") or ():
            images |= _uids(derivation.get("SourceImageSequence"))
    frame = str(dataset.get("FrameOfReferenceUID", ""))
    return MaskHeader(file, _names(told), _series_uids(named), frozenset(images), frame, _withheld(told))


def _of_structures(file: Path, dataset: Dataset, image: Identity) -> MaskHeader:
    rois = dataset.get("ROIContourSequence") or ()
    contours_of = {int(each.ReferencedROINumber): each.get("ContourSequence") or () for each in rois}
    drawn = {number: each for number, each in contours_of.items() if any(map(is_closed, each))}
    if not drawn and any(contours_of.values()):
        raise no_structures(file)
    listed = dataset.get("StructureSetROISequence") or ()
    told = {number: each for number, each in structure_names(dataset, image).items() if number in drawn}
    frames = dataset.get("ReferencedFrameOfReferenceSequence") or ()
    studies = [study for frame in frames for study in frame.get("RTReferencedStudySequence") or ()]
    named = [series for study in studies for series in study.get("RTReferencedSeriesSequence") or ()]
    images = {uid for each in named for uid in _uids(each.get("ContourImageSequence"))}
    if not images:
        contours = (contour for each in drawn.values() for contour in each)
        images = {uid for contour in contours for uid in _uids(contour.get("ContourImageSequence"))}
    drawn_in = {str(each.get("ReferencedFrameOfReferenceUID", "")) for each in listed} - {""}
    frame = drawn_in.pop() if len(drawn_in) == 1 else ""
    return MaskHeader(file, _names(told), _series_uids(named), frozenset(images), frame, _withheld(told))


def _names(told: Mapping[int, LabelName]) -> tuple[tuple[int, str], ...]:
    return tuple((number, each.name) for number, each in told.items())


def _withheld(told: Mapping[int, LabelName]) -> tuple[int, ...]:
    return tuple(number for number, each in told.items() if each.withheld)


def _series_uids(sequence: Iterable[Dataset]) -> frozenset[str]:
    return frozenset(str(each.SeriesInstanceUID) for each in sequence if each.get("SeriesInstanceUID"))


def _uids(sequence: Iterable[Dataset] | None) -> set[str]:
    found = (each.get("ReferencedSOPInstanceUID") for each in sequence or ())
    return {str(uid) for uid in found if uid}
