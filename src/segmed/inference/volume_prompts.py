"""Boxes and points for volumes: in voxels of the file or in mm of the patient, as a box of one slice or of several.

CSV of boxes has the columns `file,x0,y0,z0,x1,y1,z1`, or `file,slice,x0,y0,x1,y1` for one slice; of points `file,x,y,z`
or `file,slice,x,y`, and where wanted `label` and `object` as for images. Voxels count from 0 along the columns (x),
rows (y) and slices (z) of the file as it is stored, and a box ends where it no longer covers. With `_mm` behind each
name, as in `x_mm,y_mm,z_mm`, coordinates are millimetres that grow to the patient's right, front and head (RAS+).
JSON is `{"p01.nii.gz": {"boxes": [[x0, y0, z0, x1, y1, z1]], "points": [[x, y, z]], "unit": "mm"}}`.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from segmed.core.errors import DataError
from segmed.core.escaping import shortened, shortened_text
from segmed.core.reading import read_json, read_table
from segmed.core.records import VolumeFiles
from segmed.data.cutting import CutVolume
from segmed.data.names import composed
from segmed.inference.from_data import cut_slices
from segmed.inference.prompt_files import (
    BOX,
    OF_POINTS,
    POINT,
    Entry,
    Kind,
    entries_in_json,
    entries_in_table,
    number_in,
    objects_of,
    require_kind,
    whole_in,
    written,
)
from segmed.inference.prompted import PromptedPredictor
from segmed.inference.propagate import PropagateConfig, propagate
from segmed.inference.volume_files import PredictedVolume, mask_name
from segmed.inference.volume_inputs import VolumeInputs
from segmed.io.volumes import stem_of
from segmed.prompts.value import INSIDE, Prompts

Unit = Literal["voxels", "mm"]
BOX_3D, POINT_3D = ("x0", "y0", "z0", "x1", "y1", "z1"), ("x", "y", "z")
SLICE = "slice"
FORMS: Mapping[tuple[str, ...], Kind] = {
    BOX_3D: "boxes",
    (SLICE, *BOX): "boxes",
    POINT_3D: "points",
    (SLICE, *POINT): "points",
}
"""What a row may hold beside the file, in voxels."""
NEARLY = 1e-4
"""Voxels that rounding of millimetres may lead out of a volume."""
Corner = tuple[float, float, float]


@dataclass(frozen=True)
class VolumeGiven:
    """A box from `low` to `high`, or a point, where both are the same; x, y, z in `unit`.

    `one_slice` is True where a slice of the file was named in place of z.
    """

    file: str
    where: str
    kind: Kind
    low: Corner
    high: Corner
    unit: Unit = "voxels"
    one_slice: bool = False
    label: int = INSIDE
    object: int | None = None


def read_volume_given(path: Path, kind: Kind | None = None) -> list[VolumeGiven]:
    """The boxes or points in a CSV file, or both in a JSON file.

    Args:
        path: The file.
        kind: What it was given for; a file that holds the other kind alone is refused.

    Raises:
        DataError: The file has another form; file and row are named.
    """
    given = list(_from_json(path) if path.suffix.lower() == ".json" else _from_csv(path))
    require_kind([each.kind for each in given], kind, path)
    return given


def parse_volume_given(text: str, option: str, file: str) -> VolumeGiven:
    """A box `x0,y0,z0,x1,y1,z1` or a point `x,y,z` or `x,y,z,label` of the command line; `mm:` before it for mm."""
    numbers, where = text.removeprefix("mm:"), f"{option} {text}"
    parts = numbers.split(",")
    width, label = (len(BOX_3D), INSIDE) if option == "--box" else (len(POINT_3D), INSIDE)
    if option == "--point" and len(parts) == width + 1:
        label = whole_in(parts.pop(), where, "label")
    if len(parts) != width:
        form = ",".join(BOX_3D) if option == "--box" else "x,y,z or x,y,z,label"
        raise DataError(f"{where}: expected {form} of a volume, in voxels, or in mm with mm: before it.")
    names = BOX_3D if option == "--box" else POINT_3D
    found = tuple(number_in(part, where) for part in parts)
    return _given(Entry(file, where, names, found, label), "voxels" if numbers == text else "mm")


def given_by_volume(given: Sequence[VolumeGiven], inputs: VolumeInputs) -> dict[str, list[VolumeGiven]]:
    """What was given for each volume, by its name: a row names the file or folder, or the mask that is written for it.

    The path below the inputs' folder is enough, or its end where only one volume has it.

    Raises `DataError`, naming the row, where no volume or more than one is meant.
    """
    found: dict[str, list[VolumeGiven]] = {}
    for each in given:
        file = composed(each.file).removeprefix("./").rstrip("/")
        named = _named(inputs, file)
        if not named:
            raise DataError(f"{each.where}: {each.file} is none of the {len(inputs.volumes)} volumes in {inputs.root}.")
        if len(named) > 1:
            raise DataError(
                f"{each.where}: {each.file} may be {named[0].name} or {named[1].name}. Write the folder too."
            )
        found.setdefault(named[0].name, []).append(each)
    return found


def prompts_of_volume(given: Sequence[VolumeGiven], cut: CutVolume) -> list[Prompts]:
    """The prompts of each slice of a volume: a box on every slice whose middle it covers, a point on the one it is in.

    Raises `DataError`, naming the row, for a box or point that is inverted, empty or outside the volume, one of a slice
    where slices are cut along another plane, a point that is on no slice of its box, and as `objects_of`.
    """
    return [each for each, _ in _with_owners(given, cut)]


def _with_owners(given: Sequence[VolumeGiven], cut: CutVolume) -> list[tuple[Prompts, list[int]]]:
    """The prompts of each slice, with the number of each object in the volume."""
    boxes = [(each, *_placed(each, cut)) for each in given if each.kind == "boxes"]
    points = [(each, *_placed(each, cut)) for each in given if each.kind == "points"]
    objects_of([(each.where, each.object) for each, _, _ in points], len(boxes))
    covered = [range(*_covered(low[0], high[0])) for _, low, high in boxes]
    found = []
    for number in range(cut.grid.shape[0]):
        here = [place for place, slices in enumerate(covered) if number in slices]
        inside = [(each, low) for each, low, _ in points if math.floor(low[0]) == number]
        owners = here if boxes else sorted({each.object or 0 for each, _ in inside})
        for each, _ in inside:
            if (each.object or 0) not in owners:
                raise DataError(f"{each.where}: the point is on slice {number}, which its box does not reach.")
        prompts = Prompts(
            boxes=[(boxes[at][1][2], boxes[at][1][1], boxes[at][2][2], boxes[at][2][1]) for at in here],
            points=[(low[2], low[1]) for _, low in inside],
            point_labels=[each.label for each, _ in inside],
            point_objects=[owners.index(each.object or 0) for each, _ in inside],
        )
        found.append((prompts, owners))
    return found


class PromptedVolumes:
    """Predicts volumes from what was given for them; of slices without a prompt nothing is asked."""

    def __init__(
        self,
        predictor: PromptedPredictor,
        given: Mapping[str, Sequence[VolumeGiven]],
        *,
        batch_size: int = 8,
        carry: PropagateConfig | None = None,
    ) -> None:
        """Remember the model and what was given for each volume; with `carry` it goes on to neighbouring slices."""
        self._predictor, self._given, self._batch_size, self._carry = predictor, given, batch_size, carry

    def __call__(self, volume: VolumeFiles, cut: CutVolume) -> PredictedVolume:
        """The mask of a volume, all objects together as label 1; empty where nothing was given.

        Raises `DataError` for prompts that cannot be meant, `ModelError` for a volume that the run does not read.
        """
        told = _with_owners(self._given.get(volume.name, ()), cut)
        prompts = [each for each, _ in told]
        prompted = [number for number, each in enumerate(prompts) if len(each)]
        probabilities = np.zeros((cut.grid.shape[0], 1, *cut.grid.shape[1:]), np.float32)
        masks = np.zeros(cut.grid.shape, np.uint8)
        reached = prompted if self._carry is None or not prompted else list(range(len(prompts)))
        if reached:
            slices = cut_slices(cut).some(reached)
            encoded = self._predictor.encode_volume(slices, batch_size=self._batch_size)
            wanted = [prompts[number] for number in reached]
            if self._carry is None:
                answers = self._predictor.decode_volume(encoded, wanted, batch_size=self._batch_size)
            else:
                owners = [each for _, each in told]
                answers = propagate(
                    self._predictor, encoded, wanted, self._carry, owners=owners, batch_size=self._batch_size
                )
            for number, answer in zip(reached, answers, strict=True):
                probabilities[number], masks[number] = answer.probabilities, answer.mask
        return PredictedVolume(masks, [masks], probabilities)


def _placed(each: VolumeGiven, cut: CutVolume) -> tuple[Corner, Corner]:
    """Both corners in slices, rows and columns of the cut volume, from the outer edge of its first voxel."""
    low, high = _in_cut(each, cut)
    shape = np.array(cut.grid.shape)
    size = " x ".join(str(step) for step in reversed(cut.stored.shape))
    is_box = each.kind == "boxes"
    what = "box" if is_box else "point"
    shown = written((*each.low, *each.high) if is_box else each.low)
    if (low < -NEARLY).any() or (high > shape + NEARLY).any() or (not is_box and (low >= shape).any()):
        raise DataError(
            f"{each.where}: {what} {shown} in {each.unit} lies outside the volume of {size} voxels (x, y, z)."
        )
    low, high = np.clip(low, 0, shape), np.clip(high, 0, shape)
    if is_box and any(first == last for first, last in map(_covered, low, high)):
        raise DataError(f"{each.where}: box {shown} in {each.unit} holds no voxel's centre. Give its outer edges.")
    return _corner(low), _corner(high)


def _in_cut(each: VolumeGiven, cut: CutVolume) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    if each.unit == "mm":
        if cut.grid.affine is None:
            raise DataError(f"{each.where}: in mm, but the volume does not say where it lies. Give voxels.")
        corners = np.array([(*corner, 1.0) for corner in itertools.product(*zip(each.low, each.high, strict=True))])
        places = (np.linalg.inv(cut.grid.affine) @ corners.T)[:3].T + 0.5
        return places.min(axis=0), places.max(axis=0)
    axes, backwards = cut.stacking.axes, cut.stacking.backwards
    if each.one_slice and axes[0] != 0:
        raise DataError(
            f"{each.where}: names a slice of the file, but the run reads slices along another axis. Give x, y, z."
        )
    stored = np.array([each.low[::-1], each.high[::-1]], np.float64)[:, axes]
    turned = np.where(backwards, np.array(cut.grid.shape) - stored, stored)
    if each.kind == "points":  # a voxel's first edge would become its last one
        turned = np.where(backwards, np.nextafter(turned, -np.inf), turned)
    return turned.min(axis=0), turned.max(axis=0)


def _covered(low: float, high: float) -> tuple[int, int]:
    """The first voxel whose centre lies between two edges, and the first one behind them."""
    return math.ceil(low - 0.5), math.ceil(high - 0.5)


def _corner(place: Float64[np.ndarray, "3"]) -> Corner:
    first, second, third = (float(each) for each in place)
    return first, second, third


def _named(inputs: VolumeInputs, file: str) -> list[VolumeFiles]:
    """The volumes that are called so; where none is, those of which it is the end of the path."""
    names = {volume: set(_names(volume, inputs.root)) for volume in inputs.volumes}
    exact = [volume for volume, own in names.items() if file in own]
    return exact or [volume for volume, own in names.items() if any(f"/{name}".endswith(f"/{file}") for name in own)]


def _names(volume: VolumeFiles, root: Path) -> Iterator[str]:
    yield composed(volume.name)
    yield composed(mask_name(volume))
    for path in volume.images:
        for each in (path, path.with_name(stem_of(path))):
            yield composed(each.as_posix())
            if each.is_relative_to(root):
                yield composed(each.relative_to(root).as_posix())


def _given(entry: Entry, unit: Unit) -> VolumeGiven:
    """A box or point of an entry."""
    where, numbers = entry.where, entry.numbers
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(f"{where}: {written(numbers)} is not finite. Give numbers.")
    kind, one_slice = FORMS[entry.names], entry.names[0] == SLICE
    if one_slice:
        number = whole_in(str(numbers[0]), where, SLICE)
        half = numbers[1:3]
        low, high = (*half, float(number)), (*(numbers[3:] or half), number + (1.0 if kind == "boxes" else 0.0))
    else:
        low, high = (numbers[0], numbers[1], numbers[2]), (*(numbers[3:] or numbers),)
    if kind == "boxes" and not all(first < last for first, last in zip(low, high, strict=True)):
        raise DataError(f"{where}: box {written((*low, *high))} is inverted or empty. Give the lower corner first.")
    if entry.label not in (0, 1):
        raise DataError(f"{where}: label {entry.label}; expected 1 on the object or 0 beside it.")
    return VolumeGiven(
        entry.file, where, kind, _corner(np.array(low)), _corner(np.array(high)), unit, one_slice, entry.label,
        entry.object,
    )  # fmt: skip


def _from_csv(path: Path) -> Iterator[VolumeGiven]:
    table = read_table(path, what="a table of boxes or points", remedy="Correct it.")
    columns = [name.strip() for name in table.header]
    numbers = [name for name in columns if name not in ("file", *OF_POINTS)]
    in_mm = bool(numbers) and all(name.endswith("_mm") for name in numbers)
    plain = {name.removesuffix("_mm") if in_mm else name for name in numbers}
    names = next((form for form in FORMS if set(form) == plain and not (in_mm and SLICE in form)), None)
    extra = set(columns) & set(OF_POINTS)
    if (
        names is None
        or "file" not in columns
        or len(set(columns)) < len(columns)
        or (extra and FORMS[names] == "boxes")
    ):
        raise DataError(
            f"{path}: the first line is {shortened_text(','.join(columns))}. Of volumes expected "
            "file,x0,y0,z0,x1,y1,z1 or file,slice,x0,y0,x1,y1 for boxes, file,x,y,z or file,slice,x,y and optionally "
            "label,object for points; or x0_mm and so on, in mm."
        )
    for each in entries_in_table(path, table, names, "_mm" if in_mm else ""):
        yield _given(each, "mm" if in_mm else "voxels")


def _from_json(path: Path) -> Iterator[VolumeGiven]:
    what = 'prompts as {"p01.nii.gz": {"boxes": [[x0, y0, z0, x1, y1, z1]], "points": [[x, y, z]]}}'
    files = read_json(path, dict[str, dict[str, Any]], what=what, remedy="Correct the file.")
    for file, value in files.items():
        where = f"{path}, {file}"
        if strange := sorted(set(value) - {"boxes", "points", "labels", "objects", "unit"}):
            raise DataError(f"{where}: unknown key {shortened(strange[0])}. Use boxes, points, labels, objects, unit.")
        unit = value.get("unit", "voxels")
        if unit not in ("voxels", "mm"):
            raise DataError(f"{where}: unit {shortened(unit)}; expected voxels or mm.")
        lists = {key: listed for key, listed in value.items() if key != "unit"}
        for each in entries_in_json(where, file, lists, BOX_3D, POINT_3D):
            yield _given(each, unit)
