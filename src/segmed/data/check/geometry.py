"""Findings about where volumes lie: spacings and orientations, and the odd ones by name."""

from collections import Counter
from collections.abc import Mapping

from segmed.core.errors import DataError
from segmed.core.records import SliceDataset
from segmed.core.stacking import Plane, stacking
from segmed.core.volume import Grid
from segmed.data.listing import Findings
from segmed.io.volumes import read_grid

UNKNOWN = "unknown"


def stored_grids(dataset: SliceDataset) -> dict[str, Grid]:
    """The grid of the first file of each volume, by its name; those that cannot be read are left out."""
    grids: dict[str, Grid] = {}
    for record in dataset.records:
        if record.source is not None and record.volume not in grids:
            try:
                grids[record.volume] = read_grid(record.image, series=record.source.series)
            except DataError:
                continue  # an error of the listing already
    return grids


def spacings(grids: Mapping[str, Grid], plane: Plane) -> dict[str, str]:
    """The spacing of each volume as it is cut, in mm along slices, rows and columns, to three digits."""
    return {name: _spacing(stacking(grid, plane).apply_grid(grid)) for name, grid in grids.items()}


def orientations(grids: Mapping[str, Grid]) -> dict[str, str]:
    """Where slices, rows and columns of each file grow to, such as SPL."""
    return {name: grid.orientation or UNKNOWN for name, grid in grids.items()}


def check_geometry(grids: Mapping[str, Grid], plane: Plane, findings: Findings) -> None:
    """A note for each volume whose spacing is another than most have; a warning where slices run another way.

    The orientation of files is no fault, since all are cut in one, but slices across another axis are.
    """
    cut = {name: stacking(grid, plane).apply_grid(grid) for name, grid in grids.items()}
    planes = {name: (grid.orientation or UNKNOWN)[0] for name, grid in cut.items()}
    usual = Counter(planes.values()).most_common(1)[0][0] if planes else ""
    for name, across in planes.items():
        if across == "u":
            text = "says nothing of its place in the patient, so nothing of it is measured in mm. Export it anew."
            findings.warning("no-geometry", name, text)
        elif across != usual != "u":
            text = (
                f"its slices are {PLANES[across]}, most volumes' are {PLANES[usual]}. Choose one for all with "
                "preprocess.plane, and --plane of `segmed data split`."
            )
            findings.warning("plane", name, text)
    by_spacing = spacings(grids, plane)
    most = Counter(by_spacing.values()).most_common(1)[0][0] if by_spacing else ""
    for name, spacing in by_spacing.items():
        if spacing != most and spacing != UNKNOWN:
            findings.note("spacing", name, f"spacing {spacing}, most often it is {most}.")


PLANES = {"S": "axial", "P": "coronal", "L": "sagittal"}


def _spacing(grid: Grid) -> str:
    return UNKNOWN if grid.spacing is None else f"{' x '.join(f'{step:.3g}' for step in grid.spacing)} mm"
