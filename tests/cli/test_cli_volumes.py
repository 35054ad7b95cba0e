"""The whole way with NIfTI on the command line, and the same numbers as from the same slices in files of their own."""

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from commands import TINY, segmed
from segmed.cli.main import app
from segmed.core.files import sha256_of
from segmed.core.split import Split
from segmed.core.volume import Grid, Volume
from segmed.evaluation.result import Evaluation
from segmed.io.volumes import write_volume
from toydata import write_toy

SPACING = (5.0, 1.0, 0.5)
SMALL = (*TINY, "--set", "augment=mri")


def placed(shape: tuple[int, int, int]) -> Grid:
    """Axial slices as they are cut: up, rows to the back, columns to the left."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = SPACING[0], -SPACING[1], -SPACING[2], 1
    return Grid(shape, affine)


def as_volumes(kaggle: Path, root: Path) -> Path:
    """The toy patients as NIfTI with a file a sequence, listed by a manifest."""
    rows = ["case,patient,image_pre,image_flair,image_post,mask,institution"]
    for folder in sorted(path for path in kaggle.rglob("*") if path.is_dir() and path.name.startswith("TOY")):
        count = len(list(folder.glob("*_mask.tif")))
        files = [folder / f"{folder.name}_{number}.tif" for number in range(1, count + 1)]
        images = np.stack([np.asarray(Pillow.open(file)) for file in files])
        masks = np.stack([np.asarray(Pillow.open(file.with_name(f"{file.stem}_mask.tif"))) for file in files])
        root.mkdir(exist_ok=True)
        names = []
        for channel, name in enumerate(("pre", "flair", "post")):
            write_volume(root / f"{folder.name}_{name}.nii.gz", Volume(images[..., channel], placed(masks.shape)))
            names.append(f"{folder.name}_{name}.nii.gz")
        write_volume(root / f"{folder.name}_seg.nii.gz", Volume(masks // np.uint8(255), placed(masks.shape)))
        patient, _, _ = folder.name.rpartition("_")
        institution = folder.name.split("_")[1]
        rows.append(",".join([folder.name, patient, *names, f"{folder.name}_seg.nii.gz", institution]))
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from images and one from volumes, evaluated, with the same seed."""
    root = tmp_path_factory.mktemp("volumes")
    write_toy(root / "png")
    as_volumes(root / "png", root / "nifti")
    for kind in ("png", "nifti"):
        segmed("data", "split", root / kind, "-o", root / f"{kind}.json")
        segmed("train", *SMALL, "--data", root / kind, "--split", root / f"{kind}.json", "-o", root / f"{kind}-run")
        segmed("evaluate", root / f"{kind}-run", "--data", root / kind)
    return root


def test_volumes_train_the_same_weights_as_the_same_slices_in_files_of_their_own(work: Path) -> None:
    assert sha256_of(work / "png-run" / "model.safetensors") == sha256_of(work / "nifti-run" / "model.safetensors")


def test_volumes_are_scored_as_the_same_slices_are(work: Path) -> None:
    png, nifti = (Evaluation.load(work / f"{kind}-run" / "evaluation-test") for kind in ("png", "nifti"))
    assert nifti.by_patient("dice") == png.by_patient("dice")
    assert [row.slice_id for row in nifti.slices] == [row.slice_id for row in png.slices]
    for slice_id in png.predictions:
        np.testing.assert_array_equal(nifti.predictions[slice_id], png.predictions[slice_id])


def test_a_run_on_volumes_is_scored_in_mm_and_ml_beside(work: Path) -> None:
    found = Evaluation.load(work / "nifti-run" / "evaluation-test-mm")
    plain = Evaluation.load(work / "nifti-run" / "evaluation-test")
    assert found.metrics["hd95_mm"].unit == "mm"
    assert found.by_patient("dice") == pytest.approx(plain.by_patient("dice"))
    assert found.kind == "run"
    assert found.data_hash == plain.data_hash
    assert not (work / "png-run" / "evaluation-test-mm").exists()


def test_predicted_volumes_equal_predicted_slices_pixel_by_pixel(work: Path) -> None:
    case = f"{Evaluation.load(work / 'png-run' / 'evaluation-test').patients[0].patient}_20000101"
    manifest = work / "nifti" / "manifest.csv"
    output = segmed("predict", work / "nifti-run", manifest, "-o", work / "masks", "--probabilities")
    assert "6 volumes, each normalised by itself" in output
    segmed("predict", work / "png-run", next((work / "png").rglob(case)), "-o", work / "slices", "--volumes")
    stored = nib.load(work / "masks" / f"{case}.nii.gz")
    np.testing.assert_allclose(stored.affine, nib.load(work / "nifti" / f"{case}_seg.nii.gz").affine, atol=1e-5)
    for number, mask in enumerate(np.asarray(stored.dataobj).T, start=1):
        written = np.asarray(Pillow.open(work / "slices" / f"{case}_{number}.tif"))
        np.testing.assert_array_equal(mask > 0, written > 0)
    with (work / "masks" / "summary.csv").open(newline="") as file:
        row = {row["case"]: row for row in csv.DictReader(file)}[case]
    assert float(row["ml"]) == pytest.approx(int(row["voxels"]) * 5 * 1 * 0.5 / 1000)


def test_scores_in_mm_lie_beside_the_folder_in_which_the_command_runs(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    segmed("evaluate", work / "nifti-run", "--data", work / "nifti", "--no-floors", "-o", ".")
    assert (tmp_path / "here" / "evaluation.json").is_file()
    assert (tmp_path / "here-mm" / "evaluation.json").is_file()


def test_masks_of_volumes_are_scored_on_a_split_as_the_run_that_made_them(work: Path, tmp_path: Path) -> None:
    segmed("predict", work / "nifti-run", work / "nifti" / "manifest.csv", "-o", tmp_path / "masks")
    how = ("--data", work / "nifti", "--split", work / "nifti.json", "-o", tmp_path / "out")
    segmed("evaluate", "--predictions", tmp_path / "masks", *how)
    run, masks = Evaluation.load(work / "nifti-run" / "evaluation-test"), Evaluation.load(tmp_path / "out")
    assert masks.by_patient("dice") == run.by_patient("dice")
    assert len(list((tmp_path / "out" / "floors").iterdir())) == 3
    in_mm = Evaluation.load(tmp_path / "out-mm")
    assert in_mm.metrics["hd95_mm"] == Evaluation.load(work / "nifti-run" / "evaluation-test-mm").metrics["hd95_mm"]
    case, _, _ = Split.load(work / "nifti.json").fold(0).train[0].rpartition("_")
    (tmp_path / "masks" / f"{case}.nii.gz").unlink()
    lost = CliRunner().invoke(
        app, ["evaluate", "--predictions", str(tmp_path / "masks"), *map(str, how), "--part=train"]
    )
    assert f"no mask of {case}" in str(lost.exception)


def test_a_bad_volume_ends_with_code_2_and_its_name(work: Path, tmp_path: Path) -> None:
    for channel, name in enumerate(("pre", "flair", "post")):
        source = next(work.glob(f"nifti/*_{name}.nii.gz")).read_bytes()
        (tmp_path / f"good_{channel:04d}.nii.gz").write_bytes(source)
        (tmp_path / f"short_{channel:04d}.nii.gz").write_bytes(source[: -20 * channel or None])
    result = CliRunner().invoke(app, ["predict", str(work / "nifti-run"), str(tmp_path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "short_0001.nii.gz: damaged or truncated NIfTI" in result.output
    assert (tmp_path / "out" / "good.nii.gz").is_file()


def test_volumes_are_drawn_with_their_masks_and_take_no_options_of_images(work: Path, tmp_path: Path) -> None:
    case = next(work.glob("nifti/*_pre.nii.gz")).name.removesuffix("_pre.nii.gz")
    for channel, name in enumerate(("pre", "flair", "post")):
        shutil.copyfile(work / "nifti" / f"{case}_{name}.nii.gz", tmp_path / f"x_{channel:04d}.nii.gz")
    arguments = ["predict", str(work / "nifti-run"), str(tmp_path / "x_0000.nii.gz"), "-o", str(tmp_path / "masks")]
    segmed(*arguments, "--overlays")
    slices, rows, columns = nib.load(tmp_path / "masks" / "x.nii.gz").shape[::-1]
    with Pillow.open(tmp_path / "masks" / "x_overlay.png") as sheet:
        assert sheet.size[0] % (2 * columns) == sheet.size[1] % (2 * rows) == 0
    assert slices >= (sheet.size[0] // (2 * columns)) * (sheet.size[1] // (2 * rows) - 1)
    for option, told in (
        (["--volumes"], "is for images of slices"),
        (["--box", "1,1,1,2,2,2"], "takes no boxes"),
    ):
        assert told in str(CliRunner().invoke(app, [*arguments, "--overwrite", *option]).exception)


def test_another_plane_is_trained_on_and_evaluated_with_a_split_of_that_plane(work: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    segmed("data", "split", work / "nifti", "-o", split, "--plane", "coronal")
    plane = ("--set", "preprocess.plane=coronal")
    segmed("train", *TINY, *plane, "--data", work / "nifti", "--split", split, "-o", tmp_path / "run")
    segmed("evaluate", tmp_path / "run", "--data", work / "nifti")
    assert len({row.slice for row in Evaluation.load(tmp_path / "run" / "evaluation-test").slices}) == 48
    segmed("predict", tmp_path / "run", work / "nifti" / "manifest.csv", "-o", tmp_path / "masks")
    arguments = ["train", *TINY, "--data", str(work / "nifti"), "--split", str(split), "-o", str(tmp_path / "x")]
    assert "or --plane" in str(CliRunner().invoke(app, arguments).exception)
