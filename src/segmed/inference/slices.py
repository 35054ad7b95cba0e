"""Slices of one patient as one value: those asked about, all that there are, and where each lies in the volume."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, Shaped

from segmed.core.errors import DataError, ModelError
from segmed.core.image import Image, PixelSpacing
from segmed.core.slice_neighbours import neighbour_indices

Images = Sequence[Shaped[np.ndarray, "..."]] | Shaped[np.ndarray, "..."]
"""Slices as they were read, `h w c` or grey `h w` each, whose sizes may differ; or a volume as one array, slices
first: `d h w c` or grey `d h w`."""
ReadImages = Sequence[Shaped[np.ndarray, "..."] | Image] | Shaped[np.ndarray, "..."]
"""The same, or slices as `read_image` gives them."""
Positions = Sequence[int] | Int[np.ndarray, " _d"]
"""Places of slices in their volume, as a sequence or an array."""
Stack = tuple[Shaped[np.ndarray, "..."], ...]
"""A slice between its neighbours, below to above; alone where the network sees none."""


@dataclass(frozen=True, eq=False)
class PatientSlices:
    """What is asked about one patient. Where `images` are only some of the slices, give all of them as `whole`.

    Intensities are normalised by all slices, and neighbours are taken from them, as in training. Arrays become lists
    of their slices.

    Example:
        >>> volume = np.zeros((9, 48, 40), np.uint8)
        >>> middle = PatientSlices(volume[4:5], positions=[4], whole=volume, whole_positions=range(9))
        >>> len(middle.images), len(middle.everything)
        (1, 9)
    """

    images: Images
    """The slices asked about."""
    positions: Positions | None = None
    """Where each of `images` lies in the patient's volume; consecutive by default where there is no `whole`."""
    whole: Images | None = None
    """All of the patient's slices, `images` among them; None where `images` are all that there are."""
    whole_positions: Positions | None = None
    """Where each of `whole` lies in the volume. Beside `whole` only 2.5D models need positions, then both."""
    spacing: PixelSpacing | None = None
    """Millimetres per pixel of all slices, rows and columns; only runs with `preprocess.spacing` need it."""

    def __post_init__(self) -> None:
        """Raises `DataError` where positions are not one for each slice, and for an array that is no volume."""
        for images, positions in (("images", "positions"), ("whole", "whole_positions")):
            if isinstance(getattr(self, images), np.ndarray):
                object.__setattr__(self, images, _slices_of(getattr(self, images)))
            if isinstance(getattr(self, positions), np.ndarray):
                object.__setattr__(self, positions, getattr(self, positions).tolist())
        for given, places in ((self.images, self.positions), (self.whole, self.whole_positions)):
            if given is not None and len(given) and places is not None and len(places) != len(given):
                raise DataError(f"{len(places)} positions for {len(given)} slices. Give one position per slice.")

    @classmethod
    def of(cls, slices: "PatientSlices | ReadImages") -> "PatientSlices":
        """The value itself; of a plain sequence of images, all slices of a patient one after the other.

        Those that were read by `read_image` bring their spacing, where they share one.
        """
        if isinstance(slices, PatientSlices):
            return slices
        if isinstance(slices, np.ndarray):
            return cls(slices)
        spacings = {each.geometry.spacing for each in slices if isinstance(each, Image)}
        arrays = [each.array if isinstance(each, Image) else each for each in slices]
        return cls(arrays, spacing=spacings.pop() if len(spacings) == 1 else None)

    @property
    def everything(self) -> Sequence[Shaped[np.ndarray, "..."]]:
        """All slices that are known of the patient."""
        known = self.images if self.whole is None or not len(self.whole) else self.whole
        return list(known) if isinstance(known, np.ndarray) else known

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
        positions = range(len(self.images)) if self.positions is None else self.positions
        return replace(self, positions=positions, whole=self.images, whole_positions=positions)


def _slices_of(volume: Shaped[np.ndarray, "..."]) -> list[Shaped[np.ndarray, "..."]]:
    if volume.ndim not in (3, 4):
        raise DataError(
            f"A volume is slices x height x width, with or without channels behind, got shape {volume.shape}. Give one "
            "image to predict, several to predict_volume."
        )
    return list(volume)


def _channels_last(image: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "h w c"]:
    if image.ndim not in (2, 3):
        raise ModelError(f"An image is height x width x channels, got shape {image.shape}. Give one slice at a time.")
    return image[..., None] if image.ndim == 2 else image
