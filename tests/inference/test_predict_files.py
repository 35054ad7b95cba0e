"""Masks on disk: nothing is replaced unasked, a volume is finished where it was left, one bad file costs itself."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from bright_run import REGEX, bright, save, slices, written
from segmed.core.errors import DataError
from segmed.core.files import written_aside
from segmed.core.image import Image, Mask
from segmed.core.labels import LabelMap
from segmed.inference.files import predict_files
from segmed.inference.inputs import find_inputs
from segmed.inference.targets import Existing, Outcome
from segmed.io import read_mask


def predicted(root: Path, out: Path, *, existing: Existing = "refuse", overlays: bool = False) -> Outcome:
    inputs = find_inputs(root, patient_regex=None if root.is_file() else REGEX)
    return predict_files(bright(out), inputs, out, existing=existing, draw=drawn if overlays else None)


def drawn(path: Path, image: Image, mask: Mask) -> None:
    with written_aside(path) as temporary:
        temporary.write_bytes(bytes(int(mask.array.sum()) % 251))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_masks_that_are_there_are_not_replaced_and_nothing_is_begun(tmp_path: Path) -> None:
    root, out = written(tmp_path), tmp_path / "out"
    save(out / "p1_2.png", np.full((3, 3), 7, np.uint8))
    before = contents(out)
    with pytest.raises(DataError, match=r"out: 1 file would be replaced, such as .*p1_2.png.*--overwrite.*--resume"):
        predicted(root, out)
    assert contents(out) == before


def test_overlays_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    root, out = written(tmp_path), tmp_path / "out"
    save(out / "p1_2_overlay.png", np.full((3, 3), 7, np.uint8))
    with pytest.raises(DataError, match=r"p1_2_overlay\.png"):
        predicted(root, out, overlays=True)
    assert len(predicted(root, out).written) == 9


def test_overwriting_gives_what_an_empty_folder_gives(tmp_path: Path) -> None:
    root = written(tmp_path)
    predicted(root, tmp_path / "fresh")
    save(tmp_path / "out" / "p1_2.png", np.full((3, 3), 7, np.uint8))
    assert len(predicted(root, tmp_path / "out", existing="replace").written) == 9
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("link", ["p1_2.png", "p1_2_overlay.png", "p9_1.png"])
def test_a_link_where_a_mask_goes_is_refused_and_what_it_leads_to_is_left(tmp_path: Path, link: str) -> None:
    root, out, theirs = written(tmp_path), tmp_path / "out", tmp_path / "theirs.png"
    PIL.Image.fromarray(slices()["p0_1"]).save(root / "images" / "p9_1.jpg")  # whose mask is a PNG
    theirs.write_text("mine")
    out.mkdir()
    (out / link).symlink_to(theirs)
    with pytest.raises(DataError, match=rf"out/{link}: is a symbolic link"):
        predicted(root, out, existing="replace", overlays=True)
    assert contents(out) == {link: b"mine"}


def test_resuming_keeps_what_is_there_and_gives_what_one_go_gives(tmp_path: Path) -> None:
    root, out = written(tmp_path), tmp_path / "out"
    predicted(root, tmp_path / "fresh")
    predicted(root, out)
    for name in ("p0_2", "p2_1", "p2_2", "p2_3"):
        (out / f"{name}.png").unlink()
    before = (out / "p0_1.png").stat().st_mtime_ns
    outcome = predicted(root, out, existing="keep")
    assert sorted(path.stem for path in outcome.written) == ["p0_2", "p2_1", "p2_2", "p2_3"]
    assert len(outcome.kept) == 5
    assert (out / "p0_1.png").stat().st_mtime_ns == before
    assert contents(out) == contents(tmp_path / "fresh")


def test_resuming_draws_the_overlays_that_are_not_there_and_predicts_nothing_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = written(tmp_path), tmp_path / "out"
    predicted(root, out)
    edited = np.zeros(read_mask(out / "p1_2.png", LabelMap()).array.shape, np.uint8)
    edited[0, :5] = 255
    save(out / "p1_2.png", edited)
    before = contents(out)
    monkeypatch.setattr("segmed.inference.files._masks", lambda *_, **__: pytest.fail("A volume was predicted."))
    outcome = predicted(root, out, existing="keep", overlays=True)
    assert (len(outcome.written), len(outcome.kept), len(outcome.added)) == (0, 9, 9)
    assert {name: (out / name).read_bytes() for name in before} == before
    assert len((out / "p1_2_overlay.png").read_bytes()) == 5  # of the mask that is there


def test_no_overlay_is_drawn_of_a_mask_of_another_size(tmp_path: Path) -> None:
    image, mask = written(tmp_path) / "images" / "p0_1.png", save(tmp_path / "m.png", np.zeros((3, 4), np.uint8))
    outcome = predicted(image, mask, existing="keep", overlays=True)
    assert outcome.failures == ((image, f"{mask}: has another size than {image}. Say --overwrite."),)
    assert not outcome.kept


def test_volumes_that_are_done_are_not_predicted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = written(tmp_path), tmp_path / "out"
    predicted(root, out)
    monkeypatch.setattr("segmed.inference.files.read_image", lambda _: pytest.fail("An image was read."))
    assert len(predicted(root, out, existing="keep").kept) == 9


def test_a_file_that_is_named_for_one_image_is_the_mask(tmp_path: Path) -> None:
    image = written(tmp_path) / "images" / "p0_1.png"
    outcome = predicted(image, tmp_path / "new" / "mask.tif", overlays=True)
    assert outcome.written == (tmp_path / "new" / "mask.tif",)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["mask.tif", "mask_overlay.png"]
    assert read_mask(tmp_path / "new" / "mask.tif", LabelMap()).array.shape == (13, 18)
    with pytest.raises(DataError, match=r"mask.tif: exists already. Choose another place with -o, or say --overwrite"):
        predicted(image, tmp_path / "new" / "mask.tif")
    with pytest.raises(DataError, match="an input would be replaced"):
        predicted(image, image, existing="replace")


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("images", "mask.png", r"mask.png: is the name of one file, for 9 images. Name a folder"),
        ("images/p0_1.png", "mask.jpg", r"masks are not written with suffix .jpg. Choose of .png"),
        ("images/p0_1.png", "mask.nii.gz", r"masks are not written with suffix .nii.gz. Choose of .png"),
    ],
)
def test_a_file_that_cannot_be_the_mask_is_refused_and_no_folder_is_made(
    source: str, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        predicted(written(tmp_path) / source, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "masks.png").mkdir()
    assert len(predicted(written(tmp_path / "in"), tmp_path / "masks.png").written) == 9


def test_one_bad_slice_costs_itself_and_the_others_say_that_it_is_missing(tmp_path: Path) -> None:
    root = written(tmp_path)
    (root / "images" / "p1_3.png").write_bytes(b"no image")
    outcome = predicted(root, tmp_path / "out")
    assert len(outcome.written) == 8
    assert [path.name for path, _ in outcome.failures] == ["p1_3.png"]
    (said,) = outcome.incomplete
    assert said.startswith("p1: 1 of 3 slices could not be used")


def test_a_slice_that_the_run_cannot_take_costs_itself(tmp_path: Path) -> None:
    for name, pixels in slices().items():
        file = tmp_path / f"{name}.npy"
        np.save(file, np.where(np.arange(18) == 3, np.nan, pixels) if name == "p1_2" else pixels.astype(float))
    outcome = predicted(tmp_path, tmp_path / "out")
    assert len(outcome.written) == 8
    ((path, reason),) = outcome.failures
    assert path.name == "p1_2.npy"
    assert reason.startswith(f"{path}: ")
    assert len(outcome.incomplete) == 1


def test_a_name_too_long_for_an_overlay_costs_its_image_alone(tmp_path: Path) -> None:
    root = written(tmp_path / "in")
    save(root / "images" / f"p{'0' * 243}_1.png", slices()["p0_1"])
    outcome = predicted(root, tmp_path / "out", overlays=True)
    assert len(outcome.written) == 9
    assert [("cannot be written" in reason) for _, reason in outcome.failures] == [True]


def test_a_file_that_is_missing_in_a_manifest_is_listed_once(tmp_path: Path) -> None:
    save(tmp_path / "x.png", slices()["p0_1"])
    (tmp_path / "manifest.csv").write_text("slice_id,patient,image\nx,p,x.png\ny,p,gone.png\n")
    outcome = predict_files(bright(tmp_path), find_inputs(tmp_path), tmp_path / "out")
    assert len(outcome.written) == 1
    assert [path.name for path, _ in outcome.failures] == ["gone.png"]
