"""A data set decoded once: every pixel in one memory-mapped, checksummed file, so that training never waits for files.

The cache is rebuilt when a file, its size or its time changed, or the labels did; each slice is checked against its
checksum when first read. Other states of the data are removed once nobody has opened them for a day. The folder is
`SEGMED_CACHE`, or the user's cache folder.
"""

import glob
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
from jaxtyping import Shaped, UInt8

from segmed.core.errors import DataError
from segmed.core.files import write_json
from segmed.core.former_names import formerly
from segmed.core.image import PixelSpacing
from segmed.core.progress import Progress, tracked
from segmed.core.reading import read_json
from segmed.core.records import SliceDataset
from segmed.core.volume import Grid
from segmed.data.grids import PixelFormat, require_uniform
from segmed.data.layouts.lgg import is_lgg
from segmed.data.listing import stated_orders
from segmed.data.pixels import read_pixels
from segmed.data.signature import signature_of
from segmed.data.sources import LAYOUTS
from segmed.io.gzipped import crc32

FORMAT = 1
LONGEST = 200
"""Bytes that a data set's name may take of its folder's in the cache; file systems allow 255 in all."""

ABANDONED = 86_400.0
"""Seconds after which a state that nobody has opened, or a build that has not ended, is removed."""


def cache_root() -> Path:
    """Where SegMed keeps what it can make again: `$SEGMED_CACHE`, else the platform's cache folder."""
    configured = os.environ.get("SEGMED_CACHE")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir("segmed"))


@dataclass(frozen=True)
class _Entry:
    offset: int
    shape: tuple[int, int, int]
    dtype: str
    has_mask: bool
    crc32: int
    sha256: str

    def __post_init__(self) -> None:
        try:
            known = np.dtype(self.dtype).kind in "uif"
        except (TypeError, ValueError, SyntaxError):
            known = False
        if not known or min(self.offset, *self.shape) < 0 or max(self.offset, *self.shape) > 2**48:
            raise DataError(f"no pixels lie at {self.offset} with shape {self.shape} and type {self.dtype[:20]!r}.")

    @property
    def image_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def total_bytes(self) -> int:
        return self.image_bytes + (self.shape[0] * self.shape[1] if self.has_mask else 0)


@dataclass(frozen=True)
class _StoredGrid:
    """A `core.volume.Grid` as JSON has it."""

    shape: tuple[int, int, int]
    affine: list[list[float]] | None
    spacing: tuple[float, float, float] | None

    @classmethod
    def of(cls, grid: Grid) -> "_StoredGrid":
        return cls(grid.shape, None if grid.affine is None else grid.affine.tolist(), grid.spacing)

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, None if self.affine is None else np.array(self.affine), self.spacing)


@dataclass(frozen=True)
class _Index:
    """What `index.json` holds: what the pixels were read from, how many bytes they have, and where each slice lies.

    `grids` are those of volumes with files of their own, as they are cut.
    """

    signature: str
    bytes: int
    data_hash: str
    slices: Annotated[dict[str, _Entry], formerly("slices")]
    grids: dict[str, _StoredGrid] = field(default_factory=dict)


_MAKE_AGAIN = "Delete {} and run again."


class DecodedDataset:
    """Images and masks of a `SliceDataset`, read from the cache by slice id."""

    def __init__(self, dataset: SliceDataset, folder: Path) -> None:
        index = _read_index(folder)
        self.dataset = dataset
        self.data_hash = index.data_hash
        self._entries = index.slices
        if lacking := [record.slice_id for record in dataset.records if record.slice_id not in self._entries]:
            raise DataError(f"{folder / 'index.json'}: has no slice {lacking[0]}. {_MAKE_AGAIN.format(folder)}")
        self._grids = {name: stored.grid for name, stored in index.grids.items()}
        try:
            self._pixels = np.memmap(folder / "pixels.bin", np.uint8, mode="r")
        except (OSError, ValueError) as error:  # a value error is of an empty file
            raise DataError(
                f"{folder / 'pixels.bin'}: cannot be read ({error}). {_MAKE_AGAIN.format(folder)}"
            ) from error
        self._checked: set[str] = set()
        self._folder = folder
        with suppress(OSError):  # a cache that others made may be read-only
            os.utime(folder)

    def image(self, slice_id: str) -> Shaped[np.ndarray, "h w c"]:
        """The image of a slice, `h w c`, in the dtype of its file; read-only."""
        entry, block = self._block(slice_id)
        return block[: entry.image_bytes].view(entry.dtype).reshape(entry.shape)

    def mask(self, slice_id: str) -> UInt8[np.ndarray, "h w"]:
        """The mask of a slice as labels 0 … K; read-only. Raises `DataError` where the slice has none."""
        entry, block = self._block(slice_id)
        if not entry.has_mask:
            raise DataError(
                f"{slice_id}: has no mask, and this step needs one. Add it or leave the slice out of the split."
            )
        return block[entry.image_bytes :].reshape(entry.shape[:2])

    @property
    def in_colour(self) -> bool:
        """Whether images are pictures in colour: three 8-bit channels in PNG, JPEG or TIFF files, and not LGG's.

        No file says that its channels are sequences of their own. LGG's are, and so are those of NPY and NPZ files.
        """
        record = self.dataset.records[0]
        entry = self._entries[record.slice_id]
        is_picture = record.image.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff")
        return is_picture and np.dtype(entry.dtype) == np.uint8 and entry.shape[2] == 3 and not is_lgg(self.dataset)

    @property
    def bytes(self) -> int:
        """Size of the decoded pixels on disk."""
        return int(self._pixels.size)

    def has_mask(self, slice_id: str) -> bool:
        """Whether the slice has a reference mask."""
        return self._entries[slice_id].has_mask

    def shape(self, slice_id: str) -> tuple[int, int, int]:
        """Height, width and channels of a slice, without reading its pixels."""
        return self._entries[slice_id].shape

    @property
    def formats(self) -> dict[str, PixelFormat]:
        """Shape and type of every slice's image, without reading its pixels."""
        return {
            slice_id: PixelFormat(entry.shape, str(np.dtype(entry.dtype))) for slice_id, entry in self._entries.items()
        }

    def grid(self, volume: str) -> Grid | None:
        """Where the slices of a volume lie, as they are cut: slices, rows, columns; None where no file says anything.

        Distances are in mm where its `spacing` is known, and in pixels else.
        """
        return self._grids.get(volume)

    def pixel_spacing(self, volume: str) -> PixelSpacing | None:
        """Millimetres per pixel of the slices of a volume, rows and columns; None where no file states them."""
        grid = self._grids.get(volume)
        return None if grid is None else grid.pixel_spacing

    def spacing(self, slice_id: str) -> PixelSpacing | None:
        """`pixel_spacing` of the volume that a slice is of."""
        return self.pixel_spacing(self.dataset.by_slice_id()[slice_id].volume)

    def dtype(self, slice_id: str) -> str:
        """The type of a slice's pixels, without reading them."""
        return self._entries[slice_id].dtype

    def __reduce__(self) -> tuple[type["DecodedDataset"], tuple[SliceDataset, Path]]:
        """Pickle as the folder, so that loader processes map the same file."""
        return DecodedDataset, (self.dataset, self._folder)

    def _block(self, slice_id: str) -> tuple[_Entry, UInt8[np.ndarray, " bytes"]]:
        if slice_id not in self._entries:
            raise DataError(f"{slice_id}: not in the data set {self.dataset.name}. Check that the split belongs to it.")
        entry = self._entries[slice_id]
        block = np.asarray(self._pixels[entry.offset : entry.offset + entry.total_bytes])
        if slice_id not in self._checked:
            if len(block) != entry.total_bytes or crc32(block.data) != entry.crc32:
                raise DataError(f"{slice_id}: the decoded copy is damaged. Delete {self._folder} and run again.")
            self._checked.add(slice_id)
        return entry, block


def decode(dataset: SliceDataset, *, cache_dir: Path | None = None, progress: Progress | None = None) -> DecodedDataset:
    """Decode every file of `dataset`, or reuse what was decoded before if nothing changed.

    Args:
        dataset: What `open_dataset` listed.
        cache_dir: Replaces the folder of `cache_root`.
        progress: Called as files are read, with how many are done and how many there are.

    Returns:
        Images and masks by slice id, in memory that is mapped from one file.

    Raises:
        DataError: A file that is not as it should be; the cache then stays as it was. Also where images do not belong
            in one data set, see `grids.find_mixed`.

    Example:
        >>> decoded = segmed.decode(segmed.open_dataset("data"))
        >>> decoded.image(decoded.dataset.records[0].slice_id).shape
        (64, 64, 3)
    """
    if not dataset.records:
        raise DataError(f"{dataset.root}: holds no image; expected {LAYOUTS}. Check the path.")
    signature = signature_of(dataset, FORMAT)
    folder = _folder(dataset, cache_dir or cache_root() / "decoded", signature)
    if not _is_current(folder, signature):
        _build(dataset, folder, signature, progress)
    decoded = DecodedDataset(dataset, folder)
    require_uniform(dataset, decoded.formats)
    return decoded


def _folder(dataset: SliceDataset, parent: Path, signature: str) -> Path:
    key = hashlib.sha256(os.fsencode(dataset.root.resolve())).hexdigest()[:12]
    name = dataset.name.encode()[:LONGEST].decode(errors="ignore")
    return parent / f"{name}-{key}-{signature[:12]}"


def _is_current(folder: Path, signature: str) -> bool:
    index = folder / "index.json"
    if not index.is_file() or not (folder / "pixels.bin").is_file():
        return False
    stored = _read_index(folder)
    native = all(np.dtype(entry.dtype).isnative for entry in stored.slices.values())  # earlier versions kept the file's
    return native and stored.signature == signature and stored.bytes == (folder / "pixels.bin").stat().st_size


def _read_index(folder: Path) -> _Index:
    what = "the index of a decoded data set"
    return read_json(folder / "index.json", _Index, what=what, remedy=_MAKE_AGAIN.format(folder), version=FORMAT)


def _build(dataset: SliceDataset, folder: Path, signature: str, progress: Progress | None) -> None:
    """Decode into a folder beside the final one, then rename: another state of the data is another folder."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building-"))
        temporary.chmod(0o755)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: cannot be written ({error.strerror}). Set SEGMED_CACHE to a folder with space."
        ) from error
    try:
        slices, grids, size = _write_pixels(dataset, temporary / "pixels.bin", progress)
        data_hash = _data_hash(dataset, slices, grids)
        stored = {name: _StoredGrid.of(grid) for name, grid in grids.items()}
        index = _Index(signature, size, data_hash, slices, stored)
        write_json(temporary / "index.json", {"format": FORMAT, **asdict(index)})
        _put(temporary, folder, signature)
        _remove_stale(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{folder}: the decoded data could not be written ({reason}). Set SEGMED_CACHE to a folder with space."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(fresh: Path, folder: Path, signature: str) -> None:
    """Put `fresh` in its place, unless another process has put the same there meanwhile."""
    if folder.exists() and not _is_current(folder, signature):
        shutil.rmtree(folder)
    try:
        fresh.rename(folder)
    except OSError:
        if not _is_current(folder, signature):
            raise


def _remove_stale(folder: Path) -> None:
    """Remove the same data set's other states, and what killed builds have left, where a day has passed.

    Another process may use a state at this moment, with other labels or along another plane: its loaders open it again.
    """
    others = [other for other in folder.parent.glob(f"{glob.escape(folder.name[:-12])}*") if other != folder]
    for left in (*others, *folder.parent.glob(".building-*")):
        with suppress(OSError):  # another process may remove it too
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _write_pixels(
    dataset: SliceDataset, path: Path, progress: Progress | None
) -> tuple[dict[str, _Entry], dict[str, Grid], int]:
    slices: dict[str, _Entry] = {}
    grids: dict[str, Grid] = {}
    offset = 0
    with path.open("wb") as file:
        for record, image, mask in tracked(read_pixels(dataset, grids), progress, total=len(dataset.records)):
            pixels = np.ascontiguousarray(image)
            parts = [pixels.data] if mask is None else [pixels.data, np.ascontiguousarray(mask).data]
            checksum, digest, length = 0, hashlib.sha256(), 0
            for part in parts:
                checksum, length = crc32(part, checksum), length + part.nbytes
                digest.update(part)
                file.write(part)
            rows, columns, channels = pixels.shape
            slices[record.slice_id] = _Entry(
                offset, (rows, columns, channels), pixels.dtype.str, mask is not None, checksum, digest.hexdigest()
            )
            padding = -length % 16
            file.write(bytes(padding))
            offset += length + padding
    return slices, grids, offset


def _data_hash(dataset: SliceDataset, slices: dict[str, _Entry], grids: dict[str, Grid]) -> str:
    """One hash of all decoded pixels with their slices, patients and grids, whatever the files' place or format.

    The order of the slices of a volume counts where their ids do not tell it.
    """
    digest = hashlib.sha256()
    for record in sorted(dataset.records, key=lambda record: record.slice_id):
        entry = slices[record.slice_id]
        named = () if record.of_case is None else (record.of_case,)
        digest.update(repr((record.slice_id, record.patient, *named, entry.shape, entry.dtype)).encode())
        digest.update(bytes.fromhex(entry.sha256))
    for name, grid in sorted(grids.items()):
        affine = None if grid.affine is None else np.round(grid.affine, 4).tolist()
        digest.update(repr((name, grid.shape, affine, grid.spacing and np.round(grid.spacing, 4).tolist())).encode())
    for volume, slice_ids in sorted(stated_orders(dataset.records).items()):
        digest.update(repr(("order", volume, slice_ids)).encode())
    return digest.hexdigest()
