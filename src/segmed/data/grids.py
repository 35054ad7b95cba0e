"""The one rule for images that do not belong in one data set: other channels, other types, other sizes in a volume."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from segmed.core.records import SliceDataset, by_volume
from segmed.data.listing import Findings, require_no_errors_among


@dataclass(frozen=True)
class PixelFormat:
    """Of one stored image: height, width and channels, and the type of its pixels."""

    shape: tuple[int, int, int]
    dtype: str


def find_mixed(dataset: SliceDataset, grids: Mapping[str, PixelFormat], findings: Findings) -> None:
    """An error for each image with another number of channels or another type than most, and each volume whose slices
    differ in size; volumes in files of their own may be of different types. Slices that `grids` does not hold could not
    be read, and are left out.
    """
    _find_odd_ones(dataset, "channels", {slice_id: grid.shape[2] for slice_id, grid in grids.items()}, findings)
    alone = {record.slice_id for record in dataset.records if record.source is None}
    _find_odd_ones(
        dataset, "dtype", {slice_id: grid.dtype for slice_id, grid in grids.items() if slice_id in alone}, findings
    )
    for volume, records in by_volume(dataset.records).items():
        sizes = sorted({grids[record.slice_id].shape[:2] for record in records if record.slice_id in grids})
        if len(sizes) > 1:
            shown = ", ".join(f"{height}x{width}" for height, width in sizes)
            text = f"slices of different sizes ({shown}). Export the volume on one grid."
            findings.error("slice-size", volume, text)


def require_uniform(dataset: SliceDataset, grids: Mapping[str, PixelFormat]) -> None:
    """Raise `DataError` with the first thing that `find_mixed` finds: what `segmed data check` refuses, all refuse."""
    findings = Findings()
    find_mixed(dataset, grids, findings)
    require_no_errors_among(findings.found)


def _find_odd_ones(
    dataset: SliceDataset, what: str, value_of: Mapping[str, int] | Mapping[str, str], findings: Findings
) -> None:
    if len(set(value_of.values())) < 2:
        return
    usual = Counter(value_of.values()).most_common(1)[0][0]
    for record in {record.files: record for record in dataset.records}.values():
        value = value_of.get(record.slice_id, usual)
        if value != usual:
            text = f"{what} {value}, expected {usual} as in most images. Convert it."
            findings.error(what, record.image, text)
