"""Read every file of a data set, noting those that cannot be read and going on."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record
from segmed.data.check.measure import ImageMeasures, MaskMeasures, SliceMeasures, measure_image, measure_mask
from segmed.data.listing import Finding, Findings
from segmed.io import read_image, read_mask

Measures = TypeVar("Measures", ImageMeasures, MaskMeasures)
READERS = 4


def measure_all(
    records: Sequence[Record], labels: LabelMap, findings: Findings, progress: Progress | None
) -> list[SliceMeasures]:
    """Measure each record; files that cannot be read become errors in `findings`."""
    measured = []
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda record: _measure(record, labels), records)
        for slice_, faults in tracked(found, progress, total=len(records)):
            measured.append(slice_)
            findings.found.extend(faults)
    return measured


def _measure(record: Record, labels: LabelMap) -> tuple[SliceMeasures, list[Finding]]:
    faults = Findings()
    image = _attempt("bad-image", record.image, lambda path: measure_image(read_image(path).array), faults)
    mask = None
    if record.mask is not None:
        mask = _attempt("bad-mask", record.mask, lambda path: measure_mask(read_mask(path, labels).array), faults)
    return SliceMeasures(record, image, mask), faults.found


def _attempt(code: str, path: Path, measure: Callable[[Path], Measures], faults: Findings) -> Measures | None:
    try:
        return measure(path)
    except DataError as error:
        faults.error(code, path, str(error).removeprefix(f"{path}: "))
        return None
