"""Read every file of a data set, noting those that cannot be read and going on."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record, VolumeFiles
from segmed.data.check.measure import ImageMeasures, MaskMeasures, SliceMeasures, measure_image, measure_mask
from segmed.data.cutting import CutVolume, GridError, read_cut
from segmed.data.layouts.mask_reading import read_record_mask
from segmed.data.listing import Finding, Findings
from segmed.io import read_image

Measures = TypeVar("Measures", ImageMeasures, MaskMeasures)
READERS = 4
_Measured = tuple[SliceMeasures, list[Finding]]


def measure_all(
    records: Sequence[Record], labels: LabelMap, findings: Findings, progress: Progress | None
) -> list[SliceMeasures]:
    """Measure each record; files that cannot be read become errors in `findings`."""
    measured = []
    with ThreadPoolExecutor(READERS) as pool:
        for slice_, faults in tracked(_measured(pool, records, labels), progress, total=len(records)):
            measured.append(slice_)
            findings.found.extend(faults)
    return measured


def _measured(pool: ThreadPoolExecutor, records: Sequence[Record], labels: LabelMap) -> Iterator[_Measured]:
    """Each record's measures, in order, slices of volumes volume by volume."""
    for source, together in groupby(records, key=lambda record: record.source):
        if source is None:
            yield from pool.map(lambda record: _measure(record, labels), together)
        else:
            yield from _measure_volume(source, list(together), labels)


def _measure_volume(source: VolumeFiles, records: Sequence[Record], labels: LabelMap) -> Iterator[_Measured]:
    """The slices of a volume; what is wrong with its files, or was done to bring them together, goes with the first."""
    faults = Findings()
    cut: CutVolume | None = None
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            cut = read_cut(source, labels)
    except DataError as error:
        path = next((path for path in source.files if str(error).startswith(f"{path}: ")), source.images[0])
        code = "geometry" if isinstance(error, GridError) else "bad-mask" if path == source.mask else "bad-image"
        faults.error(code, path, str(error).removeprefix(f"{path}: "))
    for warning in raised:
        path = next((path for path in source.files if str(warning.message).startswith(f"{path}: ")), source.images[0])
        faults.warning("geometry", path, str(warning.message).removeprefix(f"{path}: "))
    for index, record in enumerate(records):
        image = None if cut is None else measure_image(cut.images[index])
        mask = None if cut is None or cut.masks is None else measure_mask(cut.masks[index])
        yield SliceMeasures(record, image, mask), faults.found if index == 0 else []


def _measure(record: Record, labels: LabelMap) -> _Measured:
    faults = Findings()
    image = _attempt("bad-image", record.image, lambda path: measure_image(read_image(path).array), faults)
    mask = None
    if record.mask is not None:
        mask = _attempt("bad-mask", record.mask, lambda _: measure_mask(_mask_of(record, labels)), faults)
    return SliceMeasures(record, image, mask), faults.found


def _mask_of(record: Record, labels: LabelMap) -> UInt8[np.ndarray, "h w"]:
    mask = read_record_mask(record, labels)
    assert mask is not None
    return mask.array


def _attempt(code: str, path: Path, measure: Callable[[Path], Measures], faults: Findings) -> Measures | None:
    try:
        return measure(path)
    except DataError as error:
        faults.error(code, path, str(error).removeprefix(f"{path}: "))
        return None
