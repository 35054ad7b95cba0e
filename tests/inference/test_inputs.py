"""The same run gives the same slice the same mask however it is found; where it does not, that is said, and why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from box_filler import bright_finder
from bright_run import REGEX, bright, save, slices, written
from segmed.core.errors import ConfigError, DataError
from segmed.core.labels import LabelMap
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset
from segmed.inference.files import predict_files
from segmed.inference.from_data import patient_slices
from segmed.inference.inputs import Inputs, doubts, find_inputs, said_of
from segmed.inference.prompt_files import Given, PromptedFiles
from segmed.inference.propagate import PropagateConfig
from segmed.io import read_mask


def masks_of(folder: Path, inputs: Inputs) -> dict[str, np.ndarray]:
    """Masks by `p0_1`, whether they are named so or lie in a folder for each patient."""
    predictor = bright(folder)
    outcome = predict_files(predictor, inputs, folder)
    assert outcome.failures == ()
    names = [path.stem if "_" in path.stem else f"{path.parent.name}_{path.stem}" for path in outcome.written]
    return {
        name: read_mask(path, predictor.config.labels).array for name, path in zip(names, outcome.written, strict=True)
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Masks as evaluations make them: of the decoded data set, by patient."""
    root = written(tmp_path_factory.mktemp("data"), masks=True)
    decoded = decode(open_dataset(root, patient_regex=REGEX))
    predictor, found = bright(root), {}
    for patient in decoded.dataset.patients:
        records = [record for record in decoded.dataset.records if record.patient == patient]
        asked = patient_slices(decoded, records)
        masks = predictor.predict_volume(asked.images, positions=asked.positions)
        found |= {record.slice_id: mask.array for record, mask in zip(records, masks, strict=True)}
    return found


@pytest.mark.parametrize("way", ["data set", "images alone", "their folder", "sub-folders", "--volumes", "manifest"])
def test_one_slice_has_one_mask_however_it_is_found(way: str, expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    root = written(tmp_path / "in", masks=way == "data set", nested=way in ("sub-folders", "--volumes"))
    if way == "manifest":
        rows = [f"{name},{name[:2]},images/{name}.png" for name in slices()]
        (root / "manifest.csv").write_text("\n".join(["slice_id,patient,image", *rows]))
    inputs = {
        "data set": lambda: find_inputs(root, patient_regex=REGEX),
        "images alone": lambda: find_inputs(root, patient_regex=REGEX),
        "their folder": lambda: find_inputs(root / "images", patient_regex=REGEX),
        "sub-folders": lambda: find_inputs(root),
        "--volumes": lambda: find_inputs(root, volumes=True),
        "manifest": lambda: find_inputs(root),
    }[way]()
    found = masks_of(tmp_path / "out", inputs)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert doubts(inputs, bright(tmp_path).config) == ()
    assert "9 images of 3" in said_of(inputs)


def test_images_alone_have_other_masks_and_that_is_said(expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    inputs = find_inputs(written(tmp_path / "in"))
    found = masks_of(tmp_path / "out", inputs)
    assert not all(np.array_equal(found[name], expected[name]) for name in expected)
    assert said_of(inputs) == "9 images, each normalised by itself."
    first, second = doubts(inputs, bright(tmp_path).config)
    assert "each image is normalised alone, but the run was trained and evaluated on patients of several" in first
    assert "p0_1 and p0_2 look like slices of one patient" in second


def test_patients_pooled_as_one_volume_have_other_masks_and_that_is_said(
    expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    inputs = find_inputs(written(tmp_path / "in"), volumes=True)
    found = masks_of(tmp_path / "out", inputs)
    assert not all(np.array_equal(found[name], expected[name]) for name in expected)
    assert said_of(inputs) == "9 images of 1 volume, the images of each folder normalised together."
    (doubt,) = doubts(inputs, bright(tmp_path).config)
    assert "names such as p0_1.png and p1_1.png look like those of several patients" in doubt


def test_a_run_of_single_images_doubts_volumes_and_not_single_images(tmp_path: Path) -> None:
    config = bright(tmp_path, volumes=False).config
    folders = find_inputs(written(tmp_path / "nested", nested=True))
    (doubt,) = doubts(folders, config)
    assert "each stand alone" in doubt
    assert doubts(find_inputs(tmp_path / "nested", volumes=False), config) == ()
    assert doubts(folders, replace(config, volumes=None)) == ()


def test_one_image_of_a_patient_is_said_to_be_normalised_alone(tmp_path: Path) -> None:
    inputs = find_inputs(written(tmp_path) / "images" / "p0_1.png")
    assert said_of(inputs) == "One image, normalised by itself."
    assert len(doubts(inputs, bright(tmp_path).config)) == 1


def test_images_beside_sub_folders_stand_alone_unless_the_folder_is_a_volume(tmp_path: Path) -> None:
    pixels = slices()["p0_1"]
    for name in ("a/1.png", "a/2.png", "b/1.png", "x.png", "y.png"):
        save(tmp_path / name, pixels)
    assert sorted(find_inputs(tmp_path).sizes) == [1, 1, 1, 2]
    assert sorted(find_inputs(tmp_path, volumes=True).sizes) == [1, 2, 2]
    assert find_inputs(tmp_path, volumes=False).sizes == (1,) * 5


def test_slices_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / "p" / f"{number}.png", slices()["p0_1"])
    records = find_inputs(tmp_path).records
    assert [(record.image.stem, record.slice_index) for record in records] == [("1", 1), ("9", 9), ("10", 10)]


def test_a_regex_tells_the_position_and_lists_the_images_of_which_it_says_nothing(tmp_path: Path) -> None:
    for name in ("p0_7", "p0_12", "other"):
        save(tmp_path / f"{name}.png", slices()["p0_1"])
    inputs = find_inputs(tmp_path, patient_regex=REGEX)
    assert [record.slice_index for record in inputs.records] == [7, 12]
    assert [(path.name, "finds no patient" in reason) for path, reason in inputs.faults] == [("other.png", True)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patient_regex": REGEX, "volumes": True}, ConfigError, "leave out --volumes and --no-volumes"),
        ({"patient_regex": "("}, DataError, "--patient-regex"),
    ],
)
def test_options_that_contradict_are_refused(
    options: dict[str, object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        find_inputs(written(tmp_path), **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is one image, whose volume is not known"):
        find_inputs(tmp_path / "images" / "p0_1.png", volumes=True)


def test_masks_and_overlays_of_images_beside_are_passed_over_and_no_others(tmp_path: Path) -> None:
    for name in ("x.png", "x_mask.png", "x_overlay.png", "y_mask.png", "deep/x_mask.tif"):
        save(tmp_path / name, slices()["p0_1"])
    inputs = find_inputs(tmp_path)
    assert sorted(record.slice_id for record in inputs.records) == ["deep/x_mask.tif", "x.png", "y_mask.png"]
    assert [path.name for path in inputs.passed_over] == ["x_mask.png", "x_overlay.png"]


def test_images_beside_a_data_set_are_passed_over_and_named(tmp_path: Path) -> None:
    written(tmp_path, masks=True)
    save(tmp_path / "more" / "z.png", slices()["p0_1"])
    inputs = find_inputs(tmp_path)
    assert len(inputs.records) == 9
    assert [path.name for path in inputs.passed_over] == ["z.png"]


def test_one_mask_beside_numbered_images_hides_no_other_image(tmp_path: Path) -> None:
    for name in ("scan_1.tif", "scan_2.tif", "scan_2_mask.tif", "photo.png"):
        save(tmp_path / name, slices()["p0_1"])
    inputs = find_inputs(tmp_path)
    assert [record.image.name for record in inputs.records] == ["scan_1.tif", "scan_2.tif"]
    assert [path.name for path, _ in inputs.faults] == ["photo.png"]


@pytest.mark.parametrize("masks", [True, False])
def test_masks_lie_as_images_do_below_the_images_folder_whatever_else_is_there(tmp_path: Path, masks: bool) -> None:
    root = written(tmp_path, masks=masks)
    (root / "empty").mkdir()
    assert find_inputs(root).root == find_inputs(root / "images").root == root / "images"


def test_one_sub_folder_or_several_give_masks_in_their_sub_folders(tmp_path: Path) -> None:
    for name in ("TCGA_A_1_19990101/TCGA_A_1_19990101_1.tif", "TCGA_A_1_19990101/TCGA_A_1_19990101_1_mask.tif"):
        save(tmp_path / name, slices()["p0_1"])
    inputs = find_inputs(tmp_path)
    assert len(inputs.records) == 1
    assert inputs.root == tmp_path


@pytest.mark.parametrize("volumes", [None, True])
@pytest.mark.parametrize(
    ("where", "nested"), [("masks", True), ("images", True), ("masks", False), ("images/masks", False)]
)
def test_masks_below_the_images_are_no_images_when_it_goes_on(
    tmp_path: Path, where: str, nested: bool, volumes: bool | None
) -> None:
    root, predictor = written(tmp_path / "in", nested=nested), bright(tmp_path)
    before = find_inputs(root, volumes=volumes, out=root / where)
    first = predict_files(predictor, before, root / where)
    assert len(first.written) == 9
    inputs = find_inputs(root, volumes=volumes, out=root / where)
    assert (inputs.records, inputs.volumes, inputs.root) == (before.records, before.volumes, before.root)
    assert set(inputs.passed_over) >= set(first.written)
    assert predict_files(predictor, inputs, root / where, existing="keep").kept == first.written


def test_masks_below_a_data_set_are_no_images_of_it(tmp_path: Path) -> None:
    root = written(tmp_path / "in", masks=True)
    before = find_inputs(root, out=root / "images" / "predicted")
    predict_files(bright(tmp_path), before, root / "images" / "predicted")
    inputs = find_inputs(root, out=root / "images" / "predicted")
    assert (inputs.records, inputs.faults) == (before.records, ())
    assert find_inputs(root).faults != ()


def test_the_folder_of_the_images_is_no_folder_of_results(tmp_path: Path) -> None:
    for place in ("images/a.png", "masks/a.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.zeros((9, 7), np.uint8)).save(tmp_path / place)
    inputs = find_inputs(tmp_path, out=tmp_path / "images")
    assert [record.image.relative_to(tmp_path).as_posix() for record in inputs.records] == ["images/a.png"]


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("s_1", "s_2", "s_9"), [1, 2, 9]),
        (("slice08", "slice09", "slice11"), [1, 2, 4]),
        (("3", "4", "6"), [1, 2, 4]),
        (("s_10", "s_20", "s_40"), [1, 2, 4]),
        (("s_7",), [1]),
        (("1.2.840.1231", "1.2.840.1232", "1.2.840.1240", "1.2.840.1251"), [1, 2, 3, 4]),
        (("a_1", "a_2", "b_9"), [1, 2, 3]),
        (("s_1", "s_01", "s_9"), [1, 2, 3]),
        (("first", "s_3"), [1, 2]),
    ],
)
def test_numbers_that_alone_differ_in_the_names_of_a_folder_are_places(
    tmp_path: Path, names: tuple[str, ...], places: list[int]
) -> None:
    for name in names:
        save(tmp_path / "p" / f"{name}.png", slices()["p0_1"])
    for inputs in (find_inputs(tmp_path), find_inputs(tmp_path / "p", volumes=True)):
        assert sorted(record.slice_index for record in inputs.records) == places
        assert [record.slice_index for record in inputs.records] == places


def test_prompts_are_not_carried_over_a_number_that_is_missing_in_a_folder(tmp_path: Path) -> None:
    pixels = np.full((24, 30), 40, np.uint8)
    pixels[8:14, 10:16], pixels[0, 0], pixels[0, 1] = 250, 10, 255
    for name in ("s_1", "s_2", "s_9"):
        save(tmp_path / "p" / f"{name}.png", pixels)
    inputs = find_inputs(tmp_path / "p", volumes=True)
    given = {inputs.records[0].image: [Given("s_1.png", "here", (9.0, 7.0, 17.0, 15.0))]}
    predict = PromptedFiles(bright_finder(), given, carry=PropagateConfig(smallest=1))
    outcome = predict_files(bright_finder(), inputs, tmp_path / "out", predict=predict)
    found = [int((read_mask(path, LabelMap()).array > 0).sum()) for path in outcome.written]
    assert found == [36, 36, 0]
