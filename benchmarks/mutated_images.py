"""Damaged image files: small files of every kind that is read, and seeded ways to damage them."""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pillow

from segmed.core.errors import SegmedError
from segmed.core.labels import LabelMap
from segmed.io import read_image, read_mask

CHECKSUMMED = ("PNG", "NPZ")
"""Formats in which every damage to pixels can be known: their files carry checksums."""
OUTCOMES = ("equal", "refused", "other pixels", "other error")
LABELS = LabelMap(("rim", "cup"), (0, 1, 2))
Mutation = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Sample:
    """A sound file: its name, whose suffix is the format's, its bytes, and how it is read."""

    name: str
    content: bytes
    is_mask: bool

    @property
    def kind(self) -> str:
        """The format and what it holds."""
        suffix = self.name.rpartition(".")[2].upper()
        return f"{'TIFF' if suffix == 'TIF' else suffix} {'mask' if self.is_mask else 'image'}"

    @property
    def is_checksummed(self) -> bool:
        """Whether a reader can notice every change of its pixels."""
        return self.kind.split()[0] in CHECKSUMMED

    def read(self, path: Path) -> np.ndarray:
        """What SegMed reads from a file of this kind."""
        return read_mask(path, LABELS).array if self.is_mask else read_image(path).array


@dataclass
class Tally:
    """Outcomes of one kind of file, the slowest reading in seconds, and what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def samples() -> list[Sample]:
    """Sound files of odd sizes in every format and form that is read."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (31, 17, 3), dtype=np.uint8)
    mask = np.zeros((31, 17), np.uint8)
    mask[4:20, 3:11], mask[8:13, 5:9] = 1, 2
    deep = rng.integers(0, 65536, (31, 17), dtype=np.uint16)
    made = [*_pictures(image, mask, deep), *_tiffs(image, mask, deep), *_arrays(image, mask)]
    return [Sample(name, content, "mask" in name) for name, content in made]


def _pictures(image: np.ndarray, mask: np.ndarray, deep: np.ndarray) -> Iterator[tuple[str, bytes]]:
    palette = Pillow.fromarray(mask)
    palette.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2])
    pictures = {
        "rgb.png": Pillow.fromarray(image),
        "grey.png": Pillow.fromarray(image[..., 0]),
        "deep.png": Pillow.fromarray(deep),
        "mask.png": Pillow.fromarray(mask),
        "palette-mask.png": palette,
        "rgb.jpg": Pillow.fromarray(image),
    }
    for name, picture in pictures.items():
        stream = io.BytesIO()
        picture.save(stream, format="JPEG" if name.endswith("jpg") else "PNG")
        yield name, stream.getvalue()


def _tiffs(image: np.ndarray, mask: np.ndarray, deep: np.ndarray) -> Iterator[tuple[str, bytes]]:
    colours = np.zeros((3, 256), np.uint16)
    colours[:, :3] = np.arange(3, dtype=np.uint16) << 8
    forms = {
        "rgb.tif": (image, {"photometric": "rgb", "rowsperstrip": 4}),
        "planes.tif": (np.moveaxis(image, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        "jpeg.tif": (image, {"photometric": "rgb", "compression": "jpeg", "rowsperstrip": 16}),
        "deep.tif": (deep, {"compression": "zstd", "predictor": True}),
        "mask.tif": (mask, {"rowsperstrip": 5}),
        "lzw-mask.tif": (mask, {"compression": "lzw", "rowsperstrip": 5}),
        "deflate-mask.tif": (mask, {"compression": "deflate"}),
        "tiled-mask.tif": (mask, {"tile": (16, 16), "compression": "deflate"}),
        "big-mask.tif": (mask, {"bigtiff": True}),
        "palette-mask.tif": (mask, {"photometric": "palette", "colormap": colours}),
        "bit-mask.tif": (mask > 0, {"photometric": "minisblack"}),
    }
    for name, (array, settings) in forms.items():
        stream = io.BytesIO()
        tifffile.imwrite(stream, array, **settings)
        yield name, stream.getvalue()


def _arrays(image: np.ndarray, mask: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for name, array in (("rgb.npy", image), ("mask.npy", mask)):
        stream = io.BytesIO()
        np.save(stream, array)
        yield name, stream.getvalue()
    for name, arrays in (("rgb.npz", {"image": image}), ("mask.npz", {"mask": mask})):
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        yield name, stream.getvalue()


def flip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit anywhere."""
    return _flipped(content, rng, len(content))


def flip_head(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit of the first 400 bytes, where most headers are."""
    return _flipped(content, rng, min(len(content), 400))


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The beginning alone."""
    return content[: int(rng.integers(0, len(content)))]


def zero_tail(content: bytes, rng: np.random.Generator) -> bytes:
    """The end as zeros, as a copy to a full disk leaves it."""
    kept = int(rng.integers(0, len(content)))
    return content[:kept] + bytes(len(content) - kept)


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """Two or four bytes at the extremes of their range."""
    place, length = int(rng.integers(0, len(content))), int(rng.choice([2, 4]))
    value = bytes([int(rng.choice([0, 1, 127, 128, 255]))]) * length
    return (content[:place] + value + content[place + length :])[: len(content)]


def drop_block(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes left out of the middle."""
    place, length = int(rng.integers(0, len(content))), int(rng.integers(1, 64))
    return content[:place] + content[place + length :]


MUTATIONS: tuple[Mutation, ...] = (flip_bit, flip_head, flip_head, cut, zero_tail, overwrite, drop_block)


def run(folder: Path, number: int, seed: int) -> dict[str, Tally]:
    """Read `number` damaged files and count what comes of it, by kind of file.

    Args:
        folder: where the damaged file of the moment is written.
        number: how many in all; every sample has an equal share.
        seed: of the damages.

    Returns:
        A tally for each kind. `failures` holds other errors, and other pixels where a checksum would have told.
    """
    sound, tallies = samples(), dict[str, Tally]()
    for sample in sound:
        tally = tallies.setdefault(sample.kind, Tally())
        path = folder / sample.name
        path.write_bytes(sample.content)
        right = sample.read(path)
        rng = np.random.default_rng([seed, *sample.name.encode()])
        for count in range(-(-number // len(sound))):
            mutation = MUTATIONS[count % len(MUTATIONS)]
            path.write_bytes(mutation(sample.content, rng))
            started = time.monotonic()
            outcome, detail = _outcome(sample, path, right)
            tally.slowest = max(tally.slowest, time.monotonic() - started)
            tally.outcomes[outcome] += 1
            if outcome == "other error" or (outcome == "other pixels" and sample.is_checksummed):
                tally.failures.append(f"{sample.name}, {mutation.__name__} {count}: {outcome} {detail}")
        path.unlink()
    return tallies


def flip_tag_bits(folder: Path) -> Tally:
    """Flip, one after the other, every bit of TIFF masks that is no pixel; `failures` names what gave other pixels."""
    tally = Tally()
    for sample in (each for each in samples() if each.kind == "TIFF mask"):
        path = folder / sample.name
        path.write_bytes(sample.content)
        right = sample.read(path)
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            places = zip(page.dataoffsets, page.databytecounts, strict=True)
            strips = [range(first, first + count) for first, count in places]
        for place in range(len(sample.content)):
            if any(place in strip for strip in strips):
                continue
            for bit in range(8):
                changed = bytearray(sample.content)
                changed[place] ^= 1 << bit
                path.write_bytes(changed)
                outcome, detail = _outcome(sample, path, right)
                tally.outcomes[outcome] += 1
                if outcome.startswith("other"):
                    tally.failures.append(f"{sample.name}, byte {place}, bit {bit}: {outcome} {detail}")
        path.unlink()
    return tally


def _outcome(sample: Sample, path: Path, right: np.ndarray) -> tuple[str, str]:
    try:
        found = sample.read(path)
    except SegmedError:
        return "refused", ""
    except Exception as error:
        return "other error", repr(error)
    same = found.dtype == right.dtype and np.array_equal(found, right)
    return ("equal", "") if same else ("other pixels", f"{found.shape} {found.dtype}")


def _flipped(content: bytes, rng: np.random.Generator, within: int) -> bytes:
    changed = bytearray(content)
    changed[int(rng.integers(0, within))] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)
