"""What is asked of a promptable model: boxes, points and mask logits of one image, and those of several in a batch.

Coordinates are continuous, in pixels of the grid the prompts are on: pixel column i reaches from x = i to i + 1, so its
centre is i + 0.5 and the box of columns 3 to 7 goes from 3 to 8 (half-open). Boxes are `xyxy`, points `xy`. How they
cross from the image's grid to the network's is in `segmed.prompts.grid` and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64, Shaped, UInt8

from segmed.core.errors import DataError

INSIDE, OUTSIDE, NO_POINT = 1, 0, -1
"""Labels of a point: on the object, beside it, and (in a batch only) padding."""

Numbers = Sequence[Any] | Shaped[np.ndarray, "..."]
"""Numbers as (nested) lists or as an array."""


@dataclass(frozen=True, init=False, eq=False)
class Prompts:
    """The prompts of one image; `len(prompts)` is the number of objects they ask for, 0 where there is no prompt.

    Box i, the points whose `point_objects` is i, and `logits[i]` ask together for object i. `boxes` has either one
    row per object or none. `logits` is a mask prompt on the network's low-resolution grid, as the decoder gave it or
    `PromptGrid.mask_prompt` made it. Points are kept in the order of their objects. Arrays are read-only.

    Example:
        >>> prompts = segmed.Prompts(boxes=[(3, 4, 8, 9)], points=[(5.5, 6.5)])
        >>> len(prompts), prompts.within((16, 16)).boxes.tolist()
        (1, [[3.0, 4.0, 8.0, 9.0]])
    """

    boxes: Float64[np.ndarray, "n 4"]
    points: Float64[np.ndarray, "p 2"]
    point_labels: UInt8[np.ndarray, " p"]
    point_objects: Int64[np.ndarray, " p"]
    logits: Float32[np.ndarray, "m h w"] | None

    def __init__(
        self,
        boxes: Numbers = (),
        points: Numbers = (),
        point_labels: Numbers | None = None,
        point_objects: Numbers | None = None,
        logits: Numbers | None = None,
    ) -> None:
        """Take lists or arrays. Whether prompts lie in an image is asked by `within`.

        Args:
            boxes: `n 4`, (x0, y0, x1, y1) in pixels, the end not included.
            points: `p 2`, (x, y) in pixels; the centre of pixel column i is at i + 0.5.
            point_labels: `p`, 1 on the object (the default) or 0 beside it.
            point_objects: `p`, the object that each point belongs to, from 0; by default all belong to one.
            logits: `n h w`, mask prompts on the network's low-resolution grid.

        Raises:
            DataError: A box that is inverted, empty or not finite, a point that is not finite, a label other than 0
                and 1, or prompts that do not belong together.
        """
        rows = _rows(boxes, 4, "box")
        places = _rows(points, 2, "point")
        labels = np.ones(len(places)) if point_labels is None else _integers(point_labels, "point_labels")
        owners = np.zeros(len(places)) if point_objects is None else _integers(point_objects, "point_objects")
        masks = None if logits is None else _mask_prompts(logits)
        if point_objects is None and len(places) and max(len(rows), 0 if masks is None else len(masks)) > 1:
            raise DataError("Points beside several boxes or masks: say with point_objects which one each belongs to.")
        _require_boxes(rows)
        _require_points(places, labels, owners)
        _require_objects(rows, owners, masks)
        order = np.argsort(owners, kind="stable")
        object.__setattr__(self, "boxes", _frozen(rows))
        object.__setattr__(self, "points", _frozen(places[order]))
        object.__setattr__(self, "point_labels", _frozen(labels[order].astype(np.uint8)))
        object.__setattr__(self, "point_objects", _frozen(owners[order].astype(np.int64)))
        object.__setattr__(self, "logits", None if masks is None else _frozen(masks))

    def __len__(self) -> int:
        """The number of objects asked for."""
        if len(self.boxes):
            return len(self.boxes)
        if self.logits is not None:
            return len(self.logits)
        return int(self.point_objects.max(initial=-1)) + 1

    def __eq__(self, other: object) -> bool:
        """Whether all prompts are equal, bit for bit."""
        return isinstance(other, Prompts) and all(
            _same(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)
        )

    def within(self, size: tuple[int, int]) -> "Prompts":
        """Check that all prompts lie in an image.

        Args:
            size: (height, width) of the image in pixels.

        Returns:
            These prompts, unchanged.

        Raises:
            DataError: One leaves the image.
        """
        limit = _limits(size)
        for index, box in enumerate(self.boxes):
            if (box < 0).any() or (box > np.tile(limit, 2)).any():
                raise DataError(
                    f"Box {index} {_listed(box)} leaves the image of {_named(size)} (height x width). "
                    "Give boxes in pixels of the image, or cut them with clipped_to."
                )
        for index, point in enumerate(self.points):
            if (point < 0).any() or (point > limit).any():
                raise DataError(
                    f"Point {index} {_listed(point)} lies outside the image of {_named(size)} (height x width). "
                    "Give points in pixels of the image, or move them with clipped_to."
                )
        return self

    def clipped_to(self, size: tuple[int, int]) -> "Prompts":
        """Boxes cut to an image, points outside it moved to the nearest place on its edge.

        Args:
            size: (height, width) of the image in pixels.

        Returns:
            The prompts within the image; mask logits stay.

        Raises:
            DataError: A box of which nothing lies in the image.
        """
        limit = _limits(size)
        cut = np.clip(self.boxes, 0, np.tile(limit, 2))
        for index in np.flatnonzero((cut[:, 2:] <= cut[:, :2]).any(axis=1)):
            raise DataError(
                f"Box {index} {_listed(self.boxes[index])} lies wholly outside the image of {_named(size)} "
                "(height x width), so nothing is left to cut. Give boxes in pixels of the image."
            )
        return replace(self, boxes=cut, points=np.clip(self.points, 0, limit))

    def mirrored(self, size: tuple[int, int], *, rows: bool = False, columns: bool = False) -> "Prompts":
        """What these prompts are on a grid of `size` (height, width) whose rows or columns stand in reverse order.

        Args:
            size: (height, width) of the grid in pixels.
            rows: Whether the rows are reversed.
            columns: Whether the columns are reversed.

        Returns:
            The mirrored prompts; twice mirrored they are the first again.
        """
        height, width = size
        boxes, points, logits = self.boxes.copy(), self.points.copy(), self.logits
        for axis, length, flipped in ((0, width, columns), (1, height, rows)):
            if flipped:
                boxes[:, [axis, axis + 2]] = length - boxes[:, [axis + 2, axis]]
                points[:, axis] = length - points[:, axis]
                logits = None if logits is None else np.flip(logits, 2 - axis)
        return replace(self, boxes=boxes, points=points, logits=logits)

    def with_points(self, points: Numbers, labels: Numbers, objects: Numbers) -> "Prompts":
        """These prompts and further points, as in interactive refinement; earlier points of an object come first.

        Args:
            points: (x, y) in continuous pixels of the image, `m 2`.
            labels: Of each point: 1 on the object, 0 beside it.
            objects: The object that each point belongs to, from 0.

        Returns:
            The prompts with all points.

        Raises:
            DataError: Points, labels and objects of different numbers, or values that are none of these.
        """
        return replace(
            self,
            points=np.concatenate([self.points, _rows(points, 2, "point")]),
            point_labels=np.concatenate([self.point_labels, _integers(labels, "labels")]),
            point_objects=np.concatenate([self.point_objects, _integers(objects, "objects")]),
        )

    def with_logits(self, logits: Numbers | None) -> "Prompts":
        """These prompts with the decoder's previous logits as mask prompts, one per object; None takes them away.

        Args:
            logits: `m h w` on the decoder's mask grid, before the sigmoid; None for none.

        Returns:
            The prompts with these logits.

        Raises:
            DataError: Another number of masks than of objects.
        """
        return replace(self, logits=None if logits is None else _mask_prompts(logits))


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """Prompts of several images, padded to the largest number of objects n and of points per object p.

    Where a mask of validity is False the values are padding: 0, and label `NO_POINT` for points. `logits` is None
    where no image has any. An image without prompts has no object, and n is 0 where none has.
    """

    objects: Bool[np.ndarray, "b n"]
    boxes: Float64[np.ndarray, "b n 4"]
    has_box: Bool[np.ndarray, "b n"]
    points: Float64[np.ndarray, "b n p 2"]
    point_labels: Int8[np.ndarray, "b n p"]
    logits: Float32[np.ndarray, "b n h w"] | None
    has_logits: Bool[np.ndarray, "b n"]

    @classmethod
    def stack(cls, several: Sequence[Prompts]) -> "PromptBatch":
        """Pad the prompts of the images, in order. Raises `DataError` where mask prompts differ in size."""
        images, count = len(several), max((len(prompts) for prompts in several), default=0)
        most = max((int(_points_per_object(prompts).max(initial=0)) for prompts in several), default=0)
        batch = cls(
            objects=np.zeros((images, count), bool),
            boxes=np.zeros((images, count, 4)),
            has_box=np.zeros((images, count), bool),
            points=np.zeros((images, count, most, 2)),
            point_labels=np.full((images, count, most), NO_POINT, np.int8),
            logits=_room_for_logits(several, count),
            has_logits=np.zeros((images, count), bool),
        )
        for image, prompts in enumerate(several):
            batch._fill(image, prompts)
        return batch

    def _fill(self, image: int, prompts: Prompts) -> None:
        self.objects[image, : len(prompts)] = True
        self.boxes[image, : len(prompts.boxes)] = prompts.boxes
        self.has_box[image, : len(prompts.boxes)] = True
        if self.logits is not None and prompts.logits is not None:
            self.logits[image, : len(prompts)] = prompts.logits
            self.has_logits[image, : len(prompts)] = True
        per_object = _points_per_object(prompts)
        first = np.cumsum(per_object) - per_object
        place = np.arange(len(prompts.points)) - first[prompts.point_objects]
        self.points[image, prompts.point_objects, place] = prompts.points
        self.point_labels[image, prompts.point_objects, place] = prompts.point_labels


def _rows(values: Numbers, width: int, what: str) -> Float64[np.ndarray, "n w"]:
    form = "(x0, y0, x1, y1)" if width == 4 else "(x, y)"
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Each {what} is a row {form} of numbers, got {values!r}. Give a list of rows.") from error
    if array.size == 0:
        return np.zeros((0, width))
    if array.ndim != 2 or array.shape[1] != width:
        raise DataError(f"Each {what} is a row {form}, got an array of shape {array.shape}. Give a list of rows.")
    return array


def _integers(values: Numbers, what: str) -> Shaped[np.ndarray, " p"]:
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} holds one whole number per point, got {values!r}.") from error
    if array.size == 0:
        return np.zeros(0, np.int64)
    exact = np.abs(array) < 2.0**53  # a larger float is not one whole number
    if array.ndim != 1 or not (exact & np.equal(array, np.round(array))).all():
        raise DataError(f"{what} holds one whole number per point, got {array.tolist()}.")
    return array.astype(np.int64)


def _mask_prompts(logits: Numbers) -> Float32[np.ndarray, "m h w"]:
    array = np.array(logits, np.float32)
    if array.ndim != 3 or array.size == 0:
        raise DataError(f"logits is one low-resolution mask per object, `n h w`, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise DataError("logits holds NaN or infinite values. Check the masks the prompts were made from.")
    return array


def _require_boxes(boxes: Float64[np.ndarray, "n 4"]) -> None:
    for index, box in enumerate(boxes):
        if not np.isfinite(box).all():
            raise DataError(f"Box {index} {_listed(box)} is not finite. Give four numbers (x0, y0, x1, y1).")
        extent = box[2:] - box[:2]
        if (extent < 0).any():
            raise DataError(f"Box {index} {_listed(box)} is inverted. Give (x0, y0, x1, y1) with x0 < x1 and y0 < y1.")
        if (extent == 0).any():
            raise DataError(
                f"Box {index} {_listed(box)} is empty: its end is not part of it. Give x0 < x1 and y0 < y1; "
                "a single pixel (x, y) is the box (x, y, x + 1, y + 1)."
            )


def _require_points(
    points: Float64[np.ndarray, "p 2"], labels: Shaped[np.ndarray, "..."], owners: Shaped[np.ndarray, "..."]
) -> None:
    if not len(points) == len(labels) == len(owners):
        raise DataError(
            f"{len(points)} points have {len(labels)} labels and {len(owners)} objects. Give one of each per point."
        )
    for index, point in enumerate(points):
        if not np.isfinite(point).all():
            raise DataError(f"Point {index} {_listed(point)} is not finite. Give two numbers (x, y).")
    strange = labels[~np.isin(labels, (INSIDE, OUTSIDE))]
    if strange.size:
        raise DataError(f"A point's label is 1 (on the object) or 0 (beside it), got {int(strange[0])}.")


def _require_objects(
    boxes: Float64[np.ndarray, "n 4"], owners: Shaped[np.ndarray, " p"], masks: Float32[np.ndarray, "m h w"] | None
) -> None:
    """Refuse points of no object, objects without a prompt, and masks and boxes that differ in number."""
    if masks is not None and len(boxes) and len(masks) != len(boxes):
        raise DataError(f"{len(masks)} mask prompts for {len(boxes)} boxes. Give one mask per box.")
    if owners.size == 0:
        return
    known = len(boxes) or (0 if masks is None else len(masks))
    asked = known or int(owners.max()) + 1
    strange = owners[(owners < 0) | (owners >= asked)]
    if strange.size:
        raise DataError(f"point_objects names object {int(strange[0])}, but there are {asked} objects, counted from 0.")
    named = np.unique(owners)
    if not known and len(named) != asked:
        missing = int(np.flatnonzero(named != np.arange(len(named)))[0])
        raise DataError(f"Object {missing} has no prompt: point_objects must name each object from 0 to the last.")


def _points_per_object(prompts: Prompts) -> Int64[np.ndarray, " n"]:
    return np.bincount(prompts.point_objects, minlength=len(prompts)).astype(np.int64)


def _room_for_logits(several: Sequence[Prompts], count: int) -> Float32[np.ndarray, "b n h w"] | None:
    sizes = {prompts.logits.shape[1:] for prompts in several if prompts.logits is not None}
    if len(sizes) > 1:
        raise DataError(f"Mask prompts of one batch differ in size: {sorted(sizes)}. Make them on one grid.")
    return np.zeros((len(several), count, *sizes.pop()), np.float32) if sizes else None


def _limits(size: tuple[int, int]) -> Float64[np.ndarray, "2"]:
    return np.array([size[1], size[0]], np.float64)


def _frozen(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    array.setflags(write=False)
    return array


def _same(one: Shaped[np.ndarray, "..."] | None, other: Shaped[np.ndarray, "..."] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


def _listed(values: Float64[np.ndarray, " n"]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _named(size: tuple[int, int]) -> str:
    return "x".join(str(side) for side in size)
