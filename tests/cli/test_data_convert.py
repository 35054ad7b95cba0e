"""`segmed data convert` between all formats: what it prints, writes and refuses."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dicom_phantoms import PATIENT, stackable, write_series
from segmed import Grid, Volume, read_volume, write_volume
from segmed.cli.main import app
from segmed.core.errors import DataError
from segmed.core.stacking import Stacking
from segmed.io.dicom.reading import read_dicom_labels
from volume_phantoms import grid_of

GRID = stackable(Grid((5, 7, 9), grid_of(11).affine))


def convert(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "convert", *map(str, words)])


def test_a_series_becomes_nifti_and_what_was_understood_is_printed(tmp_path: Path) -> None:
    image = Volume(np.arange(315, dtype=np.int16).reshape(5, 7, 9), GRID)
    write_series(tmp_path / "dicom", image)
    result = convert(tmp_path / "dicom", "-o", tmp_path / "a.nii.gz")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "a.nii.gz")
    assert "grid: 5 x 7 x 9 voxels, " in result.stderr
    assert f" mm, {GRID.orientation}\nvalues: int16, 0 to 314\n" in result.stderr
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj).transpose(2, 1, 0), image.array)
    assert [value for value in PATIENT.values() if value in result.output] == []


@pytest.mark.parametrize("end", ["seg.dcm", "rtstruct.dcm", ".nrrd", ".mha", ".nii"])
def test_a_mask_goes_to_every_format_and_back_with_its_names(tmp_path: Path, end: str) -> None:
    labels = np.zeros((5, 7, 9), np.uint8)
    labels[1:3, 2:5, 3:8], labels[2, 3, 4:6] = 1, 2
    write_series(tmp_path / "dicom", Volume(np.zeros((5, 7, 9), np.int16), GRID))
    write_volume(tmp_path / "mask.nii.gz", Volume(labels, GRID))
    out, source = tmp_path / f"a{end}", ("--source", tmp_path / "dicom")
    result = convert(tmp_path / "mask.nii.gz", "-o", out, *source, "--names", "oedema, core")
    assert result.exit_code == 0, result.output
    millilitres = abs(np.linalg.det(GRID.affine[:3, :3])) / 1000
    assert f"label 2, core: 2 voxels, {2 * millilitres:.4g} ml\n" in result.stderr
    result = convert(out, "-o", tmp_path / "back.nii.gz", *source)
    assert result.exit_code == 0, result.output
    back = read_volume(tmp_path / "back.nii.gz")
    np.testing.assert_array_equal(back.array, labels)
    assert back.grid.distance(GRID) < 1e-2
    if end.endswith("dcm"):
        assert [label.name for label in read_dicom_labels(out, grid=GRID).labels] == ["oedema", "core"]
        result = convert(out, "-o", tmp_path / "core.nrrd", *source, "--segment", "core")
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(read_volume(tmp_path / "core.nrrd").array, 2 * (labels == 2))


def test_warnings_are_printed_and_one_of_two_series_is_chosen(tmp_path: Path) -> None:
    image = Volume(np.zeros((5, 7, 9), np.uint16), GRID)
    write_series(tmp_path / "dicom" / "a", image, series=1)
    for path in write_series(tmp_path / "dicom" / "b", image, series=2)[1::2]:
        path.unlink()
    assert "2 series of images" in str(convert(tmp_path / "dicom", "-o", tmp_path / "a.nrrd").exception)
    result = convert(tmp_path / "dicom", "-o", tmp_path / "a.nrrd", "--series", "2")
    assert result.exit_code == 0, result.output
    assert "Warning: " in result.stderr
    assert "every second slice is missing" in result.stderr


def test_a_mask_that_lies_elsewhere_than_its_image_is_refused_in_any_format(tmp_path: Path) -> None:
    moved = GRID.affine.copy()
    moved[:3, 3] += 0.5 * moved[:3, 1]
    write_volume(tmp_path / "image.nii.gz", Volume(np.zeros((5, 7, 9), np.int16), GRID))
    write_volume(tmp_path / "mask.nii.gz", Volume(np.ones((5, 7, 9), np.uint8), Grid((5, 7, 9), moved)))
    result = convert(tmp_path / "mask.nii.gz", "-o", tmp_path / "a.nrrd", "--source", tmp_path / "image.nii.gz")
    assert "mask.nii.gz: not on the grid of its image: shifted by" in str(result.exception)
    assert not (tmp_path / "a.nrrd").exists()


def test_a_mask_whose_axes_run_otherwise_is_put_on_the_grid_of_its_image(tmp_path: Path) -> None:
    labels = (np.arange(315).reshape(5, 7, 9) % 4 == 0).astype(np.uint8)
    write_volume(tmp_path / "image.nii.gz", Volume(np.zeros((5, 7, 9), np.int16), GRID))
    write_volume(tmp_path / "mask.nii.gz", Stacking((2, 0, 1), (True, False, True)).apply(Volume(labels, GRID)))
    result = convert(tmp_path / "mask.nii.gz", "-o", tmp_path / "a.nrrd", "--source", tmp_path / "image.nii.gz")
    assert result.exit_code == 0, result.output
    back = read_volume(tmp_path / "a.nrrd")
    assert back.grid.is_same(GRID)
    np.testing.assert_array_equal(back.array, labels)


@pytest.mark.parametrize("source", [(), ("--source", "{}/a.nii.gz")])
def test_a_series_of_a_file_that_has_none_is_refused(tmp_path: Path, source: tuple[str, ...]) -> None:
    write_volume(tmp_path / "a.nii.gz", Volume(np.zeros((5, 7, 9), np.uint8), GRID))
    words = [word.format(tmp_path) for word in source]
    result = convert(tmp_path / "a.nii.gz", "-o", tmp_path / "b.nrrd", *words, "--series", "2")
    assert "a.nii.gz: series 2 is one of DICOM images, which this is not" in str(result.exception)
    assert not (tmp_path / "b.nrrd").exists()


def test_nothing_is_replaced_followed_or_written_in_part(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", Volume(np.full((5, 7, 9), 0.5, np.float32), GRID))
    (tmp_path / "there.nrrd").write_text("mine")
    (tmp_path / "link.nrrd").symlink_to(tmp_path / "there.nrrd")
    for words, message in (
        (["there.nrrd"], "exists already"),
        (["link.nrrd", "--force"], "is a symbolic link"),
        (["a.png"], "no format of volumes ends so"),
        (["seg.dcm"], "Name their folder, with --source"),
        (["seg.dcm", "--source", tmp_path / "a.nii.gz"], "Name their folder, with --source"),
        (["b.nrrd", "--mask"], "the value 0.5, expected whole numbers"),
        (["b.nrrd", "--segment", "liver"], "are those of a DICOM mask"),
    ):
        result = convert(tmp_path / "a.nii.gz", "-o", tmp_path / words[0], *words[1:])
        assert isinstance(result.exception, DataError), words
        assert message in str(result.exception)
    assert (tmp_path / "there.nrrd").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "link.nrrd", "there.nrrd"]
    assert convert(tmp_path / "a.nii.gz", "-o", tmp_path / "there.nrrd", "--force").exit_code == 0
    assert read_volume(tmp_path / "there.nrrd").array.max() == 0.5
