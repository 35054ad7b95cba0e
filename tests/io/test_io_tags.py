"""A tag that changes what pixels mean is honoured or refused, and sizes that tags name must agree with the file."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.io import read_image, read_mask

MASK = np.zeros((20, 31), np.uint8)
MASK[3:9, 4:17] = 1
RED = LabelMap(("lesion",), ((0, 0, 0), (255, 0, 0)))


def palette_tiff(path: Path, red: int) -> Path:
    colours = np.zeros((3, 256), np.uint16)
    colours[0, 1] = red
    tifffile.imwrite(path, MASK, photometric="palette", colormap=colours)
    return path


@pytest.mark.parametrize("red", [255, 255 << 8, 65535])
def test_colours_of_a_palette_may_be_written_with_8_bits_or_16(tmp_path: Path, red: int) -> None:
    path = palette_tiff(tmp_path / "a.tif", red)
    assert read_image(path).array.max() == 255
    assert np.array_equal(read_mask(path, RED).array, MASK)


@pytest.mark.parametrize("kind", ["ImageJ", "shaped"])
def test_several_slices_behind_one_page_are_refused(tmp_path: Path, kind: str) -> None:
    stack = np.stack([np.full((20, 31), value, np.uint8) for value in range(5)])
    path = tmp_path / "a.tif"
    if kind == "shaped":
        tifffile.imwrite(path, stack, truncate=True)
    else:
        text = "ImageJ=1.54f\nimages=5\nslices=5\nloop=false\n"
        tifffile.imwrite(path, stack[0], description=text, metadata=None)
        path.write_bytes(path.read_bytes() + stack[1:].tobytes())
    with pytest.raises(DataError, match="5 slices behind one page"):
        read_image(path)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_colour_spaces_that_are_not_rgb_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    picture = Pillow.new("RGB", (31, 20), (220, 0, 30))
    picture = Pillow.new("LAB", (31, 20), (120, 20, 30)) if mode == "LAB" else picture.convert(mode)
    picture.save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"TIFF in colour space (SEPARATED|CIELAB|YCBCR), expected grey"):
        read_image(tmp_path / "a.tif")


def test_pixels_that_are_stored_turned_are_refused_whatever_the_format(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", MASK, extratags=[(274, 3, 1, 6, True)])
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.fromarray(MASK).save(tmp_path / "a.png", exif=exif)
    Pillow.fromarray(MASK).save(tmp_path / "a.jpg", exif=exif)
    deep = Pillow.fromarray(MASK.astype(np.uint16))
    deep.save(tmp_path / "deep.png", exif=exif)
    for name in ("a.tif", "a.png", "a.jpg", "deep.png"):
        with pytest.raises(DataError, match=f"{name}: the pixels are stored turned"):
            read_image(tmp_path / name)


def test_signed_values_whose_zero_is_white_fall_as_the_stored_rise(tmp_path: Path) -> None:
    stored = np.array([[-300, -1, 0, 1, 300]] * 3, np.int16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    assert read_image(tmp_path / "a.tif").array[0, :, 0].tolist() == [299, 0, -1, -2, -301]
    tifffile.imwrite(tmp_path / "b.tif", stored.astype(np.float32), photometric="miniswhite")
    with pytest.raises(DataError, match="MinIsWhite"):
        read_image(tmp_path / "b.tif")


def test_a_mask_whose_zero_is_white_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", MASK, photometric="miniswhite")
    with pytest.raises(DataError, match="a mask whose zero is white"):
        read_mask(tmp_path / "a.tif", LabelMap(("lesion",), (0, 1)))


@pytest.mark.parametrize("stored", [(255, 0), (1, 0), (0, 255), (0, 1)])
def test_masks_of_one_bit_obey_the_labels(tmp_path: Path, stored: tuple[int, int]) -> None:
    labels = LabelMap(("lesion",), stored)
    bits = MASK.astype(bool) if stored[0] == 0 else ~MASK.astype(bool)
    Pillow.fromarray(bits).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", bits)
    tifffile.imwrite(tmp_path / "a.tif", bits, photometric="minisblack")
    for name in ("a.png", "a.npy", "a.tif"):
        assert np.array_equal(read_mask(tmp_path / name, labels).array, MASK)


def test_a_mask_of_one_bit_whose_zero_is_white_is_refused(tmp_path: Path) -> None:
    """What tifffile makes of an array of yes and no: yes is stored, and black is shown."""
    tifffile.imwrite(tmp_path / "a.tif", MASK.astype(bool))
    with pytest.raises(DataError, match="a mask whose zero is white"):
        read_mask(tmp_path / "a.tif", LabelMap())


def test_a_bit_that_is_no_label_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MASK.astype(bool))
    with pytest.raises(DataError, match="mask value 255 is not a label; expected 0, 128"):
        read_mask(tmp_path / "a.npy", LabelMap(("lesion",), (0, 128)))


def set_tag(path: Path, name: str, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags[name].overwrite(value)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("RowsPerStrip", 3), ("RowsPerStrip", 12), ("ImageLength", 10), ("ImageLength", 40), ("ImageWidth", 30),
        ("BitsPerSample", 16), ("BitsPerSample", 4), ("StripOffsets", 0), ("StripByteCounts", 1), ("StripOffsets", 20),
        ("PhotometricInterpretation", 3), ("PhotometricInterpretation", 2), ("Compression", 4), ("Orientation", 8),
    ],
)  # fmt: skip
def test_a_tag_at_odds_with_the_file_is_refused(tmp_path: Path, tag: str, value: int, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, MASK, compression=compression, extratags=[(274, 3, 1, 1, True)])
    read_mask(path, LabelMap(("lesion",), (0, 1)))
    set_tag(path, tag, value)
    with pytest.raises(DataError, match=r"a\.tif: "):
        read_mask(path, LabelMap(("lesion",), (0, 1)))


def test_fewer_strips_than_the_image_needs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, MASK, rowsperstrip=5)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages.first.tags
        for name in ("StripOffsets", "StripByteCounts"):
            tags[name].overwrite(tags[name].value[:3])
    with pytest.raises(DataError, match="3 strips where its size needs 4"):
        read_image(path)


@pytest.mark.parametrize("name", ["grey.png", "rgb.png", "deep.png"])
def test_a_zeroed_tail_of_a_png_is_refused(tmp_path: Path, name: str) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (41, 33), dtype=np.uint16)
    picture = {"grey": grey.astype(np.uint8), "rgb": np.stack([grey] * 3, -1).astype(np.uint8), "deep": grey}
    Pillow.fromarray(picture[name.split(".")[0]]).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for kept in range(8, len(content), len(content) // 40):
        (tmp_path / name).write_bytes(content[:kept] + bytes(len(content) - kept))
        with pytest.raises(DataError, match="damaged or truncated PNG"):
            read_image(tmp_path / name)


def test_a_flipped_bit_in_a_png_names_the_chunk(tmp_path: Path) -> None:
    Pillow.fromarray(MASK).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"IDAT") + 9] ^= 4
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="checksum of chunk 'IDAT' is wrong"):
        read_image(tmp_path / "a.png")


def npz(path: Path, method: int, header: str, numbers: int) -> Path:
    stream = io.BytesIO()
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {header}, }}".ljust(117) + "\n"
    stream.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(numbers))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("image.npy", stream.getvalue())
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_packed_by_another_method_than_numpy_s_is_refused(tmp_path: Path, method: int) -> None:
    with pytest.raises(DataError, match="expected stored or deflated"):
        read_image(npz(tmp_path / "a.npz", method, "(20, 31)", 620))


@pytest.mark.parametrize("numbers", [619, 621])
def test_an_array_whose_header_does_not_fit_its_size_is_refused(tmp_path: Path, numbers: int) -> None:
    with pytest.raises(DataError, match="bytes of numbers where its header says 620"):
        read_image(npz(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, "(20, 31)", numbers))


def test_a_zip_whose_directory_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, "(9000, 9000)", 81_000_000)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 748)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: damaged or truncated NP"):
        read_image(path)


def jpeg_of(size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Pillow.new("L", size[::-1]).save(stream, "JPEG")
    return stream.getvalue()


def test_a_jpeg_in_a_tiff_has_the_size_of_its_strip(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((48, 32), np.uint8), compression="jpeg")
    assert read_image(path).array.shape == (48, 32, 1)
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 2] = struct.pack(">H", 60000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a JPEG of \[\(60000, 32\)\] where its place has 48 x 32"):
        read_image(path)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    plain = jpeg_of((20, 31))
    scan = plain[plain.index(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(plain[:-2] + scan * 2000 + plain[-2:])
    with pytest.raises(DataError, match="a JPEG of 2001 scans, more than the limit of 100"):
        read_image(tmp_path / "a.jpg")


def test_a_jpeg_without_its_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_of((20, 31))[:-2] + bytes(2))
    with pytest.raises(DataError, match=r"damaged or truncated JPEG \(its end is missing"):
        read_image(tmp_path / "a.jpg")


def test_the_limit_on_pixels_says_what_is_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b""))
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(DataError, match="12000 x 12000 x 1 pixels are more than the limit of 89 million"):
        read_image(tmp_path / "a.png")
