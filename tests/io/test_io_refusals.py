"""Every bad file is refused in one line that names it, and never half-read."""

import contextlib
import io
import os
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
from segmed.io.pixels import MAX_DECODED_BYTES

NOISE = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)


def _write(path: Path, array: np.ndarray = NOISE) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, compression="lzw" if "lzw" in path.stem else None, rowsperstrip=4)
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, image=array)
    else:
        Pillow.fromarray(array).save(path)
    return path


NAMES = ["a.png", "a.jpg", "a.tif", "lzw.tif", "a.npy", "a.npz"]


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = _write(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=rf"{name}: (damaged or truncated|truncated)") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_flipped_bytes_never_escape_as_another_error(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name)
    content = bytearray(path.read_bytes())
    generator = np.random.default_rng(1)
    for _ in range(60):
        broken = content.copy()
        for position in generator.integers(0, min(len(content), 400), 3):
            broken[position] ^= int(generator.integers(1, 256))
        path.write_bytes(broken)
        with contextlib.suppress(DataError):
            read_image(path)


def test_a_file_of_zero_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    with pytest.raises(DataError, match=r"empty\.tif: the file has zero bytes"):
        read_image(tmp_path / "empty.tif")


def test_a_text_file_with_an_image_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("these are notes")
    with pytest.raises(DataError, match=r"notes\.png: not an image .*expected PNG, TIFF, JPEG, NPY or NPZ"):
        read_image(tmp_path / "notes.png")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file"):
        read_image(tmp_path / "gone.png")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file"):
        read_image(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a file"):
        read_image(tmp_path / "pipe.png")


def test_a_file_without_read_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "secret.png")

    def refuse(self: Path, *args: object, **kwargs: object) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"secret\.png: cannot be read \(Permission denied\)"):
        read_image(path)


def test_a_png_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = 60_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    with (tmp_path / "bomb.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    with pytest.raises(DataError, match=r"bomb\.png: 60000 x 60000 .*limit of 256 MiB"):
        read_image(tmp_path / "bomb.png")


def test_a_jpeg_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = _write(tmp_path / "bomb.jpg").read_bytes()
    frame = content.index(b"\xff\xc0") + 5
    (tmp_path / "bomb.jpg").write_bytes(content[:frame] + struct.pack(">HH", 60000, 60000) + content[frame + 4 :])
    with pytest.raises(DataError, match=r"bomb\.jpg: .*limit of 256 MiB"):
        read_image(tmp_path / "bomb.jpg")


def test_a_tiff_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["ImageWidth"].overwrite(50_000)
        file.pages.first.tags["ImageLength"].overwrite(50_000)
    with pytest.raises(DataError, match=r"bomb\.tif: 50000 x 50000 .*limit of 256 MiB"):
        read_image(path)


def test_an_npy_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    with (tmp_path / "bomb.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (100_000, 100_000)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match=r"bomb\.npy: 100000 x 100000"):
        read_image(tmp_path / "bomb.npy")


def test_an_npz_member_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("image.npy", "w") as member:
        for _ in range(MAX_DECODED_BYTES // 2**24 + 1):
            member.write(bytes(2**24))
    with pytest.raises(DataError, match=r"bomb\.npz: image\.npy expands to 272 MiB"):
        read_image(path)


@pytest.mark.parametrize("save", [np.save, np.savez], ids=["npy", "npz"])
def test_pickled_objects_are_never_loaded(tmp_path: Path, save: object) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, np.array([Trap()], dtype=object), allow_pickle=True)  # type: ignore[operator]
    with pytest.raises(DataError, match="pickled objects"):
        read_image(path)
    assert not (tmp_path / "sprung").exists()


def test_an_npz_with_several_unnamed_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", NOISE, NOISE)
    with pytest.raises(DataError, match=r"2 arrays and none is called 'image' \(found: arr_0, arr_1\)"):
        read_image(tmp_path / "a.npz")


def test_an_npz_without_arrays_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"a\.npz: damaged or truncated NPZ"):
        read_image(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    array = np.ones((4, 6), np.float32)
    array[1, 1] = value
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"a\.npy: 1 NaN or infinite pixels"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("array", [np.ones((4, 4), complex), np.full((4, 4), "x")], ids=["complex", "text"])
def test_pixels_that_are_not_real_numbers_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="expected integers or floats"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (3, 64, 64), (2, 4, 4, 3)])
def test_an_array_that_is_not_one_image_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, np.uint8))
    with pytest.raises(DataError, match="expected height x width"):
        read_image(tmp_path / "a.npy")


def test_a_tiff_of_several_pages_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 8, 9), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match=r"stack\.tif: 4 pages, expected one image per file"):
        read_image(tmp_path / "stack.tif")


def test_a_cmyk_jpeg_is_refused(tmp_path: Path) -> None:
    Pillow.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="colour mode CMYK, expected grey or RGB"):
        read_image(tmp_path / "a.jpg")


def test_a_jpeg_stored_turned_is_refused(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(DataError, match=r"a\.jpg: the pixels are stored turned"):
        read_image(tmp_path / "a.jpg")


def test_a_jpeg_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: a JPEG mask"):
        read_mask(_write(tmp_path / "a.jpg"), LabelMap())


def test_a_mask_of_floats_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.float32))
    with pytest.raises(DataError, match="mask of type float32, expected integers"):
        read_mask(tmp_path / "a.npy", LabelMap())


def test_a_mask_of_three_dimensions_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(DataError, match=r"mask of shape \(4, 4, 5\), expected height x width"):
        read_mask(tmp_path / "a.npy", LabelMap())


def test_a_colour_mask_without_named_colours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a colour mask, expected grey values\. Name its colours with --labels"):
        read_mask(_write(tmp_path / "a.png"), LabelMap())


def test_a_partly_transparent_mask_is_refused(tmp_path: Path) -> None:
    Pillow.new("RGBA", (4, 4), (0, 0, 0, 100)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="partly transparent mask"):
        read_mask(tmp_path / "a.png", LabelMap())
