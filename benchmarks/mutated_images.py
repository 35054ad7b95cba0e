"""Damaged image files: small files of every kind that is read, damaged by seed."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pillow

from damage import Tally, count_outcomes, outcome_of
from segmed.core.labels import LabelMap
from segmed.io import read_image, read_mask

CHECKSUMMED = ("PNG", "NPZ")
"""Formats in which every damage to pixels can be known: their files carry checksums."""
LABELS = LabelMap(("rim", "cup"), (0, 1, 2))


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


def run(folder: Path, number: int, seed: int) -> dict[str, Tally]:
    """As `damage.count_outcomes`, of images and masks."""
    return count_outcomes(samples(), folder, number, seed)


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
                outcome, detail = outcome_of(sample, path, right)
                tally.outcomes[outcome] += 1
                if outcome.startswith("other"):
                    tally.failures.append(f"{sample.name}, byte {place}, bit {bit}: {outcome} {detail}")
        path.unlink()
    return tally
