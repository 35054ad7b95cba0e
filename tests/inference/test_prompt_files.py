"""Boxes and points for files: read from CSV, JSON or the command line, and every fault names its row."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from prompted_runs import run_config, tiny_promptable
from segmed.core.errors import DataError
from segmed.core.volume import Grid, Volume
from segmed.data.cutting import cut_volumes
from segmed.inference.files import predict_files
from segmed.inference.inputs import find_inputs
from segmed.inference.prompt_files import Given, PromptedFiles, given_by_image, parse_given, prompts_of, read_given
from segmed.inference.prompted import PromptedPredictor
from segmed.inference.volume_prompts import VolumeGiven, prompts_of_volume
from segmed.io import read_mask
from segmed.models.checkpoint import TrainedModel
from segmed.prompts.value import Prompts

SIZE = (40, 56)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in ("one.png", "two.png", "deep/one.png"):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(generator.integers(1, 256, (*SIZE, 3), np.uint8)).save(file)
    return tmp_path / "images"


def test_rows_of_boxes_and_points_become_the_prompts_of_their_files(images: Path, tmp_path: Path) -> None:
    boxes = written(tmp_path / "boxes.csv", "file, x0,y0,x1,y1\ntwo.png,1,2,30.5,20\ntwo.png,4,5,6,7\n")
    points = written(tmp_path / "points.csv", "file,x,y,label,object\ntwo.png,9,8,0,1\ndeep/one.png,3,4,,\n")
    given = given_by_image([*read_given(boxes), *read_given(points)], find_inputs(images))
    asked = {path.relative_to(images).as_posix(): prompts_of(rows, SIZE) for path, rows in given.items()}
    assert asked == {
        "two.png": Prompts([(1, 2, 30.5, 20), (4, 5, 6, 7)], [(9, 8)], point_labels=[0], point_objects=[1]),
        "deep/one.png": Prompts(points=[(3, 4)]),
    }


def test_json_holds_boxes_and_points_of_several_files(tmp_path: Path) -> None:
    text = '{"a.png": {"boxes": [[1, 2, 3, 4]], "points": [[2, 3]], "labels": [0]}, "b.png": {"points": [[5, 6]]}}'
    rows = read_given(written(tmp_path / "prompts.json", text))
    assert [(row.file, row.numbers, row.label) for row in rows] == [
        ("a.png", (1, 2, 3, 4), 1), ("a.png", (2, 3), 0), ("b.png", (5, 6), 1),
    ]  # fmt: skip


def test_boxes_and_points_of_the_command_line() -> None:
    assert parse_given("1,2,3,4.5", "--box", "a.png").numbers == (1, 2, 3, 4.5)
    assert parse_given("7,8,0", "--point", "a.png").label == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one.png,30,2,3,20", r"boxes.csv, line 3: Box \(30, 2, 3, 20\) is inverted"),
        ("one.png,3,2,3,20", r"boxes.csv, line 3: Box \(3, 2, 3, 20\) is empty"),
        ("one.png,nan,2,3,20", r"boxes.csv, line 3: Box \(nan, 2, 3, 20\) is not finite"),
        ("one.png,0,0,57,20", r"boxes.csv, line 3: Box \(0, 0, 57, 20\) leaves the image of 40x56"),
        ("one.png,0,0,x,20", "boxes.csv, line 3: expected a number, got 'x'"),
        ("one.png,0,0,5", "boxes.csv, line 3: has 4 values"),
        (",0,0,5,5", "boxes.csv, line 3: names no file"),
    ],
)
def test_a_bad_box_names_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path / "boxes.csv", f"file,x0,y0,x1,y1\none.png,0,0,5,5\n{row}\n")
    with pytest.raises(DataError, match=message):
        prompts_of(read_given(path), SIZE)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one.png,57,2,1,0", r"points.csv, line 2: Point \(57, 2\) lies outside the image"),
        ("one.png,5,2,2,0", "points.csv, line 2: A point's label is 1"),
        ("one.png,5,2,1,", "points.csv, line 2: its file has 2 boxes. Say in `object`"),
        ("one.png,5,2,1,2", "points.csv, line 2: object 2 is none of the 2 boxes"),
        ("one.png,5,2,1,0.5", "points.csv, line 2: object is a whole number"),
    ],
)
def test_a_bad_point_names_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path / "points.csv", f"file,x,y,label,object\n{row}\n")
    boxes = [parse_given(text, "--box", "one.png") for text in ("0,0,5,5", "6,6,9,9")]
    with pytest.raises(DataError, match=message):
        prompts_of([*boxes, *read_given(path)], SIZE)


@pytest.mark.parametrize(
    ("first_line", "row", "message"),
    [
        (
            "file,x,y,w,h",
            "a.png,28,18,29,24",
            r"the first line is file,x,y,w,h\. Expected .*x1 = x \+ w and y1 = y \+ h",
        ),
        ("file,x0,y0,x1,y1,label", "a.png,1,2,3,4,0", "the first line is file,x0,y0,x1,y1,label. Expected"),
        ("file,x0,y0,x1,y1,x,y", "a.png,1,2,3,4,5,6", "and no other columns"),
        ("file,x,y,score", "a.png,1,2,0.5", "and no other columns"),
        ("file,x,x,y", "a.png,1,2,3", "the first line is file,x,x,y"),
    ],
)
def test_columns_of_another_meaning_are_refused_and_named(
    tmp_path: Path, first_line: str, row: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_given(written(tmp_path / "boxes.csv", f"{first_line}\n{row}\n"))


def test_a_file_of_points_is_no_file_of_boxes_nor_the_reverse(tmp_path: Path) -> None:
    points = written(tmp_path / "points.csv", "file,x,y\na.png,3,4\n")
    boxes = written(tmp_path / "boxes.json", '{"a.png": {"boxes": [[1, 2, 3, 4]]}}')
    with pytest.raises(DataError, match=r"--boxes .*points.csv: holds points and no boxes. Give it as --points"):
        read_given(points, "boxes")
    with pytest.raises(DataError, match=r"--points .*boxes.json: holds boxes and no points. Give it as --boxes"):
        read_given(boxes, "points")
    assert read_given(points, "points") == read_given(points)
    both = written(tmp_path / "both.json", '{"a.png": {"boxes": [[1, 2, 3, 4]], "points": [[2, 3]]}}')
    assert len(read_given(both, "boxes")) == len(read_given(both, "points")) == 2


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        ("0.28,0.30,0.57,0.70", "--box", r"shares of the image. Write pixels: \(15.68, 12, 31.92, 28\) of 40x56"),
        ("0,0,1,1", "--box", r"shares of the image. Write pixels: \(0, 0, 56, 40\)"),
        ("0.5,0.25", "--point", r"shares of the image. Write pixels: \(28, 10\)"),
        ("8.6,3,9.4,7", "--box", "holds no pixel's centre"),
    ],
)
def test_shares_of_the_image_are_not_taken_for_pixels(text: str, option: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prompts_of([parse_given(text, option, "a.png")], SIZE)


@pytest.mark.parametrize(
    ("text", "option"), [("0,0,2,1", "--box"), ("1,1,2,2", "--box"), ("0,0", "--point"), ("1,0", "--point")]
)
def test_the_first_pixels_can_still_be_asked_for(text: str, option: str) -> None:
    assert len(prompts_of([parse_given(text, option, "a.png")], SIZE)) == 1


def test_rows_are_of_the_same_images_whichever_of_their_folders_is_predicted(images: Path) -> None:
    rows = [parse_given("1,2,9,9", "--box", name) for name in ("images/one.png", "deep/one.png", "./two.png")]
    assert [len(given_by_image([row], find_inputs(images))) for row in rows] == [1, 1, 1]
    assert list(given_by_image(rows[1:2], find_inputs(images / "deep"))) == [images / "deep" / "one.png"]
    assert list(given_by_image(rows[:2], find_inputs(images.parent))) == [images / "one.png", images / "deep/one.png"]
    with pytest.raises(DataError, match=r"ep/one.png is none of the 3 images"):
        given_by_image([parse_given("1,2,9,9", "--box", "ep/one.png")], find_inputs(images))


def test_accents_name_a_file_in_either_form_of_unicode(images: Path) -> None:
    (images / "two.png").rename(images / "\u00e9.png")
    (rows,) = given_by_image([parse_given("1,2,9,9", "--box", "e\u0301.png")], find_inputs(images)).values()
    assert rows[0].numbers == (1, 2, 9, 9)


def test_a_row_for_no_image_or_for_several_is_refused(images: Path, tmp_path: Path) -> None:
    inputs = find_inputs(images)
    with pytest.raises(DataError, match=r"--box 1,2,3,4: three.png is none of the 3 images"):
        given_by_image([parse_given("1,2,3,4", "--box", "three.png")], inputs)
    rows = [parse_given("1,2,3,4", "--box", "one.png")]
    assert list(given_by_image(rows, inputs)) == [images / "one.png"]  # a whole path before a name
    (images / "also").mkdir()
    (images / "one.png").rename(images / "also" / "one.png")
    with pytest.raises(DataError, match=r"one.png may be also/one.png or deep/one.png"):
        given_by_image(rows, find_inputs(images))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "name,x0,y0,x1,y1\n", r"b.csv: the first line is name,x0,y0,x1,y1. Expected file,x0,y0,x1,y1"),
        ("b.json", "[1]", r"b.json: is \[1\]: .*expected prompts as"),
        ("b.json", '{"a.png": {"boxes": null}}', "b.json, a.png: boxes is None, expected a list"),
        ("b.json", '{"a.png": {"bbox": []}}', "b.json, a.png: unknown key 'bbox'"),
        ("b.json", '{"a.png": {"boxes": [[1, 2, 3]]}}', r"b.json, a.png, box 0: expected \[x0, y0, x1, y1\]"),
        ("b.json", '{"a.png": {"points": [[1, 2]], "labels": []}}', "1 points, 0 labels"),
        ("b.json", "{", "b.json: not valid JSON"),
    ],
)
def test_files_in_another_form_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_given(written(tmp_path / name, text))


@pytest.mark.parametrize(("text", "option"), [("1,2,3", "--box"), ("1", "--point"), ("1,2,3,4", "--point")])
def test_a_box_or_point_of_the_command_line_in_another_form_is_refused(text: str, option: str) -> None:
    with pytest.raises(DataError, match=f"{option} {text}: expected x"):
        parse_given(text, option, "a.png")


def test_masks_are_written_from_the_boxes_and_a_bad_one_costs_its_image_alone(images: Path, tmp_path: Path) -> None:
    predictor = PromptedPredictor(TrainedModel(tiny_promptable(), run_config(), tmp_path), device="cpu")
    inputs = find_inputs(images)
    rows = [parse_given("4,4,40,30", "--box", "one.png"), parse_given("4,4,99,30", "--box", "deep/one.png")]
    predict = PromptedFiles(predictor, given_by_image(rows, inputs))
    outcome = predict_files(predictor, inputs, tmp_path / "out", predict=predict)
    assert [(path.name, path.parent.name) for path in outcome.written] == [("one.png", "out"), ("two.png", "out")]
    assert len(outcome.failures) == 1
    assert "--box 4,4,99,30: Box (4, 4, 99, 30) leaves the image" in outcome.failures[0][1]
    encoded = predictor.encode(np.asarray(Pillow.open(images / "one.png")))
    expected = predictor.decode(encoded, Prompts(boxes=[(4, 4, 40, 30)])).mask
    assert np.array_equal(read_mask(tmp_path / "out/one.png", predictor.config.labels).array, expected)
    assert not read_mask(tmp_path / "out/two.png", predictor.config.labels).array.any()


NUMBERS = [
    ((1,), r"points.csv, line 2: object 1, but no point of its file is of object 0\. Number objects from 0"),
    ((0, 0, 2), r"points.csv, line 4: object 2, but no point of its file is of object 1\."),
    ((0, -1), r"points.csv, line 3: object -1; objects are counted from 0\."),
]
"""Objects of points without boxes, in rows from line 2, and what is wrong with them."""


@pytest.mark.parametrize(("numbers", "message"), NUMBERS)
def test_objects_of_points_alone_are_numbered_from_0_without_a_gap_or_name_their_row(
    numbers: tuple[int, ...], message: str
) -> None:
    of_image = [Given("one", f"points.csv, line {line}", (5.0, 5.0), object=n) for line, n in enumerate(numbers, 2)]
    with pytest.raises(DataError, match=message):
        prompts_of(of_image, SIZE)
    here = (5.0, 5.0, 1.0)
    of_volume = [
        VolumeGiven("one", f"points.csv, line {line}", "points", here, here, object=n)
        for line, n in enumerate(numbers, 2)
    ]
    grid = Grid((3, 9, 9), spacing=(5.0, 1.0, 1.0))
    cut = cut_volumes([Volume(np.zeros(grid.shape, np.int16), grid)], "acquired", names=["one"])
    with pytest.raises(DataError, match=message):
        prompts_of_volume(of_volume, cut)


def test_objects_of_points_alone_may_come_in_any_order() -> None:
    given = [Given("one", "here", (5.0, 5.0), object=number) for number in (2, 0, 1, 0)]
    assert prompts_of(given, SIZE).point_objects.tolist() == [0, 0, 1, 2]
