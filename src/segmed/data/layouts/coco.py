"""Images with COCO's annotations: one JSON file, or one for each part, with polygons or run lengths for each object."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, UInt8

from segmed.core.errors import DataError
from segmed.core.image import Size
from segmed.core.labels import LabelMap
from segmed.core.reading import read_json
from segmed.core.records import Record, SliceDataset
from segmed.core.wording import plural
from segmed.data.listing import Findings, Listing, grouped, in_order, natural_key
from segmed.data.names import COCO, COCO_WHAT, composed
from segmed.io.coco import polygons_mask, runs_mask

PARTS = re.compile(r"(?<![a-z])(train|valid|val|test)(?![a-z])", re.IGNORECASE)
"""A part, as a word of its own: no `test` in `latest`."""
ANNOTATIONS = "annotations"
PLACES = ("*.json", f"{ANNOTATIONS}/*.json", "*/*.json")


@dataclass(frozen=True)
class _Runs:
    counts: list[int] | str
    size: tuple[int, int]


@dataclass(frozen=True)
class _Annotation:
    image_id: int | str
    category_id: int
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: int = 0


@dataclass(frozen=True)
class _Image:
    id: int | str
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class _Category:
    id: int
    name: str


@dataclass(frozen=True)
class _File:
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, eq=False)
class _Annotated:
    """What a file says: its images by name, what lies in each, and the names of categories by number."""

    images: Mapping[str, _Image]
    objects: Mapping[int | str, Sequence[_Annotation]]
    names: Mapping[int, str]


def holds_coco(root: Path) -> bool:
    """Whether there are annotations by their name, and no masks as images beside them."""
    return not (root / "masks").is_dir() and bool(_files(root))


def is_coco(path: Path) -> bool:
    """Whether a JSON file is one of COCO's: an object; a manifest is a list."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    except OSError:
        return False


def reads_as_coco(root: Path) -> bool:
    """Whether the annotations in a folder are COCO's by their content."""
    try:
        return all(_read(path).images for path in _files(root))
    except DataError:
        return False


def list_coco(path: Path, labels: LabelMap | None, patient_regex: str | None = None) -> Listing:
    """List the images that annotations name: those of a file, or of all files in a folder.

    Labels are the categories in the order of their numbers, or those that `labels` names. An image without annotations
    has an empty mask. Where there are several files, the column `split` has the part in each one's name or folder;
    where images of several have one name, slices are named with the part.
    """
    files = [path] if path.is_file() else _files(path)
    root = path if path.is_dir() else path.parent.parent if path.parent.name == ANNOTATIONS else path.parent
    findings = Findings()
    read = {file: _read(file) for file in files}
    known = {name for each in read.values() for name in each.names.values()}
    chosen = labels if labels is not None and labels.names_one_of(known) else _labels(files[0], read)
    if chosen.is_colour:
        raise DataError(f"{path}: labels are given in colours, but categories have names. Name them with --labels.")
    if unknown := [name for name in chosen.names if name not in known]:
        raise DataError(f"{path}: has no category {unknown[0]!r}; there are {', '.join(sorted(known))}.")
    records, images = dict[tuple[str, str], Record](), set[Path]()
    within = _apart(read)
    for file, annotated in read.items():
        if crowds := _crowds(annotated, chosen):
            text = f"{plural(crowds, 'region')} with iscrowd: 1 taken as what the category says, where COCO's scores "
            text += "leave crowds out. Take them out of the file if they are not to count."
            findings.warning("crowd", file, text)
        for record in _records(root, file, annotated, findings):
            key = (within.get(file, ""), record.slice_id)
            if key in records or record.image in images:
                beside = records[key].image if key in records else "another file of annotations"
                text = f"a second image of slice {record.slice_id}, besides {beside}. Keep one."
                findings.error("doubled-image", record.image, text)
                continue
            records[key] = record
            images.add(record.image)
    listed = sorted(records.values(), key=lambda record: natural_key(record.slice_id))
    if patient_regex is not None:
        listed = grouped(listed, patient_regex, findings)
    told = patient_regex is not None
    listed = [_within(within.get(record.mask or root, ""), record, told=told) for record in listed]
    listed.sort(key=lambda record: natural_key(record.slice_id))
    parts = {record.slice_id: _part(record.mask or root) for record in listed}
    dataset = SliceDataset(
        root.resolve().name, root, in_order(listed), chosen, patients_known=patient_regex is not None,
        manifest=path if path.is_file() else None, columns={"split": parts} if all(parts.values()) else {},
    )  # fmt: skip
    return Listing(dataset, tuple(findings.found))


def annotated_mask(path: Path, name: str, labels: LabelMap) -> UInt8[np.ndarray, "h w"]:
    """The mask of the image that annotations call `name`, as labels 1, 2, … by the names of categories.

    Raises:
        DataError: Damaged annotations, an object without an outline, or labels that overlap.
    """
    annotated = _read(path)
    image = annotated.images[name]
    regions = defaultdict[int, Bool[np.ndarray, "h w"]](lambda: np.zeros((image.height, image.width), bool))
    for each in annotated.objects.get(image.id, ()):
        category = annotated.names.get(each.category_id)
        if category is None:
            raise DataError(f"{path}: {name} has an object of category {each.category_id}, which it does not list.")
        if category in labels.names:
            regions[labels.names.index(category) + 1] |= _region(path, name, each, (image.height, image.width))
    mask = np.zeros((image.height, image.width), np.uint8)
    for label, inside in regions.items():
        if taken := int(np.count_nonzero(mask[inside])):
            other = labels.names[int(mask[inside].max()) - 1]
            raise DataError(
                f"{path}: {other} and {labels.names[label - 1]} overlap in {plural(taken, 'pixel')} of {name}, which "
                "one mask cannot hold. Choose one of them with --labels."
            )
        mask[inside] = label
    return mask


def _crowds(annotated: _Annotated, labels: LabelMap) -> int:
    """How many regions of these labels are crowds: of many objects that nobody told apart."""
    return sum(
        bool(each.iscrowd) and annotated.names.get(each.category_id) in labels.names
        for objects in annotated.objects.values()
        for each in objects
    )


def _files(root: Path) -> list[Path]:
    """The annotations in a folder, by name."""
    found = dict.fromkeys(path for place in PLACES for path in sorted(root.glob(place)) if root.is_dir())
    return [path for path in found if (COCO.search(path.name) or path.parent.name == ANNOTATIONS) and is_coco(path)]


def _read(path: Path) -> _Annotated:
    status = path.stat()
    return _read_once(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _read_once(path: Path, changed: int, size: int) -> _Annotated:
    del changed, size  # of the key alone
    content = read_json(path, _File, what=COCO_WHAT, remedy="Export them again.")
    names = {each.id: each.name for each in content.categories}
    if len(set(names.values())) != len(content.categories):
        raise DataError(f"{path}: lists a category twice, expected each name and number once. Correct it.")
    images = {each.file_name: each for each in content.images}
    if len(images) != len(content.images) or len({each.id for each in content.images}) != len(content.images):
        raise DataError(f"{path}: lists an image twice, expected each name and number once. Correct it.")
    objects = defaultdict[int | str, list[_Annotation]](list)
    for each in content.annotations:
        objects[each.image_id].append(each)
    if strangers := objects.keys() - {each.id for each in content.images}:
        raise DataError(f"{path}: annotates image {min(map(str, strangers))}, which it does not list. Correct it.")
    return _Annotated(images, objects, names)


def _labels(path: Path, read: Mapping[Path, _Annotated]) -> LabelMap:
    """The categories that any object has, in the order of their numbers; names make them one across files."""
    used = Counter(
        each.names.get(found.category_id) for each in read.values() for some in each.objects.values() for found in some
    )
    listed = sorted({(number, name) for each in read.values() for number, name in each.names.items() if used[name]})
    names = tuple(dict.fromkeys(name for _, name in listed))
    if not 0 < len(names) <= 255:
        raise DataError(
            f"{path}: {len(names)} categories with objects, expected 1 to 255. Choose some with --labels, such as "
            "'background=0,nucleus=1'."
        )
    return LabelMap(names, tuple(range(len(names) + 1)))


def _apart(read: Mapping[Path, _Annotated]) -> dict[Path, str]:
    """What tells the images of files apart, where some have the same names: the part, else the folder; or nothing."""
    often = Counter(name for each in read.values() for name in each.images)
    if max(often.values(), default=0) < 2:
        return {}
    told = {file: _part(file) or file.parent.name for file in read}
    return told if len(set(told.values())) == len(told) else {}


def _within(part: str, record: Record, *, told: bool) -> Record:
    """The record named with its part, and so its patient where nobody has told who that is."""
    slice_id = f"{part}/{record.slice_id}" if part else record.slice_id
    return replace(record, slice_id=slice_id, patient=record.patient if told else slice_id)


def _places(root: Path, file: Path) -> Iterator[Path]:
    """Where the images of a file may lie, those of its part first, for other parts may have images of these names."""
    if file.parent != root and file.parent.name != ANNOTATIONS:
        yield from (file.parent, file.parent / "images")
    for name in dict.fromkeys(name for name in (file.stem.rpartition("_")[2], _part(file)) if name):
        yield from (root / name, root / name / "images", root / "images" / name)
    yield from (root / "images", root, file.parent)


def _records(root: Path, file: Path, annotated: _Annotated, findings: Findings) -> Iterator[Record]:
    places = list(_places(root, file))
    for name in annotated.images:
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise DataError(f"{file}: names the image {name!r}, which lies outside of its folder. Correct it.")
        image = next((place / inside for place in places if (place / inside).is_file()), None)
        if image is None:
            findings.error("missing-image", file, f"names the image {name}, which is not there. Add it.")
            continue
        slice_id = composed(inside.with_suffix("").as_posix())
        yield Record(slice_id, slice_id, 1, image, file, annotated=name)


def _part(file: Path) -> str:
    """The part that a file is of, by its name or its folder's; empty where neither says."""
    found = PARTS.search(file.stem) or PARTS.search(file.parent.name)
    return found[0].lower() if found else ""


def _region(path: Path, name: str, found: _Annotation, size: Size) -> Bool[np.ndarray, "h w"]:
    try:
        if isinstance(found.segmentation, _Runs):
            if found.segmentation.size != size:
                raise DataError("runs of an image of another size.")
            return runs_mask(found.segmentation.counts, size)
        if not found.segmentation:
            raise DataError("an object without an outline, such as a box alone. Draw outlines.")
        return polygons_mask(found.segmentation, size)
    except DataError as error:
        raise DataError(f"{path}: {name}: {error}") from error
