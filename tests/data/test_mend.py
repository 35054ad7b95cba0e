"""Files of a volume on other grids: said by axis and mm, and mended where they can be."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from segmed.cli.main import app
from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume
from segmed.data.check import check
from segmed.data.decoded import decode
from segmed.data.mend import mend_geometry
from segmed.data.sources import open_dataset
from segmed.io.volumes import read_grid, read_volume, write_volume

SHAPE = (4, 9, 7)
AFFINE = np.array([[0.0, 0, -1, 3], [0, -1, 0, 4], [5, 0, 0, 0], [0, 0, 0, 1]])
MASK = (np.arange(4 * 9 * 7).reshape(SHAPE) % 5 == 0).astype(np.uint8)


def shifted(*, rows: float = 0.0) -> Grid:
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, 1] * rows
    return Grid(SHAPE, affine)


def data_set(root: Path, mask: Volume, image: Grid | None = None) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_volume(
        root / "images" / "a.nii.gz", Volume(np.arange(4 * 9 * 7, dtype=np.int16).reshape(SHAPE), image or shifted())
    )
    write_volume(root / "masks" / "a.nii.gz", mask)
    return root


def test_a_shifted_mask_is_an_error_with_its_axis_and_mm_and_is_mended_by_the_nearest_voxel(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", Volume(MASK, shifted(rows=2)))
    (error,) = check(root).errors
    assert (error.code, error.where) == ("geometry", str(root / "masks" / "a.nii.gz"))
    assert "shifted by 2 mm along rows. Mend: not safe without looking" in error.message
    assert "segmed data resample" in error.message

    found = mend_geometry(open_dataset(root), tmp_path / "out")
    assert [path.name for path in found.written] == ["a_a.nii.gz"]
    np.testing.assert_array_equal(read_volume(found.written[0]).array[:, 2:], MASK[:, :-2])
    mended = open_dataset(tmp_path / "out")
    assert mended.records[0].image == tmp_path / "out" / ".." / "set" / "images" / "a.nii.gz"
    assert decode(mended, cache_dir=tmp_path / "cache").mask("a_2").any()


def test_a_mask_stored_the_other_way_round_is_no_mismatch(tmp_path: Path) -> None:
    index = np.diag([1.0, -1.0, 1.0, 1.0])
    index[1, 3] = SHAPE[1] - 1
    turned = Volume(MASK[:, ::-1], Grid(SHAPE, AFFINE @ index))
    root = data_set(tmp_path / "set", turned)
    assert check(root).ok
    data = decode(open_dataset(root), cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(data.mask("a_3"), MASK[2])
    found = mend_geometry(open_dataset(root), tmp_path / "out")
    np.testing.assert_array_equal(read_volume(found.written[0]).array, MASK)


def test_a_mask_without_geometry_is_mended_only_on_the_users_word(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", Volume(MASK, Grid(SHAPE)))
    assert "states no geometry" in check(root).errors[0].message
    ((path, reason),) = mend_geometry(open_dataset(root), tmp_path / "no").refused
    assert path == root / "masks" / "a.nii.gz"
    assert "Say --assume-order if so" in reason
    (written,) = mend_geometry(open_dataset(root), tmp_path / "yes", assume_order=True).written
    assert read_grid(written).is_same(shifted())
    np.testing.assert_array_equal(read_volume(written).array, MASK)


def test_the_command_ends_with_code_2_where_something_cannot_be_mended(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", Volume(MASK[:3], Grid((3, 9, 7))))
    result = CliRunner().invoke(app, ["data", "resample", str(root), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "3 x 9 x 7 voxels, in the reference 4 x 9 x 7" in result.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(DataError, match="is not empty"):
        mend_geometry(open_dataset(root), tmp_path / "out")


def sequences(root: Path, *, mask: Grid, names: tuple[str, str, str] = ("flair/a", "t1/a", "seg/a")) -> Path:
    """One case of two sequences, the second of which is shifted, and a mask, listed in a manifest."""
    for name, grid, value in zip(names, (shifted(), shifted(rows=2), mask), (10, 50, 1), strict=True):
        path = root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, Volume(np.full(grid.shape, value, np.int16), grid))
    flair, t1, seg = (f"{name}.nii.gz" for name in names)
    (root / "manifest.csv").write_text(f"case,patient,image_flair,image_t1,mask\np,p,{flair},{t1},{seg}\n")
    return root


def test_files_of_one_name_in_several_folders_stay_files_of_their_own(tmp_path: Path) -> None:
    root = sequences(tmp_path / "set", mask=shifted(rows=2))
    found = mend_geometry(open_dataset(root), tmp_path / "out")
    assert [path.name for path in found.written] == ["p_a_image_2.nii.gz", "p_a_mask.nii.gz"]
    assert [int(read_volume(path).array.max()) for path in found.written] == [50, 1]
    (source,) = {record.source for record in open_dataset(tmp_path / "out").records}
    assert source is not None
    assert source.mask is not None
    assert (source.images[1].name, source.mask.name) == ("p_a_image_2.nii.gz", "p_a_mask.nii.gz")


def test_files_that_differ_in_name_keep_it(tmp_path: Path) -> None:
    root = sequences(tmp_path / "set", mask=shifted(rows=2), names=("a", "t1", "seg"))
    found = mend_geometry(open_dataset(root), tmp_path / "out")
    assert [path.name for path in found.written] == ["p_t1.nii.gz", "p_seg.nii.gz"]


def test_a_case_that_is_refused_leaves_none_of_its_files(tmp_path: Path) -> None:
    root = sequences(tmp_path / "set", mask=Grid((3, 9, 7)))
    found = mend_geometry(open_dataset(root), tmp_path / "out")
    assert [path.name for path, _ in found.refused] == ["a.nii.gz"]
    assert not found.written
    assert not (tmp_path / "out").exists()


def write_odd_volumes(root: Path) -> None:
    """Two alike, one of thick slices, one whose slices are sagittal, and one without geometry."""
    (root / "images").mkdir()
    for name, scale in (("a", 1.0), ("b", 1.0), ("thick", 2.0)):
        grid = Grid(SHAPE, AFFINE * [[1, 1, 1, 1]] @ np.diag([scale, 1, 1, 1]))
        write_volume(root / "images" / f"{name}.nii.gz", Volume(np.ones(SHAPE, np.uint8), grid))
    sagittal = Grid(SHAPE, AFFINE[[2, 1, 0, 3]])
    write_volume(root / "images" / "side.nii.gz", Volume(np.ones(SHAPE, np.uint8), sagittal))
    write_volume(root / "images" / "nowhere.nii.gz", Volume(np.ones(SHAPE, np.uint8), Grid(SHAPE)))


def test_odd_spacings_and_planes_are_named(tmp_path: Path) -> None:
    write_odd_volumes(tmp_path)
    report = check(tmp_path)
    found = {
        finding.where: finding for finding in report.findings if finding.code in ("spacing", "plane", "no-geometry")
    }
    assert {where: finding.code for where, finding in found.items()} == {
        "thick": "spacing", "side": "plane", "nowhere": "no-geometry",
    }  # fmt: skip
    assert found["thick"].message == "spacing 10 x 1 x 1 mm, most often it is 5 x 1 x 1 mm."
    assert "its slices are sagittal, most volumes' are axial" in found["side"].message
    assert report.facts.spacings == {"5 x 1 x 1 mm": 3, "10 x 1 x 1 mm": 1, "unknown": 1}


def test_a_plane_that_is_chosen_for_the_check_is_that_of_all_volumes(tmp_path: Path) -> None:
    write_odd_volumes(tmp_path)
    report = check(tmp_path, plane="coronal")
    assert "plane" not in {finding.code for finding in report.findings}
    assert report.facts.spacings == {"1 x 5 x 1 mm": 2, "1 x 10 x 1 mm": 1, "1 x 1 x 5 mm": 1}
