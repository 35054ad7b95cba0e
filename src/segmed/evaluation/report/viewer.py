"""Volumes to scroll through in the page: grey slices and masks as compressed pictures, drawn by a small script."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from markupsafe import Markup

from segmed.core.errors import DataError
from segmed.core.stacking import Stacking, stacking
from segmed.core.volume import Volume
from segmed.evaluation.compare import PRIMARY
from segmed.evaluation.overlays import crop_box, grey, overlay, png_bytes
from segmed.evaluation.report import numbers
from segmed.evaluation.report.patients import Names, chosen_patients, data_address
from segmed.evaluation.result import Evaluation

LIMIT = 12 * 2**20
"""Bytes that all volumes of a page may take; slices are made smaller, then images are left out."""
SIDES = (320, 256, 192, 128, 96)
"""The longest side of a slice in pixels, tried in this order."""
QUALITY = 80


@runtime_checkable
class VolumePictures(Protocol):
    """Where references and images of volumes come from."""

    def reference(self, case: str) -> Volume:
        """The reference of a case, labels 0 … K."""
        ...

    def sequences(self, case: str) -> Mapping[str, Volume]:
        """The images of a case by name, on the same grid; empty where there are none."""
        ...


@dataclass(frozen=True)
class VolumeView:
    """A case to scroll through.

    `first` is the slice with the most wrong voxels as a picture, for print and without a script; `data` is what the
    script reads, JSON. `remark` says what was left out to keep the page small.
    """

    anchor: str
    patient: str
    case: str
    rank: str
    dice: str
    first: str
    text: str
    system: str
    remark: str
    data: Markup


def volume_views(
    systems: Sequence[Evaluation], pictures: VolumePictures | None, shown: Names, *, most: int
) -> list[VolumeView]:
    """The worst, the median and the best patients of the first system, each by its worst volume.

    Args:
        systems: The best first; the first `most` of them can be chosen in the page.
        pictures: References and images; without them predictions are shown alone.
        shown: What is printed for patients and cases.
        most: How many systems.
    """
    leader = systems[0]
    dice = leader.by_patient(PRIMARY)
    chosen = chosen_patients(leader)
    return [
        _view(
            systems[:most],
            pictures,
            worst_case(leader, patient),
            limit=LIMIT // max(1, len(chosen)),
            names=(f"volume-{number}", shown.patients[patient], shown.parts[worst_case(leader, patient)]),
            rank=(rank, numbers.number(dice[patient], 3)),
        )
        for number, (patient, rank) in enumerate(chosen.items(), start=1)
    ]


def worst_case(leader: Evaluation, patient: str) -> str:
    """The volume of a patient with the lowest Dice, as a mean over its labels."""
    values: dict[str, list[float]] = {}
    for row in leader.cases:
        if row.patient == patient and not math.isnan(row.scores[PRIMARY]):
            values.setdefault(row.case, []).append(row.scores[PRIMARY])
    return min(values, key=lambda case: sum(values[case]) / len(values[case]))


def marked_voxels(volume: Shaped[np.ndarray, "d h w"]) -> Int64[np.ndarray, " d"]:
    """How many voxels of each slice are not zero."""
    return np.count_nonzero(volume, axis=(1, 2)).astype(np.int64)


def telling_slice(wrong: Int64[np.ndarray, " d"], marked: Int64[np.ndarray, " d"]) -> int:
    """The slice to begin with: where most is wrong, and where nothing is, where most is marked.

    >>> telling_slice(np.array([0, 3, 1]), np.array([9, 4, 5])), telling_slice(np.array([0, 0, 0]), np.array([0, 4, 5]))
    (1, 2)
    """
    return int((wrong if wrong.any() else marked).argmax())


def script() -> str:
    """The script that draws."""
    return files("segmed.evaluation.report").joinpath("templates/volumes.js").read_text(encoding="utf-8")


def script_hash() -> str:
    """What the page's policy lets run: this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode('ascii')}"


def _view(
    systems: Sequence[Evaluation],
    pictures: VolumePictures | None,
    case: str,
    *,
    limit: int,
    names: tuple[str, str, str],
    rank: tuple[str, str],
) -> VolumeView:
    anchor, patient, shown = names
    predictions = {system.name: system.volumes[case] for system in systems}
    grid = next(iter(predictions.values())).grid
    cut = stacking(grid)
    masks = {name: cut.apply_array(volume.array) for name, volume in predictions.items()}
    reference = _reference(pictures, case, cut)
    found = pictures.sequences(case) if pictures is not None and reference is not None else {}
    images = {name: cut.apply_array(volume.array) for name, volume in found.items()}
    every = [*masks.values(), *([] if reference is None else [reference])]
    marked = [np.asarray(each.any(axis=0), np.uint8) for each in every]
    shape = marked[0].shape
    rows, columns = crop_box(*marked, minimum=(min(shape) + 1) // 2)
    window = (slice(None), rows, columns)
    leader = next(iter(masks.values()))
    wrong = marked_voxels(leader if reference is None else leader != reference)
    start = telling_slice(wrong, np.sum([marked_voxels(each) for each in every], axis=0))
    spacing = cut.apply_grid(grid).spacing or (1.0, 1.0, 1.0)
    data, remark = _packed(
        {name: array[window] for name, array in masks.items()},
        None if reference is None else reference[window],
        {name: _grey(array[window]) for name, array in images.items()},
        limit,
    )
    facts = {
        "aspect": spacing[1] / spacing[2],
        "start": start,
        "wrong": wrong.tolist(),
        "dice": {system.name: _dice(system, case) for system in systems},
        "labels": list(systems[0].labels.names),
        **data,
    }
    image = next(iter(images.values()), None)
    picture = overlay(
        None if image is None else _grey(image[window])[start][..., None],
        None if reference is None else reference[window][start],
        leader[window][start],
        scale=max(1, round(384 / (rows.stop - rows.start))),
        thickness=2,
    )
    return VolumeView(
        anchor=anchor,
        patient=patient,
        case=shown,
        rank=rank[0],
        dice=rank[1],
        first=data_address(png_bytes(_stretched(picture, spacing[1] / spacing[2]))),
        text=f"Slice {start + 1} of {shown}: reference and prediction of {systems[0].name}",
        system=systems[0].name,
        remark=remark,
        data=Markup(json.dumps(facts).replace("<", "\\u003c")),
    )


def _reference(pictures: VolumePictures | None, case: str, cut: Stacking) -> Shaped[np.ndarray, "d h w"] | None:
    """The reference of a case in the same order of slices; None where it is not known."""
    if pictures is None:
        return None
    try:
        return cut.apply_array(pictures.reference(case).array)
    except (KeyError, DataError):
        return None


def _dice(system: Evaluation, case: str) -> str:
    values = [row.scores[PRIMARY] for row in system.cases if row.case == case and not math.isnan(row.scores[PRIMARY])]
    absent = any(row.case == case and not row.given for row in system.cases)
    text = numbers.number(sum(values) / len(values) if values else None, 3)
    return f"{text}, no mask" if absent else text


def _packed(
    masks: Mapping[str, UInt8[np.ndarray, "d h w"]],
    reference: UInt8[np.ndarray, "d h w"] | None,
    images: Mapping[str, UInt8[np.ndarray, "d h w"]],
    limit: int,
) -> tuple[dict[str, Any], str]:
    """Sheets of slices within a number of bytes, and what was left out for that."""
    some = next(iter(masks.values()))
    for wanted in (images, dict(list(images.items())[:1]), {}):
        for side in SIDES:
            size = _size(some.shape[1:], side)
            sheets: dict[str, Any] = {
                "slices": len(some),
                "height": size[0],
                "width": size[1],
                "reference": None if reference is None else _sheet(reference, size, labels=True),
                "systems": [[name, _sheet(array, size, labels=True)] for name, array in masks.items()],
                "sequences": [[name, _sheet(array, size, labels=False)] for name, array in wanted.items()],
            }
            if len(json.dumps(sheets)) <= limit:
                left = [name for name in images if name not in wanted]
                return sheets, f"Left out to keep the page small: {', '.join(left)}." if left else ""
    return sheets, "Larger than the page's limit, and shown as small as it goes."


def _size(shape: Sequence[int], side: int) -> tuple[int, int]:
    shrunk = min(1.0, side / max(shape))
    return max(1, round(shape[0] * shrunk)), max(1, round(shape[1] * shrunk))


def _sheet(array: UInt8[np.ndarray, "d h w"], size: tuple[int, int], *, labels: bool) -> str:
    """All slices side by side in rows, as many across as down, as a data address: PNG of labels, JPEG of images."""
    from PIL import Image

    how = Image.Resampling.NEAREST if labels else Image.Resampling.BOX
    across = math.ceil(math.sqrt(len(array)))
    height, width = size
    sheet = Image.new("L", (across * width, math.ceil(len(array) / across) * height))
    for number, plane in enumerate(array):
        tile = Image.fromarray(np.ascontiguousarray(plane))
        tile = tile if tile.size == (width, height) else tile.resize((width, height), how)
        sheet.paste(tile, (number % across * width, number // across * height))
    stream = io.BytesIO()
    if labels:
        sheet.save(stream, format="PNG", optimize=True)
        return data_address(stream.getvalue())
    sheet.save(stream, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _grey(array: Shaped[np.ndarray, "d h w"]) -> UInt8[np.ndarray, "d h w"]:
    """8 bits by the percentiles of the whole volume, so that slices can be compared."""
    flat: UInt8[np.ndarray, "h w"] = grey(array.reshape(len(array), -1)[..., None], channel=0)
    return flat.reshape(array.shape)


def _stretched(picture: UInt8[np.ndarray, "h w 3"], aspect: float) -> UInt8[np.ndarray, "H W 3"]:
    """The picture with square millimetres where pixels are not square."""
    from PIL import Image

    if abs(aspect - 1) < 0.01:
        return picture
    height, width = picture.shape[:2]
    size = (width, max(1, round(height * aspect))) if aspect > 1 else (max(1, round(width / aspect)), height)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))
