"""RT structure sets as masks: closed contours in the planes of the image, holes as contours in contours."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from segmed.core.errors import DataError
from segmed.core.identity import NOBODY, Identity
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.volume import Grid, Volume
from segmed.core.wording import plural
from segmed.io.dicom.contours import Contour, filled
from segmed.io.dicom.headers import Dataset, damaged_dicom, privately, read_header
from segmed.io.dicom.label_names import structure_names
from segmed.io.dicom.segmentation import chosen_labels, overlapping

PLANAR = 0.1
"""Voxels by which the points of a contour may lie off the plane of a slice."""
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True, eq=False)
class _Structures:
    """Contours in millimetres, LPS, by label; and how many are no closed ones."""

    labels: tuple[Label, ...]
    contours: dict[int, tuple[Float[np.ndarray, "_ 3"], ...]]
    others: int
    frame_of_reference: str


def read_structures(
    path: Path,
    *,
    grid: Grid | None,
    frame_of_reference: str | None = None,
    segments: Sequence[str] = (),
    image: Identity = NOBODY,
) -> LabelVolume:
    """Read an RT structure set as a mask on the grid of its image.

    A voxel is in a structure where its centre is inside an odd number of its contours. Where an algorithm made all
    structures and drew none, the mask is empty; without contours by hand nothing is known.

    Args:
        path: The file.
        grid: The image's, without which contours have no voxels.
        frame_of_reference: The image's, by UID; None: not compared.
        segments: Names or numbers of the structures to take; all where empty. Those without contours are left out.
        image: What its image says of people, for names that are withheld.

    Raises:
        DataError: No grid, another frame of reference, contours that lie in no slices of the grid or outside of it,
            structures that overlap.
    """
    found = privately(path, lambda: _structures(path, read_header(path), image))
    if grid is None or grid.affine is None:
        raise DataError(f"{path}: contours have no voxels of their own. Name their image, with `grid` (--source).")
    if frame_of_reference and found.frame_of_reference and found.frame_of_reference != frame_of_reference:
        raise DataError(f"{path}: drawn in another frame of reference than the image has. Choose its own image.")
    if found.others:
        warnings.warn(f"{path}: {plural(found.others, 'point or open contour')} left out.", stacklevel=3)
    wanted = chosen_labels(path, found.labels, segments)
    array = np.zeros(grid.shape, np.min_scalar_type(max(label.value for label in wanted)))
    names = {label.value: label.name for label in wanted}
    for label in wanted:
        inside = _rasterised(path, label.name, found.contours[label.value], grid)
        if shared := int(np.count_nonzero(taken := array[inside])):
            raise overlapping(path, shared, names[int(taken.max())], label.name)
        array[inside] = label.value
    return LabelVolume(Volume(array, grid), wanted)


def is_closed(contour: Dataset) -> bool:
    """Whether a contour encloses voxels: points, such as an isocentre, and open lines do not."""
    return contour.get("ContourGeometricType") in CLOSED


class NoStructuresError(DataError):
    """A structure set in which nothing is drawn that encloses voxels, such as one of an isocentre."""


def no_structures(path: Path) -> NoStructuresError:
    """The error for a structure set in which nothing is drawn."""
    return NoStructuresError(f"{path}: no closed contours in it, expected structures. Export it again.")


def _structures(path: Path, dataset: Dataset, image: Identity) -> _Structures:
    names = {number: each.name for number, each in structure_names(dataset, image).items()}
    colours, others = dict[int, tuple[int, int, int]](), 0
    contours = defaultdict[int, list[Float[np.ndarray, "_ 3"]]](list)
    frames, automatic, listed = set[str](), True, set[int]()
    for roi in dataset.get("StructureSetROISequence") or ():
        frames.add(str(roi.get("ReferencedFrameOfReferenceUID", "")))
        automatic = automatic and roi.get("ROIGenerationAlgorithm") == "AUTOMATIC"
    for roi in dataset.get("ROIContourSequence") or ():
        number = int(roi.ReferencedROINumber)
        if number not in names:
            raise damaged_dicom(path, "contours of a structure that it does not name")
        listed.add(number)
        if len(colour := roi.get("ROIDisplayColor") or ()) == 3:
            red, green, blue = (int(each) for each in colour)
            colours[number] = (red, green, blue)
        for contour in roi.get("ContourSequence") or ():
            points = np.array([float(each) for each in contour.get("ContourData") or ()])
            if not is_closed(contour):
                others += 1
                continue
            if points.size < 9 or points.size % 3 or not np.isfinite(points).all():
                raise damaged_dicom(path, "a closed contour of no three points")
            if int(contour.get("NumberOfContourPoints") or points.size // 3) != points.size // 3:
                raise damaged_dicom(path, "contours of another number of points than stated")
            contours[number].append(points.reshape(-1, 3))
    if not contours and not others and automatic and names.keys() == listed != set():
        contours.update({number: [] for number in names})
    if not contours:
        raise no_structures(path)
    usable = all(0 < number < 2**16 for number in contours)
    values = {number: number if usable else place for place, number in enumerate(sorted(contours), start=1)}
    labels = tuple(Label(values[number], names[number], colours.get(number)) for number in sorted(contours))
    found = {values[number]: tuple(each) for number, each in contours.items()}
    return _Structures(labels, found, others, frames.pop() if len(frames) == 1 else "")


def _rasterised(
    path: Path, name: str, contours: Sequence[Float[np.ndarray, "_ 3"]], grid: Grid
) -> Shaped[np.ndarray, "slices rows columns"]:
    """The voxels of a structure: its contours lie in planes of the grid, across one of its axes."""
    assert grid.affine is not None
    if not contours:
        return np.zeros(grid.shape, bool)
    to_index = np.linalg.inv(grid.affine) @ np.diag([-1.0, -1, 1, 1])
    indices = [each @ to_index[:3, :3].T + to_index[:3, 3] for each in contours]
    spreads = np.max([np.ptp(each, axis=0) for each in indices], axis=0)
    across = int(spreads.argmin())
    middles = np.array([each[:, across].mean() for each in indices])
    off = np.abs(middles - np.rint(middles)).max()
    if max(spreads[across], off) > PLANAR:
        most = max(spreads[across], off) * (grid.spacing or (1, 1, 1))[across]
        raise DataError(
            f"{path}: contours of {name} lie up to {most:.3g} mm off the slices of the image, expected contours in "
            "its slices. Choose the image that they were drawn on."
        )
    planes = defaultdict[int, list[Contour]](list)
    for middle, points in zip(middles, indices, strict=True):
        planes[round(float(middle))].append(np.delete(points, across, axis=1))
    if min(planes) < 0 or max(planes) >= grid.shape[across]:
        raise DataError(
            f"{path}: contours of {name} lie outside of the image ({grid}). Choose the image that they were drawn on."
        )
    inside = np.zeros(grid.shape, bool)
    in_planes = np.moveaxis(inside, across, 0)
    for place, several in planes.items():
        in_planes[place] = filled(several, (in_planes.shape[1], in_planes.shape[2]))
    steps = np.diff(sorted(planes))
    if steps.size and steps.min() > 1:
        warnings.warn(
            f"{path}: contours of {name} on one of every {steps.min()} slices only; the slices between are left empty.",
            stacklevel=4,
        )
    return inside
