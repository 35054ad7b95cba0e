"""Images and masks come back as stored, whatever the format."""

import ast
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.io import read_image, read_mask
from segmed.io.arrays import read_npy

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7)
RGB = np.stack([GREY, GREY + 50, GREY + 100], axis=-1)
DEEP = (RGB.astype(np.uint16) * 257) + 3
TUMOUR = np.zeros((5, 7), np.uint8)
TUMOUR[1:3, 2:6] = 1
RIM_AND_CUP = LabelMap(("rim", "cup"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))


@pytest.mark.parametrize("array", [GREY, RGB, DEEP[..., 0], DEEP], ids=["grey8", "rgb8", "grey16", "rgb16"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_a_tiff_keeps_its_pixels_and_dtype(tmp_path: Path, array: np.ndarray, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    photometric = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, compression=compression)
    image = read_image(path)
    assert image.array.dtype == array.dtype
    assert np.array_equal(image.array, array.reshape(5, 7, -1))
    assert image.geometry.size == (5, 7)
    assert image.geometry.spacing is None


def test_a_tiff_with_separate_planes_comes_channels_last(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_image(path).array, RGB)


def test_a_tiff_whose_zero_is_white_is_read_with_zero_as_black(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, 255 - GREY, photometric="miniswhite")
    assert np.array_equal(read_image(path).array[..., 0], GREY)


@pytest.mark.parametrize("array", [GREY, RGB, DEEP[..., 0]], ids=["grey8", "rgb8", "grey16"])
def test_a_png_keeps_its_pixels_and_dtype(tmp_path: Path, array: np.ndarray) -> None:
    Pillow.fromarray(array).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.array.dtype == array.dtype
    assert np.array_equal(image.array, array.reshape(5, 7, -1))


def test_a_png_of_16_bits_per_channel_is_not_cut_to_8(tmp_path: Path) -> None:
    import imagecodecs

    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(DEEP))
    assert np.array_equal(read_image(tmp_path / "a.png").array, DEEP)


def test_a_palette_image_is_expanded_to_its_colours(tmp_path: Path) -> None:
    _save_palette(tmp_path / "a.png", TUMOUR, [10, 20, 30, 40, 50, 60])
    array = read_image(tmp_path / "a.png").array
    assert array.shape == (5, 7, 3)
    assert array[0, 0].tolist() == [10, 20, 30]
    assert array[1, 2].tolist() == [40, 50, 60]


def test_a_jpeg_is_read_as_rgb(tmp_path: Path) -> None:
    flat = np.full((9, 13, 3), 120, np.uint8)
    Pillow.fromarray(flat).save(tmp_path / "a.jpg", quality=95)
    array = read_image(tmp_path / "a.jpg").array
    assert array.shape == (9, 13, 3)
    assert np.abs(array.astype(int) - 120).max() <= 2


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_an_npy_keeps_its_dtype(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", RGB.astype(dtype))
    image = read_image(tmp_path / "a.npy")
    assert image.array.dtype == np.dtype(dtype)
    assert np.array_equal(image.array, RGB)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.tif"])
def test_numbers_are_in_the_machines_byte_order_whatever_the_files(tmp_path: Path, name: str) -> None:
    path, big = tmp_path / name, DEEP.astype(">u2")
    if name == "a.npy":
        np.save(path, big)
    elif name == "a.npz":
        np.savez(path, image=big)
    else:
        tifffile.imwrite(path, big, byteorder=">", photometric="rgb")
    array = read_image(path).array
    assert array.dtype.isnative
    assert np.array_equal(array, DEEP)


def test_an_npz_gives_image_and_mask_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=RGB, mask=TUMOUR * 255)
    assert np.array_equal(read_image(tmp_path / "a.npz").array, RGB)
    assert np.array_equal(read_mask(tmp_path / "a.npz", LabelMap()).array, TUMOUR)


def test_the_only_array_of_an_npz_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", GREY)
    assert np.array_equal(read_image(tmp_path / "a.npz").array[..., 0], GREY)


def test_the_content_decides_the_format_and_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.tif"
    Pillow.fromarray(GREY).save(path, format="PNG")
    assert np.array_equal(read_image(path).array[..., 0], GREY)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_grey_mask_is_read_as_labels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(TUMOUR * 255).save(path)
    mask = read_mask(path, LabelMap())
    assert np.array_equal(mask.array, TUMOUR)
    assert mask.geometry.size == (5, 7)


@pytest.mark.parametrize("channels", [3, 4], ids=["rgb", "opaque rgba"])
def test_a_grey_mask_saved_with_more_channels_is_read_as_labels(tmp_path: Path, channels: int) -> None:
    stored = np.repeat(TUMOUR[..., None] * 255, channels, axis=-1)
    stored[..., 3:] = 255
    Pillow.fromarray(stored).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png", LabelMap()).array, TUMOUR)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_mask_of_one_bit_is_read_as_labels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(TUMOUR.astype(bool)).save(path)
    assert np.array_equal(read_mask(path, LabelMap()).array, TUMOUR)


def shallow_png(path: Path, bits: int, values: list[int]) -> Path:
    """A grey PNG of one row and 2 or 4 bits a pixel, by the specification."""
    packed = int("".join(format(value, f"0{bits}b") for value in values).ljust(8, "0"), 2).to_bytes(1, "big")
    header = struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + packed)), (b"IEND", b"")]
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        whole += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(whole)
    return path


SHALLOW = [(2, [0, 1, 2, 3]), (4, [15, 2])]


@pytest.mark.parametrize(("bits", "values", "shown"), [(2, [0, 1, 2, 3], [0, 85, 170, 255]), (4, [15, 2], [255, 34])])
def test_an_image_of_few_bits_is_as_bright_as_it_is_shown(
    tmp_path: Path, bits: int, values: list[int], shown: list[int]
) -> None:
    image = read_image(shallow_png(tmp_path / "a.png", bits, values))
    assert image.array.dtype == np.uint8
    assert image.array[0, :, 0].tolist() == shown


@pytest.mark.parametrize(("bits", "values"), SHALLOW)
def test_a_mask_of_few_bits_is_read_by_the_values_that_are_stored(tmp_path: Path, bits: int, values: list[int]) -> None:
    path = shallow_png(tmp_path / "a.png", bits, values)
    labels = LabelMap(tuple(f"label {value}" for value in range(1, 16)), tuple(range(16)))
    assert read_mask(path, labels).array[0].tolist() == values


def test_a_mask_of_few_bits_is_read_by_the_values_that_are_shown_where_labels_are_those(tmp_path: Path) -> None:
    path = shallow_png(tmp_path / "a.png", 2, [0, 1, 3])
    assert read_mask(path, LabelMap(("rim", "cup"), (0, 85, 255))).array[0].tolist() == [0, 1, 2]
    assert read_mask(path, LabelMap(("rim", "cup"), ((0,) * 3, (85,) * 3, (255,) * 3))).array[0].tolist() == [0, 1, 2]


def test_a_colour_mask_is_read_through_the_label_map(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    Pillow.fromarray(RIM_AND_CUP.encode(labels)).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png", RIM_AND_CUP).array, labels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_mask_is_read_by_colour_where_labels_are_colours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    _save_palette(path, labels, [0, 0, 0, 255, 0, 0, 0, 0, 255])
    assert np.array_equal(read_mask(path, RIM_AND_CUP).array, labels)


def test_a_palette_mask_is_read_by_index_where_labels_are_grey_values(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    _save_palette(tmp_path / "a.png", labels, [0, 0, 0, 255, 0, 0, 0, 0, 255])
    assert np.array_equal(read_mask(tmp_path / "a.png", LabelMap(("rim", "cup"), (0, 1, 2))).array, labels)


def test_a_grey_palette_counts_as_grey_values(tmp_path: Path) -> None:
    _save_palette(tmp_path / "a.png", TUMOUR, [0, 0, 0, 255, 255, 255])
    assert np.array_equal(read_mask(tmp_path / "a.png", LabelMap()).array, TUMOUR)


def test_mask_values_outside_the_labels_are_refused_with_the_file_name(tmp_path: Path) -> None:
    Pillow.fromarray(TUMOUR * 128).save(tmp_path / "odd.png")
    with pytest.raises(DataError, match=r"odd\.png: mask value 128 is not a label; expected 0, 255"):
        read_mask(tmp_path / "odd.png", LabelMap())


def _save_palette(path: Path, indices: np.ndarray, palette: list[int]) -> None:
    height, width = indices.shape
    picture = Pillow.frombytes("P", (width, height), indices.tobytes())
    picture.putpalette(palette)
    picture.save(path)


def test_headers_of_npy_files_are_parsed_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # two threads in Python 3.11's parser can raise SystemError, and a whole file was called damaged
    np.save(tmp_path / "a.npy", np.ones((9, 14, 3), np.uint8))
    parse, inside, most = ast.literal_eval, 0, 0

    def slow(header: str) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.005)
        inside -= 1
        return parse(header)

    monkeypatch.setattr(ast, "literal_eval", slow)
    with ThreadPoolExecutor(4) as pool:
        shapes = list(pool.map(lambda _: read_image(tmp_path / "a.npy").array.shape, range(8)))
    assert shapes == [(9, 14, 3)] * 8
    assert most == 1


@pytest.mark.parametrize(
    "saved",
    [
        np.arange(12, dtype=np.float64).reshape(3, 4),
        np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)),
        np.arange(5, dtype=">u2"),
        np.zeros((0, 7, 3), np.uint8),
        np.array(3, np.int32),
    ],
    ids=["rows first", "columns first", "big-endian", "empty", "a single number"],
)
def test_an_npy_file_is_read_as_numpy_reads_it_and_may_be_written_to(tmp_path: Path, saved: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", saved)
    read, numpys = read_npy(tmp_path / "a.npy").array, np.load(tmp_path / "a.npy")
    expected = numpys.dtype.newbyteorder("="), numpys.shape, numpys.flags.f_contiguous
    assert (read.dtype, read.shape, read.flags.f_contiguous) == expected
    assert np.array_equal(read, numpys)
    assert read.flags.writeable
