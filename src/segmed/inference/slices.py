"""Slices of one patient as one value: those asked about, all that there are, and where each lies in the volume."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError, ModelError
from segmed.core.volumes import neighbour_indices

Images = Sequence[Shaped[np.ndarray, "..."]]
"""Slices as they were read, `h w c` or grey `h w` each; sizes may differ."""
Stack = tuple[Shaped[np.ndarray, "..."], ...]
"""A slice between its neighbours, below to above; alone where the network sees none."""


@dataclass(frozen=True, eq=False)
class PatientSlices:
    """What is asked about one patient. Where `images` are only some of the slices, give all of them as `whole`.

    Intensities are normalised by all slices, and neighbours are taken from them, as in training.
    """

    images: Images
    """The slices asked about."""
    positions: Sequence[int] | None = None
    """Where each of `images` lies in the patient's volume; consecutive by default where there is no `whole`."""
    whole: Images | None = None
    """All of the patient's slices, `images` among them; None where `images` are all that there are."""
    whole_positions: Sequence[int] | None = None
    """Where each of `whole` lies in the volume. Beside `whole` only 2.5D models need positions, then both."""

    def __post_init__(self) -> None:
        """Raises `DataError` where positions are not one for each slice."""
        for images, positions in ((self.images, self.positions), (self.whole, self.whole_positions)):
            if images and positions is not None and len(positions) != len(images):
                raise DataError(f"{len(positions)} positions for {len(images)} slices. Give one position per slice.")

    @classmethod
    def of(cls, slices: "PatientSlices | Images") -> "PatientSlices":
        """The value itself; of a plain sequence of images, all slices of a patient one after the other."""
        return slices if isinstance(slices, PatientSlices) else cls(slices)

    @property
    def everything(self) -> Images:
        """All slices that are known of the patient."""
        return self.whole or self.images

    def some(self, indices: Sequence[int]) -> "PatientSlices":
        """Those of `images` at `indices`, within the same volume."""
        full = self._within_whole()
        return replace(
            full,
            images=[full.images[index] for index in indices],
            positions=None if full.positions is None else [full.positions[index] for index in indices],
        )

    def channels_last(self) -> "PatientSlices":
        """All images as `h w c`; raises `ModelError` for one that is no slice."""
        return replace(
            self,
            images=[_channels_last(image) for image in self.images],
            whole=[_channels_last(image) for image in self.whole] if self.whole else None,
        )

    def stacks(self, reach: int) -> list[Stack]:
        """Each of `images` between its `reach` neighbours on either side, `2 reach + 1` slices of the whole volume.

        Raises `ModelError` where positions do not tell a slice's neighbours, `DataError` where two slices share one.
        """
        if not reach:
            return [(image,) for image in self.images]
        full = self._within_whole()
        whole, positions, whole_positions = full.everything, full.positions, full.whole_positions
        if positions is None or whole_positions is None:
            raise ModelError("A 2.5D model needs the positions of the slices in their volume. Give both positions.")
        order = sorted(range(len(whole)), key=lambda index: whole_positions[index])
        near = neighbour_indices([whole_positions[index] for index in order], reach)
        found = {whole_positions[order[index]]: indices for index, indices in enumerate(near)}
        if any(position not in found for position in positions):
            raise ModelError("A slice's position is not in its whole volume. Give all of the patient's slices.")
        return [tuple(whole[order[index]] for index in found[position]) for position in positions]

    def _within_whole(self) -> "PatientSlices":
        """The same with `whole` filled in: where it was not given, the images themselves are the volume."""
        if self.whole:
            return self
        positions = self.positions or range(len(self.images))
        return replace(self, positions=positions, whole=self.images, whole_positions=positions)


def _channels_last(image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w c"]:
    if image.ndim not in (2, 3):
        raise ModelError(f"An image is height x width x channels, got shape {image.shape}. Give one slice at a time.")
    return image[..., None] if image.ndim == 2 else image
