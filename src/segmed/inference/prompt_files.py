"""Boxes and points for images on disk: from a small CSV or JSON file, or one by one; every fault names its row.

CSV of boxes: `file,x0,y0,x1,y1`. CSV of points: `file,x,y` and, where wanted, `label` (1 on the object, 0 beside it)
and `object` (which box of the file, from 0, the point belongs to; without boxes points of one number are one object,
numbered from 0 without a gap). JSON, for either or both:
`{"a.png": {"boxes": [[x0, y0, x1, y1]], "points": [[x, y]], "labels": [1], "objects": [0]}}`. Coordinates are in
pixels of the image, columns before rows, from its upper left corner; a box ends where it no longer covers. Columns of
another name are refused, since `x,y,w,h` is another box than `x0,y0,x1,y1`, and so are shares of the image.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segmed.core.errors import DataError, SegmedError
from segmed.core.escaping import shortened, shortened_text
from segmed.core.image import Geometry, Image, Mask, Size
from segmed.core.reading import Table, read_json, read_table
from segmed.core.records import Record
from segmed.data.names import composed
from segmed.inference.inputs import Inputs
from segmed.inference.prompted import PromptedPredictor
from segmed.inference.propagate import PropagateConfig, propagate
from segmed.inference.slices import PatientSlices
from segmed.prompts.value import INSIDE, Prompts

BOX, POINT = ("x0", "y0", "x1", "y1"), ("x", "y")
OF_POINTS = ("label", "object")
"""Columns that points may have besides."""
Kind = Literal["boxes", "points"]


@dataclass(frozen=True)
class Given:
    """A box (four numbers) or a point (two) for a file, and where it was written."""

    file: str
    where: str
    numbers: tuple[float, ...]
    label: int = INSIDE
    object: int | None = None

    @property
    def kind(self) -> Kind:
        """Whether it is one of boxes or of points."""
        return "boxes" if len(self.numbers) == len(BOX) else "points"


def read_given(path: Path, kind: Kind | None = None) -> list[Given]:
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


def require_kind(found: Sequence[Kind], kind: Kind | None, path: Path) -> None:
    """Raise `DataError` for a file of prompts that has some, but none of the kind that it was given for."""
    if kind is not None and found and kind not in found:
        other: Kind = "points" if kind == "boxes" else "boxes"
        raise DataError(f"--{kind} {path}: holds {other} and no {kind}. Give it as --{other}.")


def parse_given(text: str, option: str, file: str) -> Given:
    """A box `x0,y0,x1,y1` or a point `x,y` or `x,y,label` of the command line, for one file."""
    parts = text.split(",")
    where, width = f"{option} {text}", 4 if option == "--box" else 2
    label = INSIDE
    if option == "--point" and len(parts) == 3:
        label = whole_in(parts.pop(), where, "label")
    if len(parts) != width:
        form = "x0,y0,x1,y1" if width == 4 else "x,y or x,y,label"
        raise DataError(f"{where}: expected {form}, in pixels of the image.")
    return Given(file, where, tuple(number_in(part, where) for part in parts), label)


def given_by_image(given: Sequence[Given], inputs: Inputs) -> dict[Path, list[Given]]:
    """What was given for each image, by its path below the inputs' folder or, where only one has it, the end of it.

    A file of prompts therefore fits its images whichever of their folders is predicted.

    Raises `DataError`, naming the row, where no image or more than one is meant.
    """
    images = [record.image for record in inputs.records]
    paths = {composed(image.relative_to(inputs.root).as_posix()): image for image in images}
    by_name: dict[str, list[Path]] = {}
    for image in images:
        by_name.setdefault(composed(image.name), []).append(image)
    found: dict[Path, list[Given]] = {}
    for each in given:
        file = composed(each.file).removeprefix("./")
        alike = by_name.get(file.rpartition("/")[2], [])
        named = [paths[file]] if file in paths else [image for image in alike if _ends_with(image, file)]
        if not named:
            raise DataError(f"{each.where}: {each.file} is none of the {len(images)} images in {inputs.root}.")
        if len(named) > 1:
            several = " or ".join(image.relative_to(inputs.root).as_posix() for image in named[:2])
            raise DataError(f"{each.where}: {each.file} may be {several}. Write the sub-folder too.")
        found.setdefault(named[0], []).append(each)
    return found


def _ends_with(image: Path, file: str) -> bool:
    return f"/{composed(image.as_posix())}".endswith(f"/{file}")


def prompts_of(given: Sequence[Given], size: Size) -> Prompts:
    """The prompts of an image of `size` (height, width); boxes are objects, in order.

    Raises `DataError`, naming the row, for a box or point that is not finite, inverted, empty or outside the image, or
    that looks like shares of it, a box that holds no pixel's centre, a label other than 0 and 1, and as `objects_of`.
    """
    boxes = [each for each in given if each.kind == "boxes"]
    points = [each for each in given if each.kind == "points"]
    for each in boxes:
        _checked(each, size, boxes=[each.numbers])
    for each in points:
        _checked(each, size, points=[each.numbers], point_labels=[each.label])
    return Prompts(
        boxes=[each.numbers for each in boxes],
        points=[each.numbers for each in points],
        point_labels=[each.label for each in points],
        point_objects=objects_of([(each.where, each.object) for each in points], len(boxes)),
    )


def objects_of(points: Sequence[tuple[str, int | None]], boxes: int) -> list[int]:
    """The object of each point of an image or volume that has so many boxes: one of these, or without boxes objects of
    their own, numbered from 0 without a gap; by default the first.

    A point is the row it was written in and the object it names. Raises `DataError`, naming the row, for any other
    number, and for none where there are several boxes.
    """
    known = {number or 0 for _, number in points}
    for where, named in points:
        number = named or 0
        if named is None and boxes > 1:
            raise DataError(f"{where}: its file has {boxes} boxes. Say in `object` which the point is of.")
        if boxes and not 0 <= number < boxes:
            raise DataError(f"{where}: object {number} is none of the {boxes} boxes, counted from 0.")
        if number < 0:
            raise DataError(f"{where}: object {number}; objects are counted from 0. Number them so.")
        if not boxes and (missing := next((other for other in range(number) if other not in known), None)) is not None:
            raise DataError(
                f"{where}: object {number}, but no point of its file is of object {missing}. Number objects from 0, "
                "without a gap."
            )
    return [number or 0 for _, number in points]


class PromptedFiles:
    """Predicts the slices of one volume from what was given for their files; of others nothing is asked."""

    def __init__(
        self,
        predictor: PromptedPredictor,
        given: Mapping[Path, Sequence[Given]],
        *,
        batch_size: int = 8,
        carry: PropagateConfig | None = None,
    ) -> None:
        """Remember the model and what was given for each image; with `carry` it goes on to neighbouring slices."""
        self._predictor, self._given, self._batch_size, self._carry = predictor, given, batch_size, carry

    def __call__(self, records: Sequence[Record], images: Sequence[Image]) -> list[Mask | SegmedError]:
        """A mask for each slice, or the error of its prompts; an empty mask where nothing was given."""
        asked: list[Prompts | SegmedError] = []
        for record, image in zip(records, images, strict=True):
            try:
                asked.append(prompts_of(self._given.get(record.image, ()), image.array.shape[:2]))
            except DataError as error:
                asked.append(error)
        slices = PatientSlices([image.array for image in images], [record.slice_index for record in records])
        encoded = self._predictor.encode_volume(slices, batch_size=self._batch_size)
        prompts = [Prompts() if isinstance(each, SegmedError) else each for each in asked]
        if self._carry is None:
            answers = self._predictor.decode_volume(encoded, prompts, batch_size=self._batch_size)
        else:
            places = [record.slice_index for record in records]
            known = places if len(set(places)) == len(places) else None  # a plain folder knows only the order
            answers = propagate(
                self._predictor, encoded, prompts, self._carry, positions=known, batch_size=self._batch_size
            )
        return [
            error if isinstance(error, SegmedError) else Mask(answer.mask, Geometry(answer.mask.shape))
            for error, answer in zip(asked, answers, strict=True)
        ]


def _checked(given: Given, size: Size, **prompts: Any) -> None:
    try:
        Prompts(**prompts).within(size)
    except DataError as error:
        message = str(error).replace("Box 0 ", "Box ").replace("Point 0 ", "Point ")
        raise DataError(f"{given.where}: {message}") from error
    _require_pixels(given, size)


def _require_pixels(given: Given, size: Size) -> None:
    """Raise `DataError` for what looks like shares of the image, and for a box too small to hold any pixel."""
    numbers, (height, width) = given.numbers, size
    within_a_pixel = min(size) > 1 and all(0 <= number <= 1 for number in numbers)
    if within_a_pixel and (given.kind == "boxes" or any(number % 1 for number in numbers)):
        scaled = [number * (width, height)[place % 2] for place, number in enumerate(numbers)]
        raise DataError(
            f"{given.where}: {written(numbers)} lies in the upper left pixel, so these seem to be shares of the "
            f"image. Write pixels: {written(scaled)} of {height}x{width} (height x width)."
        )
    if given.kind == "boxes":
        spans = ((numbers[0], numbers[2]), (numbers[1], numbers[3]))
        if any(math.ceil(high - 0.5) <= math.ceil(low - 0.5) for low, high in spans):
            raise DataError(
                f"{given.where}: box {written(numbers)} holds no pixel's centre. Give pixels of the image; a single "
                "pixel (x, y) is the box (x, y, x + 1, y + 1)."
            )


def written(numbers: Sequence[float]) -> str:
    """Numbers in brackets, as messages have them."""
    return "(" + ", ".join(f"{number:g}" for number in numbers) + ")"


def _from_csv(path: Path) -> Iterator[Given]:
    table = read_table(path, what="a table of boxes or points", remedy="Correct it.")
    columns = [name.strip() for name in table.header]
    wanted = BOX if set(BOX) <= set(columns) else POINT
    known = {"file", *wanted, *(() if wanted is BOX else OF_POINTS)}
    strange = [name for name in columns if name not in known]
    if strange or len(set(columns)) < len(columns) or not {"file", *wanted} <= set(columns):
        corners = (
            " A box of x,y,w,h is x0,y0,x1,y1 with x1 = x + w and y1 = y + h." if {"w", "width"} & set(columns) else ""
        )
        raise DataError(
            f"{path}: the first line is {shortened_text(','.join(columns))}. Expected file,x0,y0,x1,y1 for boxes, or "
            f"file,x,y and optionally label,object for points, and no other columns.{corners}"
        )
    for each in entries_in_table(path, table, wanted):
        yield Given(each.file, each.where, each.numbers, each.label, each.object)


def _from_json(path: Path) -> Iterator[Given]:
    what = 'prompts as {"a.png": {"boxes": [[x0, y0, x1, y1]], "points": [[x, y]]}}'
    files = read_json(path, dict[str, dict[str, Any]], what=what, remedy="Correct the file.")
    for file, value in files.items():
        strange = sorted(set(value) - {"boxes", "points", "labels", "objects"})
        if strange:
            raise DataError(f"{path}, {file}: unknown key {shortened(strange[0])}. Use boxes, points, labels, objects.")
        for each in entries_in_json(f"{path}, {file}", file, value, BOX, POINT):
            yield Given(file, each.where, each.numbers, each.label, each.object)


@dataclass(frozen=True)
class Entry:
    """The numbers of a box or point as they are written in a file, before anything is made of them."""

    file: str
    where: str
    names: tuple[str, ...]
    """What each number is."""
    numbers: tuple[float, ...]
    label: int = INSIDE
    object: int | None = None


def entries_in_table(path: Path, table: Table, names: tuple[str, ...], ending: str = "") -> Iterator[Entry]:
    """The rows of a table whose columns were found right; `ending` stands behind the names of the numbers' columns."""
    columns = [name.strip() for name in table.header]
    for line, row in zip(table.lines, table.rows, strict=True):
        where = f"{path}, line {line}"
        values = {name: value.strip() for name, value in zip(columns, row, strict=True)}
        if not values["file"]:
            raise DataError(f"{where}: names no file.")
        numbers = tuple(number_in(values[f"{name}{ending}"], where) for name in names)
        label = whole_in(values.get("label") or str(INSIDE), where, "label")
        owner = whole_in(values["object"], where, "object") if values.get("object") else None
        yield Entry(values["file"], where, names, numbers, label, owner)


def entries_in_json(
    where: str, file: str, lists: Mapping[str, Any], box: tuple[str, ...], point: tuple[str, ...]
) -> Iterator[Entry]:
    """The boxes and points of one file in JSON, whose lists are those of `boxes`, `points`, `labels` and `objects`."""
    for key, listed in lists.items():
        if not isinstance(listed, list):
            raise DataError(f"{where}: {key} is {shortened(listed)}, expected a list. Write [] for none.")
    points = lists.get("points", [])
    labels, owners = lists.get("labels", [INSIDE] * len(points)), lists.get("objects", [None] * len(points))
    if not len(points) == len(labels) == len(owners):
        raise DataError(f"{where}: {len(points)} points, {len(labels)} labels and {len(owners)} objects.")
    for index, numbers in enumerate(lists.get("boxes", [])):
        place = f"{where}, box {index}"
        yield Entry(file, place, box, listed_numbers(numbers, place, box))
    for index, (numbers, label, owner) in enumerate(zip(points, labels, owners, strict=True)):
        place = f"{where}, point {index}"
        number = None if owner is None else whole_in(str(owner), place, "object")
        found = listed_numbers(numbers, place, point)
        yield Entry(file, place, point, found, whole_in(str(label), place, "label"), number)


def listed_numbers(value: Any, where: str, names: Sequence[str]) -> tuple[float, ...]:
    """The numbers of a list in JSON, one for each of `names`; raises `DataError`, naming the entry."""
    if not isinstance(value, list) or len(value) != len(names):
        raise DataError(f"{where}: expected [{', '.join(names)}], got {shortened(value)}.")
    return tuple(number_in(str(part), where) for part in value)


def number_in(text: str, where: str) -> float:
    """The number in a field; raises `DataError`, naming the row."""
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: expected a number, got {shortened(text)}.") from error


def whole_in(text: str, where: str, what: str) -> int:
    """The whole number in a field; raises `DataError`, naming the row."""
    number = number_in(text, where)
    if not math.isfinite(number) or number != int(number):
        raise DataError(f"{where}: {what} is a whole number, got {shortened(text)}.")
    return int(number)
