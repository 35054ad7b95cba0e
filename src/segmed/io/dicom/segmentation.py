"""DICOM segmentations as masks: binary, fractional and label maps, frames in any order, empty ones left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, Shaped

from segmed.core.errors import DataError
from segmed.core.identity import NOBODY, Identity
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.optional import optional_import
from segmed.core.volume import Grid, Volume
from segmed.core.wording import plural
from segmed.io.dicom.frames import directions, group, length_of, pixel_spacing, plane_of, vector
from segmed.io.dicom.headers import NEEDS, Dataset, damaged_dicom, privately, read_header
from segmed.io.dicom.label_names import segment_names
from segmed.io.dicom.pixels import pixels_of
from segmed.io.dicom.stack import SAME_PLACE, TURNED, UNEVEN
from segmed.io.voxels import require_moderate_volume

HALF = 0.5
"""The fraction from which a voxel of a fractional segmentation is in its segment."""
TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True, eq=False)
class _Stored:
    """A segmentation as it is stored: frames `n rows columns`, the segment of each (0 in label maps) and its place."""

    kind: str
    frames: Shaped[np.ndarray, "n rows columns"]
    segments: Integer[np.ndarray, "n"]
    positions: Float[np.ndarray, "n 3"]
    across: Float[np.ndarray, "3"]
    down: Float[np.ndarray, "3"]
    spacing: tuple[float, float]
    between: float | None
    thickness: float | None
    labels: tuple[Label, ...]
    highest: float


def read_segmentation(
    path: Path, *, grid: Grid | None = None, segments: Sequence[str] = (), image: Identity = NOBODY
) -> LabelVolume:
    """Read a DICOM segmentation as a mask whose values are the segment numbers.

    Of a fractional one a voxel belongs to the segment of the largest fraction, from one half.

    Args:
        path: The file.
        grid: The grid of its image; None: the smallest one that holds all frames. Frames left out are background.
        segments: Names or numbers of the segments to take; all where empty.
        image: What its image says of people, for names that are withheld.

    Raises:
        DataError: A damaged file, frames that make no even stack or no part of `grid`, segments that overlap.
    """
    stored = privately(path, lambda: _stored(path, read_header(path, pixels=True), image))
    wanted = chosen_labels(path, stored.labels, segments)
    own, places = _grid_of(path, stored, grid)
    array = _label_map(path, stored, places, own, wanted)
    mask = LabelVolume(Volume(array, own), wanted)
    return mask if grid is None else mask.on_grid(grid, str(path))


def chosen_labels(path: Path, labels: tuple[Label, ...], wanted: Sequence[str]) -> tuple[Label, ...]:
    """The labels of these names or numbers; all where none is named."""
    known = {str(label.value): label for label in labels} | {label.name: label for label in labels}
    for each in wanted:
        if each not in known:
            listed = ", ".join(f"{label.value} {label.name}" for label in labels)
            raise DataError(f"{path}: no segment {each!r}; it has {listed or 'none'}.")
    return tuple(dict.fromkeys(known[each] for each in wanted)) or labels


def overlapping(path: Path, count: int, first: str, second: str) -> DataError:
    """The error for structures that share voxels, which one mask cannot hold."""
    return DataError(
        f"{path}: {first} and {second} overlap in {plural(count, 'voxel')}, which one mask cannot hold. Take some of "
        "them, with `segments` (--segment)."
    )


def _stored(path: Path, dataset: Dataset, image: Identity) -> _Stored:
    kind = str(dataset.get("SegmentationType", ""))
    if kind not in TYPES:
        raise damaged_dicom(path, "its type of segmentation is none of the standard's")
    frames, count = pixels_of(path, dataset), int(dataset.get("NumberOfFrames") or 1)
    if len(frames) != count or len(dataset.get("PerFrameFunctionalGroupsSequence") or ()) != count:
        raise damaged_dicom(path, "its frames and their places differ in number")
    positions, numbers = list[Float[np.ndarray, "3"]](), list[int]()
    plane = orientation = measures = None
    for number in range(count):
        plane, turned, measures = plane_of(path, dataset, number)
        positions.append(vector(path, plane.get("ImagePositionPatient"), 3))
        axes = directions(path, turned)
        if (
            orientation is not None
            and max(np.abs(a - b).max() for a, b in zip(axes, orientation, strict=True)) > TURNED
        ):
            raise DataError(f"{path}: frames in several orientations, expected one. Export one file for each.")
        orientation = orientation or axes
        segment = group(dataset, number, "SegmentIdentificationSequence")
        numbers.append(0 if kind == "LABELMAP" or segment is None else int(segment.ReferencedSegmentNumber))
    names = segment_names(dataset, image)
    labels = tuple(
        _label(each, names[int(each.SegmentNumber)].name)
        for each in dataset.get("SegmentSequence") or ()
        if int(each.SegmentNumber) in names
    )
    if orientation is None or not labels or (kind != "LABELMAP" and set(numbers) - {each.value for each in labels}):
        raise damaged_dicom(path, "frames without a segment, or segments without a name")
    highest = float(dataset.MaximumFractionalValue) if kind == "FRACTIONAL" else 1.0
    return _Stored(
        kind, frames, np.array(numbers), np.array(positions), *orientation, pixel_spacing(path, measures),
        length_of(measures, "SpacingBetweenSlices"), length_of(measures, "SliceThickness"), labels, highest,
    )  # fmt: skip


def _label(segment: Dataset, name: str) -> Label:
    lab, colour = segment.get("RecommendedDisplayCIELabValue"), None
    if lab is not None and len(lab) == 3:
        colours = optional_import("highdicom.color", extra="dicom", purpose=NEEDS)
        red, green, blue = colours.CIELabColor.from_dicom_value([int(each) for each in lab]).to_rgb()
        colour = (int(red), int(green), int(blue))
    return Label(int(segment.SegmentNumber), name, colour)


def _grid_of(path: Path, stored: _Stored, image: Grid | None) -> tuple[Grid, Integer[np.ndarray, "n"]]:
    """The smallest grid that holds all frames, and the slice of each; frames that are left out lie between."""
    normal = np.cross(stored.across, stored.down)
    places = stored.positions @ normal
    first, last = int(places.argmin()), int(places.argmax())
    step, along = _step(stored, image, normal, places)
    numbers = (places - places[first]) / along
    indices = np.rint(numbers).astype(int)
    straight = stored.positions[first] + indices[:, None] * step
    if np.linalg.norm(stored.positions - straight, axis=1).max() > UNEVEN * along + min(stored.spacing) / 10:
        raise DataError(
            f"{path}: frames that make no even stack of {along:.4g} mm. Read it with the grid of its image (--source)."
        )
    rows, columns = stored.frames.shape[1:]
    require_moderate_volume(path, (int(indices[last]) + 1, rows, columns), 1)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = stored.across * stored.spacing[1], stored.down * stored.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, stored.positions[first]
    return Grid.of_columns_first((int(indices[last]) + 1, rows, columns), affine, "LPS"), indices


def _step(
    stored: _Stored, image: Grid | None, normal: Float[np.ndarray, "3"], places: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "3"], float]:
    """From slice to slice as a vector, and along the normal: the image's, else the least distance of frames."""
    if image is not None and image.affine is not None:
        lps = image.columns_first("LPS")
        assert lps is not None
        across = [axis for axis in lps[:3, :3].T if abs(axis @ normal) > 0.5 * np.linalg.norm(axis)]
        if len(across) == 1:
            step = across[0] * np.sign(across[0] @ normal)
            return step, float(step @ normal)
    ordered = np.sort(places)
    steps = np.diff(ordered)
    if not (apart := steps[steps > SAME_PLACE]).size:
        along = stored.between or stored.thickness or 1.0
        return normal * along, along
    along = float(apart.min())
    if stored.between and round(along / stored.between) > 1 and abs(along / stored.between % 1 - 0.5) > 0.5 - UNEVEN:
        along = stored.between
    ends = stored.positions[int(places.argmax())] - stored.positions[int(places.argmin())]
    count = max(round(float(ends @ normal) / along), 1)
    return ends / count, float(ends @ normal) / count


def _label_map(
    path: Path, stored: _Stored, places: Integer[np.ndarray, "n"], grid: Grid, wanted: tuple[Label, ...]
) -> Shaped[np.ndarray, "slices rows columns"]:
    """Segment numbers of all voxels."""
    names = {label.value: label.name for label in wanted}
    array = np.zeros(grid.shape, np.min_scalar_type(max(names)))
    if stored.kind == "LABELMAP":
        if len(set(places.tolist())) != len(places):
            raise damaged_dicom(path, "several frames at one place")
        known = {0, *(label.value for label in stored.labels)}
        if unknown := set(np.unique(stored.frames).tolist()) - known:
            raise damaged_dicom(path, f"the value {min(unknown)}, which no segment has")
        array[places] = np.where(np.isin(stored.frames, list(names)), stored.frames, 0)
        return array
    if len({(place, segment) for place, segment in zip(places, stored.segments, strict=True)}) != len(places):
        raise damaged_dicom(path, "several frames of one segment at one place")
    largest = np.zeros(grid.shape, np.float32) if stored.kind == "FRACTIONAL" else None
    shared = Counter[tuple[int, int]]()
    for frame, place, segment in zip(stored.frames, places, stored.segments, strict=True):
        if segment not in names:
            continue
        if largest is not None:
            fractions = frame / np.float32(stored.highest)
            inside = (fractions >= HALF) & (fractions > largest[place])
            largest[place][inside] = fractions[inside]
        else:
            inside = frame > 0
            taken = array[place][inside]
            shared.update((int(first), int(segment)) for first in taken[taken > 0])
        array[place][inside] = segment
    if shared:
        ((first, second), count), *_ = shared.most_common(1)
        raise overlapping(path, count, names[first], names[second])
    return array
