"""`segmed data convert`: volumes and masks from one format to another, and what was understood of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.messages import say, warn
from segmed.cli.options import OverwriteOption
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.core.label_volume import LabelVolume
    from segmed.core.volume import Volume


def convert(
    path: Annotated[Path, typer.Argument(help="A volume or mask, or a folder with a DICOM series.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Ends in .nii.gz, .nii, .nrrd, .mha, .ome.tif, seg.dcm or rtstruct.dcm.")
    ],
    source: Annotated[
        Path | None, typer.Option(help="The image that a mask belongs to, on whose grid it is put.")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="DICOM series, of a mask its image's: its number or a file's name.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="Take only this segment or structure, by name or number. Repeatable.")
    ] = None,
    names: Annotated[str | None, typer.Option(help="Names of a mask's labels in order, such as oedema,core.")] = None,
    mask: Annotated[bool, typer.Option("--mask", help="The input is a mask: whole numbers are required.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert a volume or mask to another format, and say what was understood of it.

    Nothing is resampled: voxels keep their values and their places in the patient. DICOM masks carry the patient and
    the study of their images, as the standard wants.
    """
    import warnings

    from segmed.core.files import require_new
    from segmed.core.label_volume import LabelVolume
    from segmed.io.converting import read_any, read_source, require_writable, write_any

    require_new(out, overwrite=overwrite)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = None if source is None else read_source(source, series)
        require_writable(out, has_series=image is not None and image.series is not None)
        found = read_any(
            path, source=image, series=None if source else series, segments=segment or (), mask=mask or bool(names)
        )
        if names:
            assert isinstance(found, LabelVolume)  # naming labels takes a volume for a mask
            found = found.named([name.strip() for name in names.split(",")])
        _describe(found)
        write_any(out, found, image)
    for text in dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, UserWarning)):
        warn(text)
    say(out)


def _describe(found: "Volume | LabelVolume") -> None:
    """Grid, type and range of a volume; of a mask, each label with its voxels and volume."""
    import numpy as np

    from segmed.core.label_volume import LabelVolume

    volume = found.volume if isinstance(found, LabelVolume) else found
    grid = volume.grid
    say(f"grid: {grid}", err=True)
    if grid.has_geometry and not grid.is_orthogonal:
        say("axes: not perpendicular", err=True)
    say(f"values: {volume.array.dtype}, {volume.array.min():g} to {volume.array.max():g}", err=True)
    if not isinstance(found, LabelVolume):
        return
    millilitres = None if grid.affine is None else abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000
    for label in sorted(found.labels, key=lambda label: label.value):
        count = int(np.count_nonzero(volume.array == label.value))
        size = "" if millilitres is None else f", {count * millilitres:.4g} ml"
        say(f"label {label.value}, {label.name}: {plural(count, 'voxel')}{size}", err=True)
