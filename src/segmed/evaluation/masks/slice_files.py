"""Masks of a data set's slices as files for the referee: a volume with its grid, or an image of one slice."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segmed.core.image import Geometry, Mask
from segmed.core.labels import LabelMap
from segmed.core.records import Record
from segmed.core.volume import Volume
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.masks.labels import LabelNumbers
from segmed.io import write_mask
from segmed.io.volumes import write_volume


def numbers_of(decoded: DecodedDataset) -> LabelNumbers:
    """The numbers of a data set's labels in the files written here: 1 … K."""
    return LabelNumbers(
        {label: number for number, label in enumerate(decoded.dataset.labels.names, start=1)}, "the data set"
    )


def write_slices(
    path: Path,
    masks: Mapping[str, UInt8[np.ndarray, "_h _w"]],
    records: Sequence[Record],
    decoded: DecodedDataset,
    *,
    as_volume: bool = True,
) -> Path:
    """Write the masks of the slices of one volume of known grid, or of one slice as an image.

    Args:
        path: Where to, without a suffix.
        masks: Labels 0 … K of each slice by its id.
        records: All slices of the volume in order, or one slice.
        decoded: The data that they are of.
        as_volume: Whether they are written as a volume.

    Returns:
        The file that was written.
    """
    if as_volume:
        grid = decoded.grid(records[0].volume)
        assert grid is not None
        volume = path.with_name(f"{path.name}.nii")
        write_volume(volume, Volume(np.stack([masks[record.slice_id] for record in records]), grid))
        return volume
    (record,) = records
    names = decoded.dataset.labels.names
    image, mask = path.with_name(f"{path.name}.png"), masks[record.slice_id]
    write_mask(image, Mask(mask, Geometry(mask.shape)), LabelMap(names, tuple(range(len(names) + 1))))
    return image
