"""DICOM series in: masks on their grid, as from NIfTI, and as segmentations and structure sets of the series."""

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from box_filler import filler
from bright_run import bright
from dicom_phantoms import PATIENT, write_series
from prompted_runs import save_prompted_run
from segmed.cli.main import app
from segmed.core.errors import ConfigError, DataError
from segmed.core.volume import Grid, Volume
from segmed.inference.loading import load
from segmed.inference.propagate import PropagateConfig
from segmed.inference.targets import Existing, Outcome
from segmed.inference.volume_files import Extras, predict_volumes
from segmed.inference.volume_inputs import find_volumes
from segmed.inference.volume_prompts import PromptedVolumes, given_by_volume, parse_volume_given, read_volume_given
from segmed.io.volumes import read_volume, write_volume
from segmed.preprocess import PreprocessConfig

GRID = Grid((4, 9, 7), np.array([[0, 0, -0.75, 40], [0, -1.5, 0, 30], [4.0, 0, 0, -20], [0, 0, 0, 1]]))
SAME_THRICE = PreprocessConfig(size=(64, 64), channels=(0, 0, 0))
BOTH = Extras(segmentation=True, structures=True)


def blob(seed: int) -> Volume:
    """Noise with a bright block in it, so that a prediction has an edge and no single voxels."""
    array = np.random.default_rng(seed).integers(1, 90, GRID.shape).astype(np.uint16)
    array[1:3, 2:6, 1 + seed % 3 : 5] = 200
    return Volume(array, GRID)


def predicted(root: Path, out: Path, extras: Extras = BOTH, existing: Existing = "refuse", **how: str) -> Outcome:
    inputs = find_volumes(root, out=out, **how)
    assert inputs is not None
    predictor = bright(out.parent / "a run")
    predictor.config = replace(predictor.config, weights_sha256="0123456789abcdef" * 4)
    return predict_volumes(predictor, inputs, out, existing=existing, extras=extras)


def localiser(index: int, dataset: pydicom.Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two studies with a series each, in folders of their own, and a localiser."""
    for number in range(2):
        write_series(tmp_path / "in" / f"p{number}" / "t1", blob(number))
    write_series(tmp_path / "in" / "p0" / "scout", blob(5), series=1, change=localiser)
    return tmp_path / "in"


def test_series_give_the_masks_that_the_same_volumes_give_as_nifti(study: Path, tmp_path: Path) -> None:
    outcome = predicted(study, tmp_path / "out")
    assert not outcome.failures
    assert [path.relative_to(tmp_path / "out").as_posix() for path in outcome.written] == [
        "p0/t1.nii.gz",
        "p1/t1.nii.gz",
    ]
    for number in range(2):
        write_volume(tmp_path / "nifti" / f"p{number}.nii.gz", blob(number))
    predicted(tmp_path / "nifti", tmp_path / "plain", Extras())
    for number in range(2):
        mask, plain = (read_volume(tmp_path / name) for name in (f"out/p{number}/t1.nii.gz", f"plain/p{number}.nii.gz"))
        assert mask.array.any()
        assert mask.grid.is_same(GRID)
        np.testing.assert_array_equal(mask.array, plain.array)


def test_a_segmentation_holds_the_mask_and_names_algorithm_and_series(study: Path, tmp_path: Path) -> None:
    predicted(study, tmp_path / "out")
    mask = read_volume(tmp_path / "out" / "p0" / "t1.nii.gz").array > 0
    found = hd.seg.segread(tmp_path / "out" / "p0" / "t1_seg.dcm")
    sources = sorted((study / "p0" / "t1").iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in sources]
    np.testing.assert_array_equal(found.get_pixels_by_source_instance(uids, combine_segments=True), mask)
    (segment,) = found.SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (segment.SegmentLabel, algorithm.AlgorithmName) == ("foreground", "a run")
    assert algorithm.AlgorithmVersion.endswith("weights 0123456789ab")
    assert found.PatientName == PATIENT["PatientName"]


@pytest.mark.parametrize("carried", [False, True], ids=["own slices", "propagated"])
def test_boxes_of_a_series_reach_its_voxels_and_its_masks_in_dicom(study: Path, tmp_path: Path, carried: bool) -> None:
    inputs = find_volumes(study)
    assert inputs is not None
    given = [parse_volume_given("1,2,1,5,6,3", "--box", name) for name in ("p0/t1", "p1/t1.nii.gz")]
    how = PromptedVolumes(filler(), given_by_volume(given, inputs), carry=PropagateConfig() if carried else None)
    outcome = predict_volumes(filler(), inputs, tmp_path / "out", extras=BOTH, predict=how)
    assert not outcome.failures
    expected = np.zeros(GRID.shape, bool)
    expected[1:3, 2:6, 1:5] = True
    mask = read_volume(tmp_path / "out" / "p0" / "t1.nii.gz")
    assert mask.grid.is_same(GRID)
    shown = mask.array[1:3] > 0
    np.testing.assert_array_equal(shown, expected[1:3])
    assert (mask.array[[0, 3]] > 0).any() == carried
    for ending in ("seg", "rtstruct"):
        dicom = read_volume(tmp_path / "out" / "p0" / f"t1_{ending}.dcm", grid=GRID)
        np.testing.assert_array_equal(dicom.array > 0, mask.array > 0)


def test_points_reach_the_voxels_of_a_series_that_they_reach_in_nifti(study: Path, tmp_path: Path) -> None:
    for number in range(2):
        write_volume(tmp_path / "nifti" / f"p{number}.nii.gz", blob(number))
    (tmp_path / "voxels.csv").write_text("file,x,y,z,label\np0/t1,3,4,2,1\np0/t1,6,0,2,0\n")
    x, y, z = (GRID.affine @ (2, 4, 3, 1))[:3]
    (tmp_path / "mm.csv").write_text(f"file,x_mm,y_mm,z_mm\np1/t1.nii.gz,{x},{y},{z}\n")
    (tmp_path / "plain.csv").write_text("file,slice,x,y,label\np0,2,3,4,1\np0,2,6,0,0\np1,2,3.5,4.5,1\n")
    predictor = load(save_prompted_run(tmp_path / "run", preprocess=SAME_THRICE), device="cpu")
    for name, tables, extras in (("in", ("voxels", "mm"), BOTH), ("nifti", ("plain",), Extras())):
        inputs = find_volumes(tmp_path / name)
        assert inputs is not None
        given = [each for table in tables for each in read_volume_given(tmp_path / f"{table}.csv", "points")]
        how = PromptedVolumes(predictor, given_by_volume(given, inputs))
        assert not predict_volumes(predictor, inputs, tmp_path / f"of {name}", extras=extras, predict=how).failures
    for number in range(2):
        mask = read_volume(tmp_path / "of in" / f"p{number}" / "t1.nii.gz")
        assert mask.array.any(axis=(1, 2)).tolist() == [False, False, True, False]
        assert mask.grid.is_same(GRID)
        np.testing.assert_array_equal(mask.array, read_volume(tmp_path / "of nifti" / f"p{number}.nii.gz").array)
        for ending in ("seg", "rtstruct"):
            dicom = read_volume(tmp_path / "of in" / f"p{number}" / f"t1_{ending}.dcm", grid=GRID)
            np.testing.assert_array_equal(dicom.array > 0, mask.array > 0)


def test_a_structure_set_holds_the_mask_too(study: Path, tmp_path: Path) -> None:
    predicted(study, tmp_path / "out")
    found = read_volume(tmp_path / "out" / "p1" / "t1_rtstruct.dcm", grid=GRID)
    np.testing.assert_array_equal(found.array > 0, read_volume(tmp_path / "out" / "p1" / "t1.nii.gz").array > 0)


def test_localisers_and_folders_of_masks_alone_are_left_out(study: Path, tmp_path: Path) -> None:
    predicted(study, tmp_path / "out")
    (study / "p1" / "masks").mkdir()
    (tmp_path / "out" / "p1" / "t1_seg.dcm").rename(study / "p1" / "masks" / "seg.dcm")
    inputs = find_volumes(study)
    assert inputs is not None
    assert [path.name for path in inputs.left_out] == ["scout", "masks"]
    assert [volume.name for volume in inputs.volumes] == ["p0/t1", "p1/t1"]


def test_a_folder_whose_files_are_all_cut_to_nothing_is_listed(study: Path, tmp_path: Path) -> None:
    for path in (study / "p0" / "t1").iterdir():
        path.write_bytes(b"")
    outcome = predicted(study, tmp_path / "out", Extras())
    assert [path.parent.parent.name for path in outcome.written] == ["out"]
    assert [(path.parent.name, "named like a DICOM file" in reason) for path, reason in outcome.failures] == [
        ("t1", True)
    ]


def test_of_several_series_in_a_folder_one_is_chosen_by_its_number(study: Path, tmp_path: Path) -> None:
    write_series(study / "p0" / "t1", blob(1), series=8, names=[f"B{slice_}" for slice_ in range(4)])
    outcome = predicted(study, tmp_path / "out")
    assert [path.name for path, _ in outcome.failures] == ["t1"]
    assert "2 series" in outcome.failures[0][1]
    assert "--series" in outcome.failures[0][1]
    chosen = predicted(study / "p0", tmp_path / "8", series="8")
    assert [path.name for path in chosen.written] == ["t1.nii.gz"]
    other = read_volume(tmp_path / "out" / "p1" / "t1.nii.gz")
    np.testing.assert_array_equal(read_volume(chosen.written[0]).array, other.array)
    source = pydicom.dcmread(study / "p0" / "t1" / "B0")
    segmentation = pydicom.dcmread(tmp_path / "8" / "t1_seg.dcm")
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID


def test_masks_in_dicom_are_refused_of_other_volumes_before_anything_is_written(tmp_path: Path) -> None:
    write_volume(tmp_path / "in" / "a.nii.gz", blob(0))
    with pytest.raises(DataError, match=r"a\.nii\.gz: is no DICOM, and --rtstruct refers to the series"):
        predicted(tmp_path / "in", tmp_path / "out", Extras(structures=True))
    with pytest.raises(ConfigError, match="--series chooses among series of DICOM, and there are none"):
        find_volumes(tmp_path / "in", series="3")
    write_series(tmp_path / "in" / "b", blob(1))
    with pytest.raises(DataError, match="holds volumes, and images such as b"):
        find_volumes(tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_resuming_makes_what_is_missing_and_replaces_nothing(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predicted(study, out, Extras(structures=True))
    kept = read_volume(out / "p0" / "t1.nii.gz")
    edited = np.where(np.indices(kept.array.shape)[2] < 3, kept.array, 0).astype(np.uint8)
    write_volume(out / "p0" / "t1.nii.gz", Volume(edited, kept.grid))  # corrected by hand
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = predicted(study, out, Extras(segmentation=True, structures=True, uncertainty=True), existing="keep")
    assert not again.written
    assert not again.failures
    assert len(again.kept) == 2
    assert sorted(path.name for path in again.added) == ["t1_seg.dcm"] * 2 + ["t1_uncertainty.nii.gz"] * 2
    assert {path: path.read_bytes() for path in before} == before
    segmentation = read_volume(out / "p0" / "t1_seg.dcm", grid=kept.grid)
    np.testing.assert_array_equal(segmentation.array > 0, edited > 0)


def test_nobody_is_named_outside_of_the_masks_in_dicom(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmed.inference.load", lambda *_, **__: bright(tmp_path / "a run"))
    (study / "p0" / "t1" / "IM0001").unlink()
    arguments = ["predict", "RUN", str(study), "-o", str(tmp_path / "out"), "--seg", "--rtstruct", "--uncertainty"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert (
        "1 folder without a series to predict left out (such as localisers, masks or reports): the first is scout"
        in result.output
    )
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    told = result.output + "".join(path.as_posix() for path in files)
    for path in files:
        told += "" if path.suffix == ".dcm" else path.read_bytes().decode("latin1")
    assert len(files) == 5
    assert [value for value in PATIENT.values() if value.split("^")[0] in told] == []


def test_volumes_of_one_name_are_refused_before_anything_is_written(study: Path, tmp_path: Path) -> None:
    inputs = find_volumes(study)
    assert inputs is not None
    twice = replace(inputs, volumes=inputs.volumes * 2)
    with pytest.raises(DataError, match="these volumes are all called p0/t1"):
        predict_volumes(bright(tmp_path / "a run"), twice, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inner", ["", "p0/t1"])
def test_results_below_the_series_are_no_series_when_it_goes_on(study: Path, inner: str) -> None:
    root = study / inner
    first = predicted(root, root / "masks")
    assert len(first.written) == (1 if inner else 2)
    again = predicted(root, root / "masks", existing="keep")
    assert (again.kept, again.written, again.added, again.failures) == (first.written, (), (), ())
    assert predicted(root, root / "masks", existing="replace").written == first.written
