"""What the headers of NRRD and MetaImage say of the voxels, held against the file: ITK fills gaps or guesses.

References: NRRD 5 (teem.sourceforge.net/nrrd/format.html) and MetaIO (itk.org/Wiki/MetaIO/Documentation). Only what one
volume needs is taken: three axes, one number a voxel, in one file or a header with one file beside it.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segmed.core.errors import DataError
from segmed.core.volume import Shape

HEADER_BYTES = 2**20
"""A header is no longer than this."""
NRRD_FIELDS = frozenset(
    [
        "type",
        "dimension",
        "sizes",
        "space",
        "spacedimension",
        "spacedirections",
        "spaceorigin",
        "spaceunits",
        "spacings",
        "units",
        "kinds",
        "endian",
        "encoding",
        "lineskip",
        "byteskip",
        "datafile",
        "thicknesses",
        "axismins",
        "axismaxs",
        "centerings",
        "labels",
        "measurementframe",
        "content",
        "min",
        "max",
        "oldmin",
        "oldmax",
        "blocksize",
        "number",
        "sampleunits",
    ]
)
NRRD_PATIENT_SPACES = {
    "rightanteriorsuperior", "ras", "leftanteriorsuperior", "las", "leftposteriorsuperior", "lps",
}  # fmt: skip
NRRD_TYPES = {
    "int8": "signedchar int8 int8_t", "uint8": "uchar unsignedchar uint8 uint8_t",
    "int16": "short shortint signedshort signedshortint int16 int16_t",
    "uint16": "ushort unsignedshort unsignedshortint uint16 uint16_t", "int32": "int signedint int32 int32_t",
    "uint32": "uint unsignedint uint32 uint32_t",
    "int64": "longlong longlongint signedlonglong signedlonglongint int64 int64_t",
    "uint64": "ulonglong unsignedlonglong unsignedlonglongint uint64 uint64_t", "float32": "float", "float64": "double",
}  # fmt: skip
META_TYPES = {
    "MET_CHAR": "int8", "MET_UCHAR": "uint8", "MET_SHORT": "int16", "MET_USHORT": "uint16", "MET_INT": "int32",
    "MET_UINT": "uint32", "MET_LONG_LONG": "int64", "MET_ULONG_LONG": "uint64", "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}  # fmt: skip
META_PLACES = ({"TransformMatrix", "Rotation", "Orientation"}, {"Offset", "Position", "Origin"})
"""Keys of which one gives the axes, and one the place of the first voxel."""
META_DEFAULTS = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "ElementNumberOfChannels": "1", "HeaderSize": "0",
    "DistanceUnits": "mm", "ElementToIntensityFunctionSlope": "1", "ElementToIntensityFunctionOffset": "0",
}  # fmt: skip
"""Keys that may be missing, with the only value that is read."""

Packing = Literal["none", "gzip", "zlib"]


@dataclass(frozen=True)
class ItkHeader:
    """Where the voxels lie and how they are stored.

    Args:
        shape: (slices, rows, columns).
        dtype: With its byte order.
        packing: How they are compressed.
        data: The file that holds them.
        offset: Their first byte in it.
        placed: Whether the axes and the first voxel have places in the patient.
        spaced: Whether a spacing is stated.
    """

    shape: Shape
    dtype: np.dtype
    packing: Packing
    data: Path
    offset: int
    placed: bool
    spaced: bool

    @property
    def size(self) -> int:
        """Bytes of all voxels, decoded."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_nrrd_header(path: Path, head: bytes) -> ItkHeader:
    """The header of an NRRD file that begins with `head`."""
    found = re.search(rb"\r?\n\r?\n", head)
    end = len(head) if found is None else found.end()
    lines = _lines(path, head[: end if found is None else found.start()])[1:]
    fields = dict[str, str]()
    for line in lines:
        if line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(":")
        _put(path, fields, name.lower().replace(" ", ""), value.strip() if colon else None)
    if unknown := fields.keys() - NRRD_FIELDS:
        raise damaged_itk(path, f"it has the unknown field {min(unknown)!r}")
    if fields.get("dimension") != "3":
        raise _refused(path, f"{fields.get('dimension')} axes", "three: one volume of one number a voxel")
    for field in ("lineskip", "byteskip"):
        if fields.get(field, "0") != "0":
            raise _refused(path, f"{field} {fields[field]}", "voxels that begin after the header")
    units = {unit.strip('"') for key in ("spaceunits", "units") for unit in fields.get(key, "").split()}
    if units - {"mm", ""}:
        raise _refused(path, f"lengths in {', '.join(sorted(units))}", "mm")
    encoding = fields.get("encoding")
    if encoding not in ("raw", "gzip", "gz"):
        raise _refused(path, f"encoding {encoding}", "raw or gzip")
    kinds = {alias: name for name, aliases in NRRD_TYPES.items() for alias in aliases.split()}
    dtype = _dtype(path, fields.get("type"), kinds.get((fields.get("type") or "").lower().replace(" ", "")))
    if dtype.itemsize > 1:
        endian = fields.get("endian")
        if endian not in ("little", "big"):
            raise damaged_itk(path, "its byte order is not stated")
        dtype = dtype.newbyteorder("<" if endian == "little" else ">")
    if "datafile" not in fields and found is None:
        raise damaged_itk(path, "its header does not end")
    data, offset = (_beside(path, fields["datafile"]), 0) if "datafile" in fields else (path, end)
    placed = _plain(fields.get("space", "")) in NRRD_PATIENT_SPACES
    if placed and not {"spacedirections", "spaceorigin"} <= fields.keys():
        raise damaged_itk(path, "a space without directions or origin")
    return ItkHeader(
        _shape(path, fields.get("sizes")), dtype, "none" if encoding == "raw" else "gzip", data, offset, placed,
        placed or bool({"spacings", "spacedirections"} & fields.keys()),
    )  # fmt: skip


def read_meta_header(path: Path, head: bytes) -> ItkHeader:
    """The header of a MetaImage (.mha, .mhd) that begins with `head`."""
    found = re.search(rb"(?:^|\n)ElementDataFile *= *([^\r\n]+)(\r?\n|$)", head)
    if found is None:
        raise damaged_itk(path, "it does not say where its voxels lie (ElementDataFile)")
    fields = dict[str, str]()
    for line in _lines(path, head[: found.end()]):
        name, equals, value = line.partition("=")
        _put(path, fields, name.strip(), value.strip() if equals else None)
    for key, only in META_DEFAULTS.items():
        if (value := fields.get(key, only)) != only:
            raise _refused(path, f"{key} = {value}", only)
    axes, first = (bool(keys & fields.keys()) for keys in META_PLACES)
    if axes != first:
        raise damaged_itk(path, "axes without the place of the first voxel, or the reverse")
    dtype = _dtype(path, fields.get("ElementType"), META_TYPES.get(fields.get("ElementType", "")))
    orders = {"False": "<", "True": ">"}
    order = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB"))
    if dtype.itemsize > 1:
        if order not in orders:
            raise damaged_itk(path, "its byte order is not stated")
        dtype = dtype.newbyteorder("<" if order == "False" else ">")
    packed = fields.get("CompressedData", "False")
    if packed not in orders:
        raise damaged_itk(path, f"CompressedData = {packed}")
    local = fields["ElementDataFile"].upper() == "LOCAL"
    data, offset = (path, found.end()) if local else (_beside(path, fields["ElementDataFile"]), 0)
    spaced = bool({"ElementSpacing", "ElementSize"} & fields.keys())
    shape = _shape(path, fields.get("DimSize"))
    return ItkHeader(shape, dtype, "zlib" if packed == "True" else "none", data, offset, axes and spaced, spaced)


HEADER_READERS: Mapping[str, Callable[[Path, bytes], ItkHeader]] = {
    "NrrdImageIO": read_nrrd_header,
    "MetaImageIO": read_meta_header,
}
"""By ITK's name of the format."""


def is_nrrd(head: bytes) -> bool:
    """Whether a file begins like NRRD."""
    return re.match(rb"NRRD000\d\r?\n", head) is not None


def is_meta(head: bytes) -> bool:
    """Whether a file begins like a MetaImage."""
    return re.match(rb"(ObjectType|ObjectSubType|Comment|NDims) *=", head) is not None


def damaged_itk(path: Path, reason: str) -> DataError:
    """The error for a file whose header and voxels do not agree."""
    return DataError(f"{path}: damaged or truncated volume ({reason}). Copy or export it again.")


def _refused(path: Path, found: str, expected: str) -> DataError:
    return DataError(f"{path}: {found}, expected {expected}. Save it so.")


def _lines(path: Path, header: bytes) -> list[str]:
    try:
        return [line for line in header.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise damaged_itk(path, "its header is no text") from None


def _put(path: Path, fields: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        raise damaged_itk(path, f"a line of its header says nothing: {name[:40]!r}")
    if name in fields:
        raise damaged_itk(path, f"{name!r} is stated twice")
    fields[name] = value


def _shape(path: Path, text: str | None) -> Shape:
    sizes = re.fullmatch(r"(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})", text or "")
    if sizes is None or "0" in sizes.groups():
        raise damaged_itk(path, f"its size is {text!r}, expected three whole numbers")
    columns, rows, slices = (int(size) for size in sizes.groups())
    return slices, rows, columns


def _dtype(path: Path, name: str | None, known: str | None) -> np.dtype:
    if known is None:
        raise _refused(path, f"voxels of type {name}", f"one of {', '.join(META_TYPES.values())}")
    return np.dtype(known)


def _beside(path: Path, name: str) -> Path:
    """The file of voxels that a header names: one file in the header's own folder, never elsewhere."""
    if name.split()[0].upper() == "LIST" or "%" in name:
        raise _refused(path, "voxels in several files", "one file")
    if name in (".", "..") or re.search(r"[\\/\0]", name):
        raise _refused(path, f"voxels in {name!r}", "a file in the same folder")
    return path.parent / name


def _plain(text: str) -> str:
    return text.lower().replace("-", "").replace(" ", "")
