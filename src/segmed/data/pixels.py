"""The pixels of a data set's slices, read from files of their own or cut from volumes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.image import require_same_grid
from segmed.core.records import Record, SliceDataset, VolumeFiles
from segmed.core.volume import Grid
from segmed.data.cutting import read_cut
from segmed.data.layouts.mask_reading import read_record_mask
from segmed.io import read_image

Pixels = tuple[Record, Shaped[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"] | None]
"""A slice with its image and, where it has one, its mask as labels."""


def read_pixels(dataset: SliceDataset, grids: dict[str, Grid]) -> Iterator[Pixels]:
    """The image and the mask of each record, in order; the grids of volumes are put into `grids` on the way.

    Raises `DataError` naming a file that is not as it should be, or a volume that was changed meanwhile.
    """

    def read(record: Record) -> Pixels:
        image = read_image(record.image)
        mask = read_record_mask(record, dataset.labels)
        if mask is not None:
            require_same_grid(image, mask, str(record.mask))
        return record, image.array, None if mask is None else mask.array

    chunk = 64
    with ThreadPoolExecutor(max_workers=4) as pool:
        for source, together in groupby(dataset.records, key=lambda record: record.source):
            records = list(together)
            if source is not None:
                yield from _of_volume(source, records, dataset, grids)
                continue
            for start in range(0, len(records), chunk):
                yield from pool.map(read, records[start : start + chunk])


def _of_volume(
    source: VolumeFiles, records: Sequence[Record], dataset: SliceDataset, grids: dict[str, Grid]
) -> Iterator[Pixels]:
    cut = read_cut(source, dataset.labels)
    if len(cut.images) != len(records):
        raise DataError(f"{source.images[0]}: was changed while it was read. Run again.")
    grids[source.name] = cut.grid
    for index, record in enumerate(records):
        yield record, cut.images[index], None if cut.masks is None else cut.masks[index]
