"""Pixels of DICOM files, every one of them there, decoded by pydicom and the plug-ins of the extra `dicom`."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError
from segmed.core.optional import optional_import
from segmed.io.dicom.frames import Frame
from segmed.io.dicom.headers import NEEDS, Dataset, damaged_dicom, privately, read_header
from segmed.io.voxels import require_finite, require_moderate_volume, scaled


def voxels_of(frames: Sequence[Frame], name: Path) -> Shaped[np.ndarray, "slices rows columns"]:
    """The values of slices, stacked as given: stored numbers times slope plus intercept.

    Integers scaled alike by whole numbers stay integers; slices that are scaled each by its own give 32-bit floats.

    Raises:
        DataError: Pixels that are damaged, cut off, or compressed as no installed plug-in decodes.
    """
    rows, columns, allocated, _, signed = frames[0].stored
    shape = (len(frames), rows, columns)
    require_moderate_volume(name, shape, max(allocated, 16) // 8)
    array = np.empty(shape, f"{'i' if signed else 'u'}{max(allocated // 8, 1)}")
    numbered = sorted(enumerate(frames), key=lambda each: (each[1].file, each[1].number))
    for path, several in groupby(numbered, key=lambda each: each[1].file):
        wanted = list(several)
        pixels = privately(path, partial(_pixels_in, path))
        for place, frame in wanted:
            if frame.number >= len(pixels) or pixels[frame.number].shape != shape[1:]:
                raise damaged_dicom(path, "its pixels are not those of its header")
            array[place] = _trimmed(path, pixels[frame.number], frame)
    scalings = {frame.scaling for frame in frames}
    if len(scalings) > 1:
        found = np.empty(shape, np.float32)
        for place, frame in enumerate(frames):
            found[place] = array[place].astype(np.float64) * frame.scaling[0] + frame.scaling[1]
    else:
        (scaling,) = scalings
        found = array if scaling == (1, 0) else scaled(array, *scaling)
    require_finite(name, found)
    return found


def _pixels_in(path: Path) -> Shaped[np.ndarray, "frames rows columns"]:
    return pixels_of(path, read_header(path, pixels=True))


def pixels_of(path: Path, dataset: Dataset) -> Shaped[np.ndarray, "frames rows columns"]:
    """All frames of a file as stored, without colours turned; call it `privately`."""
    if "PixelData" not in dataset:
        found = "floats" if {"FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()) else "none"
        raise DataError(f"{path}: no pixels in integers ({found} found): cut off, or no image. Copy it again.")
    uids = optional_import("pydicom.uid", extra="dicom", purpose=NEEDS)
    decoding = optional_import("pydicom.pixels", extra="dicom", purpose=NEEDS)
    meta = getattr(dataset, "file_meta", None)
    if meta is None or "TransferSyntaxUID" not in meta:
        dataset.ensure_file_meta()
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            (uids.ImplicitVRLittleEndian if implicit else uids.ExplicitVRLittleEndian)
            if little
            else uids.ExplicitVRBigEndian
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    frames = int(dataset.get("NumberOfFrames") or 1)
    shape, allocated = (frames, int(dataset.Rows), int(dataset.Columns)), int(dataset.BitsAllocated)
    require_moderate_volume(path, shape, allocated // 8 or 1)
    if not syntax.is_encapsulated:
        size, needed = len(dataset.PixelData), -(-math.prod(shape) * allocated // 8)
        if size not in (needed, needed + needed % 2):
            raise damaged_dicom(path, f"{size} bytes of pixels where its header says {needed}")
    elif not decoding.get_decoder(syntax).is_available:
        raise DataError(
            f"{path}: compressed as {syntax.name}, which nothing here decodes. Install the plug-ins with: pip install "
            '"segmed-torch[dicom]"'
        )
    found = decoding.pixel_array(dataset, raw=True)
    return found if found.ndim == 3 else found[None]


def _trimmed(path: Path, pixels: Shaped[np.ndarray, "h w"], frame: Frame) -> Shaped[np.ndarray, "h w"]:
    """Pixels in the stored bits only: those above may hold an overlay, and a sign is in the highest of them."""
    _, _, allocated, bits, signed = frame.stored
    if pixels.dtype.kind not in "iu":
        raise damaged_dicom(path, "its pixels are no integers")
    if bits == allocated:
        return pixels
    wide = pixels.astype(np.int64) & ((1 << bits) - 1)
    return np.where(wide >> (bits - 1), wide - (1 << bits), wide) if signed else wide
