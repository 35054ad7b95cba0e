"""TIFF stacks as volumes: a page a slice, with the spacing that ImageJ or OME state; TIFF places no patient."""

import math
import re
import warnings
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from jaxtyping import Shaped
from tifffile import PHOTOMETRIC

from segmed.core.errors import DataError
from segmed.core.volume import Grid, Triple, Volume
from segmed.core.wording import plural
from segmed.io.refusals import damaged
from segmed.io.tiff_checks import places_of, require_sound
from segmed.io.voxels import require_finite, require_moderate_volume, storable

UNITS = {
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0, "nm": 1e-6, "inch": 25.4, "in": 25.4,
    **dict.fromkeys(("um", "µm", "μm", "\\u00B5m", "\\u00b5m", "micron", "microns", "micrometer"), 1e-3),
}  # fmt: skip
"""Millimetres in each unit of length; others, such as pixels, state no spacing."""


def read_tiff_stack(path: Path) -> Volume:
    """Read a TIFF of one or more grey pages as slices, first to last.

    Raises:
        DataError: Channels, time points, colours, pages of mixed sizes, slices in other files, or what is damaged.
    """
    try:
        with tifffile.TiffFile(path, is_ome=False) as file:  # OME's tags may name other files
            return _read(path, file)
    except (DataError, OSError):
        raise
    except Exception as error:  # a damaged file makes the decoders raise anything
        raise damaged(path, "TIFF", error) from error


def write_tiff_stack(path: Path, volume: Volume) -> None:
    """Write OME-TIFF with the spacing in mm; the place in the patient is not kept, which is warned of."""
    array = storable(path, volume.array)
    if volume.grid.has_geometry:
        warnings.warn("TIFF keeps the spacing of a volume, but not its place in the patient.", stacklevel=4)
    sizes = dict[str, object]()
    for letter, step in zip("ZYX", volume.grid.spacing or (), strict=False):
        sizes |= {f"PhysicalSize{letter}": step, f"PhysicalSize{letter}Unit": "mm"}
    tifffile.imwrite(
        path, array, ome=True, photometric="minisblack", compression="zlib", metadata={"axes": "ZYX", **sizes}
    )


def _read(path: Path, file: tifffile.TiffFile) -> Volume:
    pages = [page.aspage() if isinstance(page, tifffile.TiffFrame) else page for page in file.pages]
    first = pages[0]
    for page in pages:
        if page.axes != "YX" or page.photometric != PHOTOMETRIC.MINISBLACK or page.dtype is None:
            raise DataError(f"{path}: a TIFF in colours or with channels, expected grey slices. Convert it.")
        if page.shape != first.shape or page.dtype != first.dtype:
            raise DataError(f"{path}: pages of mixed sizes or types, expected slices of one. Separate them.")
    images = sum(math.prod(series.shape) for series in file.series) // math.prod(first.shape)
    require_moderate_volume(path, (max(len(pages), images), *first.shape), first.dtype.itemsize)
    data = path.read_bytes()
    for page in pages:
        require_sound(path, page, data, several=page is not pages[-1])
    places = sorted(place for page in pages for place in places_of(path, page))
    if any(end > start for (_, end), (start, _) in pairwise(places)):
        raise damaged(path, "TIFF", ValueError("pages share their pixels"))
    text = str(first.description or "")
    count, spacing = _imagej(path, first, text) if text.startswith("ImageJ=") else _ome(path, text)
    count = count or images
    if count == len(pages) == images or count == len(pages):
        array = np.stack([page.asarray() for page in pages])
    elif len(pages) == 1 and images == count:
        array = _behind_one_page(path, first, count, data)
    else:
        raise DataError(
            f"{path}: {plural(len(pages), 'page')} where its text says {count}: cut off, or slices in other files, "
            "expected a slice per page in one file. Save it anew."
        )
    require_finite(path, array)
    return Volume(array.astype(array.dtype.newbyteorder("="), copy=False), Grid(array.shape, spacing=spacing))


def _behind_one_page(
    path: Path, page: tifffile.TiffPage, count: int, data: bytes
) -> Shaped[np.ndarray, "slices rows columns"]:
    """Slices that follow the first one, uncompressed, without pages of their own, as ImageJ and tifffile write them."""
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    size = count * math.prod(page.shape) * dtype.itemsize
    start = page.dataoffsets[0]
    if page.compression != 1 or not page.is_contiguous or start + size > len(data):
        raise damaged(path, "TIFF", ValueError(f"{count} slices do not lie behind its page"))
    return np.frombuffer(data, dtype, count * math.prod(page.shape), start).reshape(count, *page.shape)


def _imagej(path: Path, page: tifffile.TiffPage, text: str) -> tuple[int | None, Triple | None]:
    """The number of slices, and the spacing, by ImageJ's text and the resolution of the page."""
    stated = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    for name in ("channels", "frames"):
        if int(stated.get(name, 1)) > 1:
            what = "time points" if name == "frames" else name
            raise DataError(
                f"{path}: {stated[name]} {what}, expected one volume. Save each as a file of its own; where they are "
                "slices, say so in ImageJ (Image > Properties)."
            )
    count = int(stated["images"]) if "images" in stated else None
    between = float(stated.get("spacing", "nan"))
    found = [between, *(_pixels(page, name) for name in ("YResolution", "XResolution"))]
    width = stated.get("unit", "")  # rows and slices have a unit of their own where it is another
    units = [UNITS.get(stated.get(name, width).strip(), math.nan) for name in ("zunit", "yunit", "unit")]
    slices, rows, columns = (abs(step) * unit for step, unit in zip(found, units, strict=True))
    known = all(math.isfinite(step) and step > 0 for step in (slices, rows, columns))
    return count, (slices, rows, columns) if known else None


def _pixels(page: tifffile.TiffPage, name: str) -> float:
    """The size of a pixel in the unit of the text; NaN where it is not stated."""
    tag = page.tags.get(name)
    above, below = (0, 0) if tag is None else tag.value
    return below / above if above else math.nan


def _ome(path: Path, text: str) -> tuple[int | None, Triple | None]:
    """The number of slices, and the spacing, by OME's text; neither in other files."""
    if not re.match(r"\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)?<(\w+:)?OME\b", text, re.DOTALL):
        return None, None
    pixels = [each for each in ElementTree.fromstring(text.encode()).iter() if each.tag.endswith("}Pixels")]
    if len(pixels) != 1:
        raise DataError(f"{path}: {plural(len(pixels), 'image')} in one OME file, expected one. Save each as its own.")
    stated = pixels[0].attrib
    for letter, what in (("C", "channels"), ("T", "time points")):
        if int(stated.get(f"Size{letter}", 1)) > 1:
            raise DataError(
                f"{path}: {stated[f'Size{letter}']} {what}, expected one volume. Save each as a file of its own."
            )
    steps = list[float]()
    for letter in "ZYX":
        size, unit = stated.get(f"PhysicalSize{letter}"), UNITS.get(stated.get(f"PhysicalSize{letter}Unit", "µm"))
        if size is None or unit is None:
            return int(stated["SizeZ"]), None
        steps.append(float(size) * unit)
    return int(stated["SizeZ"]), (steps[0], steps[1], steps[2])
