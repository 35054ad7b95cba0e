"""Prompts on the command line: kinds in evaluate, boxes and points in predict."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import segmed
from prompted_runs import save_prompted_run
from segmed.core.errors import ConfigError, DataError
from segmed.core.split import Partition, Split
from segmed.core.volume import Grid, Volume
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.evaluation.result import Evaluation
from segmed.io.volumes import read_volume, write_volume
from toydata import write_toy


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy"), patients=3)


def split_of(decoded: DecodedDataset) -> Split:
    names = decoded.dataset.patients
    parts = [tuple(r.slice_id for r in decoded.dataset.records if r.patient == name) for name in names]
    patient_of = {r.slice_id: r.patient for r in decoded.dataset.records}
    return Split("patient", 0, decoded.data_hash, False, patient_of, (Partition(*parts),))


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    decoded = decode(open_dataset(root))
    folder = save_prompted_run(tmp_path_factory.mktemp("runs") / "sam", data_hash=decoded.data_hash)
    split_of(decoded).save(folder / "split.json")
    return folder


def test_evaluate_writes_an_evaluation_with_floors_per_kind_and_the_quality_curve(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["segmed", "evaluate", "RUN"])
    shown = segmed(
        "evaluate", run, "--data", root, "--prompts", "gt,jitter:5@64,none", "--uncertainty", 2, "--resamples", 100
    )
    folder = run / "evaluation-test" / "prompts"
    kinds = {path.name for path in folder.iterdir() if path.is_dir()}
    assert kinds == {"gt", "gt-x2", "jitter-5-64", "jitter-5-64-x2", "none"}
    assert {path.name for path in (folder / "gt" / "floors").iterdir()} == {
        "filled-box-gt", "inscribed-ellipse-gt", "previous-slices-mask-gt", "whole-image-gt",
    }  # fmt: skip
    assert len(list((folder / "none" / "floors").iterdir())) == 3
    assert (folder / "box-quality.csv").read_text().startswith("name,from,to,boxes,box_iou,mask_iou\nsam,")
    assert (folder / "box-quality.png").read_bytes().startswith(b"\x89PNG")
    assert Evaluation.load(folder / "jitter-5-64").provenance.others["command"] == "segmed evaluate RUN"
    oracle, _, automatic = shown.partition("Automatic, nothing of the reference")
    assert "ORACLE, prompts from the reference" in oracle
    assert "inscribed ellipse" in oracle
    assert "predict nothing" in automatic
    assert "gt" not in automatic.partition("In brackets")[0]


def test_evaluate_refuses_prompts_where_there_are_none_to_take(run: Path, root: Path) -> None:
    with pytest.raises(ConfigError, match="'cascade' need a folder made by `segmed cascade`"):
        segmed("evaluate", run, "--data", root, "--prompts", "gt,cascade")
    with pytest.raises(ConfigError, match="--uncertainty moves boxes"):
        segmed("evaluate", run, "--data", root, "--uncertainty", 4)
    with pytest.raises(ConfigError, match="Masks are scored"):
        segmed("evaluate", "--predictions", root, "--references", root, "-o", root, "--prompts", "gt")


def test_predict_takes_boxes_and_points(run: Path, root: Path, tmp_path: Path) -> None:
    image = next(path for path in sorted(root.rglob("*.tif")) if "mask" not in path.name)
    one = segmed("predict", run, image, "-o", tmp_path / "one", "--box", "3,3,30,40", "--point", "9,9,0")
    assert "1 mask\n" in one
    table = tmp_path / "boxes.csv"
    table.write_text(f"file,x0,y0,x1,y1\n{image.name},3,3,30,40\n")
    many = segmed("predict", run, root, "-o", tmp_path / "all", "--boxes", table)
    assert "11 images without a box or point: an empty mask for each" in many
    masks = sorted((tmp_path / "all").rglob("*.tif"))
    assert len(masks) == 12
    from PIL import Image as Pillow

    filled = [path for path in masks if np.asarray(Pillow.open(path)).any()]
    assert {path.name.replace("_mask", "") for path in filled} <= {image.name}


def test_predict_names_what_is_wrong_with_a_box(run: Path, root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--box and --point are for one image, and .* has 12"):
        segmed("predict", run, root, "-o", tmp_path / "out", "--box", "3,3,30,40")
    table = tmp_path / "boxes.csv"
    table.write_text("file,x0,y0,x1,y1\nnone.tif,3,3,30,40\n")
    with pytest.raises(DataError, match=r"boxes.csv, line 2: none.tif is none of the 12 images"):
        segmed("predict", run, root, "-o", tmp_path / "out", "--boxes", table)


def test_predict_carries_boxes_through_their_volumes_where_asked(run: Path, root: Path, tmp_path: Path) -> None:
    volume = sorted(root.glob("kaggle_3m/*0000_20000101/*_[0-9].tif"))
    assert len(volume) == 4
    (tmp_path / "boxes.csv").write_text(f"file,x0,y0,x1,y1\n{volume[2].name},5,5,30,30\n")
    options = ("--boxes", tmp_path / "boxes.csv", "--propagate", "--device", "cpu")
    said = segmed("predict", run, volume[0].parent, "-o", tmp_path / "masks", "--volumes", *options)
    assert "4 masks" in said
    with pytest.raises(ConfigError, match="--propagate carries boxes or points"):
        segmed("predict", run, volume[0].parent, "-o", tmp_path / "none", "--propagate", "--device", "cpu")


def test_prompts_are_not_carried_between_images_that_stand_alone(run: Path, root: Path, tmp_path: Path) -> None:
    for path in sorted(root.glob("kaggle_3m/*0000_20000101/*_[0-9].tif")):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "boxes.csv").write_text(f"file,x0,y0,x1,y1\n{path.name},5,5,30,30\n")
    with pytest.raises(ConfigError, match=r"--propagate carries .* each image of .* stands alone\. Say --volumes"):
        segmed("predict", run, tmp_path, "-o", tmp_path / "o", "--boxes", tmp_path / "boxes.csv", "--propagate")
    assert not (tmp_path / "o").exists()


def test_volumes_without_a_prompt_to_carry_are_told(run: Path, root: Path, tmp_path: Path) -> None:
    first = sorted(root.glob("kaggle_3m/*0000_20000101/*_[0-9].tif"))[0]
    (tmp_path / "boxes.csv").write_text(f"file,x0,y0,x1,y1\n{first.name},5,5,30,30\n")
    said = segmed("predict", run, root, "-o", tmp_path / "o", "--boxes", tmp_path / "boxes.csv", "--propagate")
    assert "2 volumes without a box or point: an empty mask for each slice." in said


def test_boxes_of_volumes_are_given_in_voxels_and_in_mm_on_the_command_line(run: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 200, (3, 4, 24, 20)).astype(np.int16)
    grid = Grid((4, 24, 20), np.array([[0, 0, -2.0, 40], [0, -2, 0, 30], [5, 0, 0, 1], [0, 0, 0, 1]]))
    for number, each in enumerate(array):
        write_volume(tmp_path / "in" / f"p01_{number:04d}.nii.gz", Volume(each, grid))
    segmed("predict", run, tmp_path / "in", "-o", tmp_path / "one", "--box", "2,4,1,12,20,2", "--overlays")
    table = tmp_path / "boxes.csv"  # columns run to the left, rows to the back
    table.write_text("file,x0_mm,y0_mm,z0_mm,x1_mm,y1_mm,z1_mm\np01,17,-9,3.5,37,23,8.5\n")
    segmed("predict", run, tmp_path / "in", "-o", tmp_path / "two", "--boxes", table)
    voxels, in_mm = (read_volume(tmp_path / name / "p01.nii.gz").array for name in ("one", "two"))
    np.testing.assert_array_equal(voxels, in_mm)
    assert voxels[1].any()
    assert not np.delete(voxels, 1, axis=0).any()
    assert (tmp_path / "one" / "p01_overlay.png").is_file()
