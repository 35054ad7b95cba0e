"""TIFF stacks of ImageJ, OME and others as volumes, checked by tifffile, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from segmed import read_volume, write_volume
from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume
from volume_phantoms import volume_of

STACK = np.arange(5 * 7 * 3, dtype=np.uint16).reshape(5, 7, 3) * 37


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("um", 1e-3), ("\\u00B5m", 1e-3), ("cm", 10)])
def test_imagejs_spacing_is_taken_in_its_unit(tmp_path: Path, unit: str, factor: float) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=(2, 4), metadata={"axes": "ZYX", "spacing": 2.5, "unit": unit}
    )
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, STACK)
    assert volume.grid.has_geometry is False
    assert volume.grid.spacing == pytest.approx((2.5 * factor, 0.25 * factor, 0.5 * factor))


@pytest.mark.parametrize(
    ("own", "spacing"),
    [
        ({"zunit": "micron"}, (2.5e-3, 0.25, 0.5)),
        ({"yunit": "cm"}, (2.5, 2.5, 0.5)),
        ({"zunit": "pixel"}, None),
    ],
)
def test_imagejs_rows_and_slices_may_have_units_of_their_own(
    tmp_path: Path, own: dict[str, str], spacing: tuple[float, float, float] | None
) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": "mm", **own}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(2, 4), metadata=metadata)
    assert read_volume(tmp_path / "a.tif").grid.spacing == (spacing and pytest.approx(spacing))


def test_pixels_without_a_unit_have_no_spacing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "ZYX", "unit": "pixel", "spacing": 2})
    tifffile.imwrite(tmp_path / "b.tif", STACK, photometric="minisblack", resolution=(72, 72), resolutionunit="INCH")
    tifffile.imwrite(tmp_path / "c.tif", STACK[0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "d.tif", STACK, photometric="minisblack", metadata=None, compression="lzw")
    for name, expected in (("a", STACK), ("b", STACK), ("c", STACK[:1]), ("d", STACK)):
        volume = read_volume(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(volume.array, expected)
        assert volume.grid.spacing is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_a_volume_comes_back_from_ome_tiff_without_its_place_which_is_said(tmp_path: Path, dtype: str) -> None:
    volume = volume_of(6, dtype)
    with pytest.warns(UserWarning, match="not its place in the patient"):
        write_volume(tmp_path / "a.ome.tif", volume)
    back = read_volume(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == volume.array.dtype
    assert back.grid.spacing == pytest.approx(volume.grid.spacing)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif").squeeze(), volume.array.squeeze())


def test_ome_sizes_are_microns_where_no_unit_is_stated(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 500, "PhysicalSizeY": 250, "PhysicalSizeZ": 2500}
    tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, photometric="minisblack", metadata=metadata)
    assert read_volume(tmp_path / "a.tif").grid.spacing == pytest.approx((2.5, 0.25, 0.5))


def test_channels_time_points_colours_and_mixed_pages_are_refused(tmp_path: Path) -> None:
    four = np.zeros((2, 5, 7, 3), np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", four, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "t.tif", four, imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "oc.tif", four, ome=True, photometric="minisblack", metadata={"axes": "CZYX"})
    tifffile.imwrite(tmp_path / "ot.tif", four, ome=True, photometric="minisblack", metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "rgb.tif", four, photometric="rgb")
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as file:
        file.write(STACK[0], photometric="minisblack")
        file.write(STACK[0, :4], photometric="minisblack")
    for name, message in (
        ("c", "5 channels, expected one volume"), ("t", "2 time points"), ("oc", "2 channels"), ("ot", "2 time points"),
        ("rgb", "in colours or with channels"), ("mixed", "pages of mixed sizes"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"{name}.tif: .*{message}"):
            read_volume(tmp_path / f"{name}.tif")


def test_slices_that_lie_in_other_files_are_not_looked_for(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    stored = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(stored.replace(b'SizeZ="5"', b'SizeZ="7"'))
    with pytest.raises(DataError, match="5 pages where its text says 7"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_cut_stack_is_refused_or_whole_wherever_it_is_cut(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", compression=compression)
    whole = path.read_bytes()
    for end in range(0, len(whole), 23):
        path.write_bytes(whole[:end])
        try:
            found = read_volume(path).array
        except DataError:
            continue
        np.testing.assert_array_equal(found, STACK)  # cut behind all that counts
        assert end > len(whole) - 8


def test_a_stack_without_geometry_stays_one(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.ome.tif", Volume(STACK, Grid((5, 7, 3))))
    grid = read_volume(tmp_path / "a.ome.tif").grid
    assert (grid.has_geometry, grid.spacing) == (False, None)
