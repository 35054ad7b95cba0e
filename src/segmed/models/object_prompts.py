"""Prompts as the decoder takes them: tensors, one row per object that is asked for, over all images of a batch.

Rows, not a padded image x object grid: images ask for different numbers of objects, and each object is decoded on its
own, so a batch gives what its images give one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from segmed.core.errors import DataError
from segmed.prompts.value import NO_POINT, PromptBatch, Prompts


@dataclass(frozen=True)
class ObjectPrompts:
    """The prompts of m objects on the network's grid.

    `image` says which image of the batch each object is in. Where `has_box` is False the box is 0; points that pad
    have label -1. `logits` are mask prompts on the mask grid, used where `has_logits`.
    """

    image: Int[Tensor, " m"]
    boxes: Float[Tensor, "m 4"]
    has_box: Bool[Tensor, " m"]
    points: Float[Tensor, "m p 2"]
    point_labels: Int[Tensor, "m p"]
    logits: Float[Tensor, "m gh gw"] | None
    has_logits: Bool[Tensor, " m"]

    def __len__(self) -> int:
        """The number of objects."""
        return len(self.image)

    @classmethod
    def of(cls, several: Sequence[Prompts], *, ask_all: bool = True) -> "ObjectPrompts":
        """From the prompts of each image of a batch, on the network's grid.

        An image without prompts is asked for one object without a prompt if `ask_all`, else for none. Raises
        `DataError` where mask prompts differ in size.
        """
        batch = PromptBatch.stack(several)
        asked = batch.objects
        if ask_all and len(several):
            batch, asked = _with_promptless(batch)
        owners, place = np.nonzero(asked)
        return cls(
            image=torch.from_numpy(owners),
            boxes=torch.from_numpy(batch.boxes[owners, place]).float(),
            has_box=torch.from_numpy(batch.has_box[owners, place]),
            points=torch.from_numpy(batch.points[owners, place]).float(),
            point_labels=torch.from_numpy(batch.point_labels[owners, place].astype(np.int64)),
            logits=None if batch.logits is None else torch.from_numpy(batch.logits[owners, place]),
            has_logits=torch.from_numpy(batch.has_logits[owners, place]),
        )

    @classmethod
    def none(cls, images: int, device: torch.device | None = None) -> "ObjectPrompts":
        """One object without any prompt in each of so many images."""
        return cls.of([Prompts()] * images).to(device or torch.device("cpu"))

    def to(self, device: torch.device) -> "ObjectPrompts":
        """The same on another device."""
        return self._each(lambda value: value.to(device))

    def __getitem__(self, rows: Int[Tensor, " n"]) -> "ObjectPrompts":
        """Some of the objects."""
        return self._each(lambda value: value[rows])

    def layouts(self) -> Iterator[Int[Tensor, " n"]]:
        """Rows that have the same kinds and numbers of tokens, and so go through the decoder together.

        SAM's attention has no mask for padding: decoding apart what differs keeps each object's mask its own.
        """
        counts = (self.point_labels >= 0).sum(dim=1)
        kind = counts * 2 + self.has_box
        for value in sorted(set(kind.tolist())):
            yield (kind == value).nonzero()[:, 0]

    @property
    def single_points(self) -> Bool[Tensor, " m"]:
        """Objects that are told by one point alone, without a box or a mask: which object is meant is ambiguous."""
        return ((self.point_labels >= 0).sum(dim=1) == 1) & ~self.has_box & ~self.has_logits

    @classmethod
    def concatenate(cls, several: Sequence["ObjectPrompts"]) -> "ObjectPrompts":
        """One after another; points are padded to the largest number. Mask prompts must be of one size."""
        most = max((prompts.points.shape[1] for prompts in several), default=0)
        padded = [prompts._padded(most) for prompts in several]
        return cls(
            image=torch.cat([each.image for each in padded]),
            boxes=torch.cat([each.boxes for each in padded]),
            has_box=torch.cat([each.has_box for each in padded]),
            points=torch.cat([each.points for each in padded]),
            point_labels=torch.cat([each.point_labels for each in padded]),
            logits=_joined_logits(padded),
            has_logits=torch.cat([each.has_logits for each in padded]),
        )

    def in_image(self, index: int) -> "ObjectPrompts":
        """The same objects, all in image `index` of a batch."""
        return replace(self, image=torch.full_like(self.image, index))

    def with_points(self, points: Float[Tensor, "m 2"], labels: Int[Tensor, " m"]) -> "ObjectPrompts":
        """The same objects with one further point each; none where its label is -1."""
        count: Tensor = (self.point_labels >= 0).sum(dim=1, keepdim=True)
        room = self._padded(self.points.shape[1] + 1)
        return replace(
            room,
            points=room.points.scatter(1, count[:, :, None].expand(-1, -1, 2), points[:, None]),
            point_labels=room.point_labels.scatter(1, count, labels[:, None]),
        )

    def with_logits(self, logits: Float[Tensor, "m gh gw"]) -> "ObjectPrompts":
        """The same objects with these mask prompts: the decoder's previous logits."""
        return replace(self, logits=logits.detach(), has_logits=torch.ones_like(self.has_logits))

    def require_images(self, images: int) -> None:
        """Raise `DataError` where an object is in none of so many images."""
        if len(self) and int(self.image.max()) >= images:
            raise DataError(
                f"Prompts name image {int(self.image.max())} of a batch of {images}. Give one Prompts per image."
            )

    def _padded(self, points: int) -> "ObjectPrompts":
        missing = points - self.points.shape[1]
        return replace(
            self,
            points=functional.pad(self.points, (0, 0, 0, missing)),
            point_labels=functional.pad(self.point_labels, (0, missing), value=NO_POINT),
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> "ObjectPrompts":
        tensors: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: None if each is None else change(each) for name, each in tensors.items()}
        return ObjectPrompts(**changed)


def _joined_logits(several: Sequence[ObjectPrompts]) -> Float[Tensor, "m gh gw"] | None:
    """The mask prompts of all, zero where an object has none; None where nobody has any."""
    given = [each.logits for each in several if each.logits is not None]
    if not given:
        return None
    cells = given[0].shape[1:]
    if any(logits.shape[1:] != cells for logits in given):
        raise DataError("Mask prompts that go together differ in size. Make them on one grid.")
    return torch.cat(
        [given[0].new_zeros((len(each), *cells)) if each.logits is None else each.logits for each in several]
    )


def _with_promptless(batch: PromptBatch) -> tuple[PromptBatch, Bool[np.ndarray, "b n"]]:
    """Room for an object in images that ask for none, and which objects are asked for then."""
    if batch.objects.shape[1] == 0:
        images = len(batch.objects)
        batch = PromptBatch(
            objects=np.zeros((images, 1), bool),
            boxes=np.zeros((images, 1, 4)),
            has_box=np.zeros((images, 1), bool),
            points=np.zeros((images, 1, 0, 2)),
            point_labels=np.zeros((images, 1, 0), np.int8),
            logits=None,
            has_logits=np.zeros((images, 1), bool),
        )
    asked = batch.objects.copy()
    asked[~asked.any(axis=1), 0] = True
    return batch, asked
