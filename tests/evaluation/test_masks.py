import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from dicom_phantoms import stackable, write_series
from mask_samples import CASES, SHAPE, SPACING, affine, moved, reference, write_masks, write_references
from segmed.core.errors import DataError
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.resampling import resampled_labels
from segmed.core.stacking import Stacking
from segmed.core.volume import Grid, Volume
from segmed.evaluation.compare import compare
from segmed.evaluation.masks.files import files_by_table
from segmed.evaluation.masks.labels import LabelNumbers, parse_label_numbers
from segmed.evaluation.masks.references import open_references
from segmed.evaluation.masks.score import score_masks
from segmed.evaluation.result import Evaluation
from segmed.io.dicom.series import find_series
from segmed.io.dicom.writing import write_segmentation, write_structures
from segmed.io.volumes import write_volume

REGEX = "^([a-z])_"


@pytest.fixture
def references(tmp_path):
    return open_references(write_references(tmp_path / "references"), patient_regex=REGEX, tolerances=(0.5, 1.0))


def of(evaluation, case, label):
    return next(row for row in evaluation.cases if (row.case, row.label) == (case, label))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_labels_are_scored_each_in_a_row_and_as_monai_scores_them_in_millimetres(tmp_path, references):
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    tool = write_masks(tmp_path / "tool", {case: moved(case) for case in CASES})
    found = score_masks(tool, references, name="tool", resamples=200)
    assert found.space.unit == "mm"
    for case in CASES:
        for number, label in enumerate(("label 1", "label 2"), start=1):
            row = of(found, case, label)
            truth, guess = (torch.tensor(mask == number)[None, None] for mask in (reference(case), moved(case)))
            if not truth.any():
                assert math.isnan(row.scores["dice"])
                continue
            hd95 = compute_hausdorff_distance(guess, truth, True, percentile=95, spacing=list(SPACING)).item()
            nsd = compute_surface_dice(guess, truth, [0.5], True, spacing=list(SPACING)).item()
            assert row.scores["hd95_mm"] == pytest.approx(hd95)
            assert row.scores["nsd_0.5mm"] == pytest.approx(nsd)
            assert row.scores["dice"] == pytest.approx(compute_dice(guess, truth).item())
    assert set(found.by_label) == {"label 1", "label 2"}
    both = [found.by_label[label]["dice"].value for label in ("label 1", "label 2")]
    assert both[0] != both[1]


def test_a_patient_with_several_volumes_counts_once_with_their_mean(tmp_path, references):
    tool = write_masks(tmp_path / "tool", {case: moved(case, rows=2 * (case == "a_2")) for case in CASES})
    found = score_masks(tool, references, name="tool", resamples=200)
    assert [row.patient for row in found.patients if row.label == "label 1"] == ["a", "b", "c"]
    first = next(row for row in found.patients if row.label == "label 1")
    cases = [of(found, case, "label 1") for case in ("a_1", "a_2")]
    assert first.scores["dice"] == pytest.approx((cases[0].scores["dice"] + cases[1].scores["dice"]) / 2)
    assert first.reference_px == sum(row.reference_voxels for row in cases)
    assert found.metrics["dice"].n == 3
    assert found.patients_known


def test_volume_errors_are_millilitres(tmp_path, references):
    larger = {case: reference(case) for case in CASES}
    larger["b_1"] = larger["b_1"].copy()
    larger["b_1"][5, :10, :10] = 1
    found = score_masks(write_masks(tmp_path / "tool", larger), references, name="tool", resamples=200)
    assert of(found, "b_1", "label 1").scores["volume_error_ml"] == pytest.approx(100 * math.prod(SPACING) / 1000)
    assert of(found, "b_1", "label 1").scores["volume_bias_ml"] > 0


def test_a_missing_mask_is_named_scored_as_empty_and_left_out_of_found(tmp_path, references):
    tool = write_masks(tmp_path / "tool", {case: reference(case) for case in CASES if case != "b_1"})
    found = score_masks(tool, references, name="tool", resamples=200)
    assert found.missing == ("b_1",)
    row = of(found, "b_1", "label 1")
    diagonal = math.hypot(*(side * step for side, step in zip(SHAPE, SPACING, strict=True)))
    assert (row.given, row.one_sided, row.scores["dice"]) == (False, True, 0.0)
    assert row.scores["hd95_mm"] == pytest.approx(diagonal)
    assert math.isnan(row.scores["hd95_found_mm"])
    assert found.metrics["dice"].value < found.metrics["dice_found"].value == 1.0
    assert found.metrics["hd95_found_mm"].value == 0.0
    assert found.metrics["hd95_mm"].value > 0
    assert found.metrics["missed"].value == 1


def test_without_spacing_distances_are_voxels_and_nothing_says_mm(tmp_path):
    folder = tmp_path / "references"
    write_references(folder)
    write_masks(folder, {"a_1": reference("a_1")}, affine=None)
    references = open_references(folder, patient_regex=REGEX)
    found = score_masks(folder, references, name="tool", resamples=200)
    assert found.space.unit == "voxels"
    assert {metric.unit for metric in found.metrics.values()} <= {"", "voxels", "patients"}
    assert not any("mm" in name or "ml" in name for name in found.metrics)
    assert "1 reference states no spacing" in found.remarks[0]


def test_masks_on_another_grid_are_all_named_with_axis_and_millimetres(tmp_path, references):
    tool = write_masks(tmp_path / "tool", {"a_1": reference("a_1"), "c_1": reference("c_1")})
    write_masks(tool, {"a_2": reference("a_2"), "b_1": reference("b_1")}, affine=affine(shift=1.6))
    with pytest.raises(DataError) as told:
        score_masks(tool, references, name="tool")
    text = str(told.value)
    assert "a_2.nii.gz: shifted by -1.6 mm along rows" in text
    assert "b_1.nii.gz" in text
    assert "a_1" not in text
    assert "--other-grids resample" in text
    ignored = score_masks(tool, references, name="tool", other_grids="ignore", resamples=200)
    assert ignored.metrics["dice"].value == 1.0
    assert ignored.remarks == ("2 masks had another geometry than the reference, which was not believed.",)
    resampled = score_masks(tool, references, name="tool", other_grids="resample", resamples=200)
    assert resampled.metrics["dice"].value < 1.0
    grid = Grid(SHAPE, affine())
    there = resampled_labels(Volume(reference("b_1"), Grid(SHAPE, affine(shift=1.6))), grid)
    assert (resampled.volumes["b_1"].array == there.array).all()


def test_masks_with_turned_axes_are_mended_without_resampling_and_that_is_said(tmp_path, references):
    tool = tmp_path / "tool"
    tool.mkdir()
    turned = Stacking((2, 1, 0), (True, False, True))
    for case in CASES:
        write_volume(tool / f"{case}.nii.gz", turned.apply(Volume(reference(case), Grid(SHAPE, affine()))))
    found = score_masks(tool, references, name="tool", resamples=200)
    assert found.metrics["dice"].value == 1.0
    assert "4 masks had axes in another order" in found.remarks[0]


def test_labels_are_matched_by_name_where_a_tool_numbers_them_otherwise(tmp_path):
    folder = write_references(tmp_path / "data" / "labelsTs")
    names = {"labels": {"background": 0, "kidney": 1, "tumour": 2}}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(names))
    numbers = np.array([0, 7, 3], np.uint8)
    masks = {case: numbers[reference(case)] for case in CASES}
    masks["a_1"] = masks["a_1"].copy()
    masks["a_1"][0, 0, 0] = 9  # an organ that nobody scores
    tool = write_masks(tmp_path / "tool", masks)
    (tool / "dataset.json").write_text(
        json.dumps({"labels": {"0": "background", "3": "Tumour", "7": "kidney", "9": "x"}})
    )
    references = open_references(folder, each_case_is_a_patient=True)
    found = score_masks(tool, references, name="tool", resamples=200)
    assert found.labels.names == ("kidney", "tumour")
    assert found.metrics["dice"].value == 1.0
    assert found.remarks == ("Numbers without a label of the references are taken for background: 9.",)
    with pytest.raises(DataError, match=r"has no label 'tumour'.*--labels-of tool:tumour=NUMBER"):
        score_masks(tool, references, name="tool", labels=LabelNumbers({"kidney": 7}, "--labels-of"))
    (tool / "dataset.json").unlink()
    with pytest.raises(DataError, match="holds the number 3, which is no label"):
        score_masks(tool, references, name="tool")


def test_a_folder_a_case_with_a_file_for_each_label_is_one_mask(tmp_path):
    folder = write_references(tmp_path / "references")
    for case in CASES:
        each = {"kidney": (reference(case) > 0).astype(np.uint8), "tumour": (reference(case) == 2).astype(np.uint8)}
        write_masks(tmp_path / "total" / case, {**each, "liver": each["tumour"]})
    references = open_references(folder, labels=parse_label_numbers("kidney=1,tumour=2"), each_case_is_a_patient=True)
    found = score_masks(tmp_path / "total", references, name="total", resamples=200)
    assert found.metrics["dice"].value == 1.0
    write_masks(tmp_path / "total" / "b_1", {"tumour": reference("b_1")}, affine=affine(shift=1.6))
    with pytest.raises(DataError, match=r"tumour.nii.gz: lies on .* labels of its case: shifted by -1.6 mm along rows"):
        score_masks(tmp_path / "total", references, name="total")


def test_a_folder_a_case_with_one_file_called_as_a_label_is_no_mask_of_another_label(tmp_path):
    """By the number in it the kidney, 1 in its file as any, was the liver."""
    folder = write_references(tmp_path / "references")
    for case in CASES:
        write_masks(tmp_path / "tool" / case, {"kidney": (reference(case) == 2).astype(np.uint8)})
    references = open_references(folder, labels=parse_label_numbers("liver=1,kidney=2"), each_case_is_a_patient=True)
    with pytest.raises(DataError, match="a_1: has no file of the label 'liver'; there are kidney") as refused:
        score_masks(tmp_path / "tool", references, name="tool")
    assert "--other-grids" not in str(refused.value)  # which would not help


def test_one_mask_of_several_labels_in_a_folder_a_case_is_read_by_its_numbers_though_called_as_a_label(tmp_path):
    cases = CASES[:-1]  # the last has one label
    folder = write_masks(tmp_path / "references", {case: reference(case) for case in cases})
    for case in cases:
        write_masks(tmp_path / "tool" / case, {"liver": reference(case)})
    references = open_references(folder, labels=parse_label_numbers("liver=1,kidney=2"), each_case_is_a_patient=True)
    assert score_masks(tmp_path / "tool", references, name="tool", resamples=200).metrics["dice"].value == 1.0


def test_images_in_a_folder_a_case_called_as_the_label_are_the_masks_of_the_cases(tmp_path):
    square = np.zeros((20, 20), np.uint8)
    square[5:15, 5:15] = 1
    for case in ("p1", "p2"):
        for place in (tmp_path / "references" / f"{case}.png", tmp_path / "tool" / case / "tumour.png"):
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(square).save(place)
    labels = parse_label_numbers("tumour=1")
    references = open_references(tmp_path / "references", labels=labels, each_case_is_a_patient=True)
    assert score_masks(tmp_path / "tool", references, name="tool", resamples=200).metrics["dice"].value == 1.0


def test_one_case_with_a_file_for_each_label_is_a_case_and_not_one_for_each_file(tmp_path):
    write_masks(tmp_path / "references", {"a_1": reference("a_1")})
    each = {"liver": reference("a_1") == 1, "kidney": reference("a_1") == 2}
    write_masks(tmp_path / "tool" / "a_1", {name: mask.astype(np.uint8) for name, mask in each.items()})
    labels = parse_label_numbers("liver=1,kidney=2")
    references = open_references(tmp_path / "references", labels=labels, each_case_is_a_patient=True)
    assert score_masks(tmp_path / "tool", references, name="tool", resamples=200).metrics["dice"].value == 1.0


def test_a_mask_that_has_a_case_by_its_name_is_not_taken_for_another_case_too(tmp_path):
    mask = reference("a_1")
    references = open_references(write_masks(tmp_path / "references", dict.fromkeys(("p0", "p0_seg", "p1"), mask)))
    found = score_masks(write_masks(tmp_path / "tool", dict.fromkeys(("p0", "p1"), mask)), references, name="tool")
    assert found.missing == ("p0_seg",)


def test_a_mask_whose_name_is_that_of_two_cases_is_refused(tmp_path):
    mask = reference("a_1")
    references = open_references(write_masks(tmp_path / "references", dict.fromkeys(("p0_mask", "p0_seg"), mask)))
    with pytest.raises(DataError, match=r"p0\.nii\.gz: has the name of case p0_mask and of case p0_seg"):
        score_masks(write_masks(tmp_path / "tool", {"p0": mask}), references, name="tool")


@pytest.mark.parametrize("write", [write_segmentation, write_structures])
def test_a_dicom_mask_is_one_whose_segments_or_structures_are_matched_by_name(tmp_path, write):
    grid = stackable(Grid(SHAPE, affine()))
    mask = reference("a_1")
    for folder in ("references", "tool"):
        (tmp_path / folder).mkdir()
    write_volume(tmp_path / "references" / "a_1.nii.gz", Volume(mask, grid))
    write_series(tmp_path / "series", Volume(mask.astype(np.int16), grid))
    (series,) = find_series(tmp_path / "series").series
    segments = LabelVolume(Volume(np.array([0, 2, 1], np.uint8)[mask], grid), (Label(1, "Core"), Label(2, "oedema")))
    write(tmp_path / "tool" / "a_1.dcm", segments, series)
    labels = parse_label_numbers("oedema=1,core=2")
    references = open_references(tmp_path / "references", labels=labels, each_case_is_a_patient=True)
    found = score_masks(tmp_path / "tool", references, name="tool", resamples=200)
    assert [found.by_label[label]["dice"].value for label in ("oedema", "core")] == [1.0, 1.0]
    unknown = open_references(tmp_path / "references", each_case_is_a_patient=True)
    with pytest.raises(DataError, match=r"none of its segments \(core, oedema\) has the name of a label"):
        score_masks(tmp_path / "tool", unknown, name="tool")


def test_a_structure_set_of_empty_structures_is_an_empty_mask(tmp_path):
    grid, mask = stackable(Grid(SHAPE, affine())), reference("a_1")
    for folder in ("references", "tool"):
        (tmp_path / folder).mkdir()
    write_volume(tmp_path / "references" / "a_1.nii.gz", Volume((mask > 0).astype(np.uint8), grid))
    write_series(tmp_path / "series", Volume(mask.astype(np.int16), grid))
    (series,) = find_series(tmp_path / "series").series
    nothing = LabelVolume(Volume(np.zeros_like(mask), grid), (Label(1, "tumour"),))
    write_structures(tmp_path / "tool" / "a_1.dcm", nothing, series)
    labels = parse_label_numbers("tumour=1")
    references = open_references(tmp_path / "references", labels=labels, each_case_is_a_patient=True)
    found = score_masks(tmp_path / "tool", references, name="tool", resamples=200)
    assert found.metrics["dice"].value == 0.0
    assert not found.missing


def test_an_evaluation_of_volumes_is_stored_read_again_and_compared(tmp_path, references):
    ours = score_masks(references.files.folder, references, name="ours", resamples=200)
    tool = write_masks(tmp_path / "tool", {case: moved(case) for case in CASES if case != "c_1"})
    theirs = score_masks(tool, references, name="theirs", resamples=200)
    for each in (ours, theirs):
        each.save(tmp_path / each.name)
    again = [Evaluation.load(tmp_path / name) for name in ("ours", "theirs")]
    assert repr(again[1].metrics) == repr(theirs.metrics)
    assert repr(again[1].cases) == repr(theirs.cases)
    assert again[1].missing == ("c_1",)
    assert (again[1].volumes["a_2"].array == moved("a_2")).all()
    assert again[1].volumes["a_2"].grid.is_same(Grid(SHAPE, affine()))
    assert not again[1].volumes["c_1"].array.any()
    comparison = compare(again)
    assert [system.name for system in comparison.systems] == ["ours", "theirs"]
    assert {test.label for test in comparison.label_tests} == {"label 1", "label 2"}
    theirs.save(tmp_path / "ours")
    assert Evaluation.load(tmp_path / "ours").name == "theirs"
    finer = dataclasses.replace(again[0], name="finer", space=dataclasses.replace(again[0].space, tolerances=(3.0,)))
    with pytest.raises(DataError, match="cannot be compared: scored in mm"):
        compare([again[1], finer])


def test_images_of_one_slice_are_scored_in_pixels_as_slices_of_their_patient(tmp_path):
    for name, move in (("references", 0), ("tool", 2)):
        (tmp_path / name).mkdir()
        for case in CASES:
            mask = np.roll(reference(case)[2] > 0, move, axis=0)
            Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / name / f"{case}_mask.png")
    references = open_references(tmp_path / "references", patient_regex=r"^(?P<patient>[a-z])_(?P<slice>\d)")
    (tmp_path / "tool" / "b_1_mask.png").unlink()
    found = score_masks(tmp_path / "tool", references, name="tool", resamples=200)
    assert found.space is None
    assert found.metrics["hd95_shared"].unit == "px"
    assert found.missing == ("b_1_mask",)
    assert [row.slices for row in found.patients] == [2, 1, 1]
    assert found.metrics["missed"].value == 1


def test_slices_of_patients_whose_rows_alternate_in_a_table_are_neighbours(tmp_path):
    """One lesion in two slices of each patient: between them lies a row of the other patient, and no slice."""
    cases = ("a_1", "b_1", "a_2", "b_2")
    square = np.zeros((20, 20), np.uint8)
    square[5:15, 5:15] = 255
    for case in cases:
        Image.fromarray(square).save(tmp_path / f"{case}.png")
    files = {case: tmp_path / f"{case}.png" for case in cases}
    references = open_references(files, patients={case: case[0] for case in cases})
    found = score_masks(files, references, name="tool", resamples=200)
    assert [row.lesions for row in found.patients] == [1, 1]


def test_patients_that_nobody_named_are_said_to_be_unknown(tmp_path):
    references = open_references(write_references(tmp_path / "references"))
    found = score_masks(references.files.folder, references, name="tool", resamples=200)
    assert not found.patients_known
    assert len({row.patient for row in found.patients}) == len(CASES)


def test_files_by_table_that_are_of_no_reference_are_counted_and_rows_without_a_reference_refused(tmp_path, references):
    files = dict(references.files.files)
    found = score_masks({**files, "z_9": files["a_1"]}, references, name="tool", resamples=200)
    assert found.remarks == ("1 mask of no case, not scored.",)
    table = tmp_path / "cases.csv"
    table.write_text("case,reference,tool\na_1,references/a_1.nii.gz,x.nii.gz\na_2,,y.nii.gz\n")
    with pytest.raises(DataError, match="case a_2 has no reference"):
        files_by_table(table, ["tool"])


def test_a_data_set_with_two_folders_of_references_is_not_guessed_from(tmp_path):
    for name in ("labelsTr", "labelsTs", "imagesTr"):
        write_references(tmp_path / name)
    with pytest.raises(DataError, match="holds labelsTr and labelsTs"):
        open_references(tmp_path)
    (tmp_path / "labelsTs").rename(tmp_path / "others")
    assert open_references(tmp_path).files.folder == tmp_path / "labelsTr"


def test_folders_that_cannot_be_matched_say_what_is_there(tmp_path, references):
    tool = write_masks(tmp_path / "tool", {"x": reference("a_1")})
    with pytest.raises(DataError, match="no mask has the name of a case; there are x, the references are a_1"):
        score_masks(tool, references, name="tool")
    Image.fromarray(reference("a_1")[0]).save(tmp_path / "tool" / "y.png")
    with pytest.raises(DataError, match="volumes and images are mixed"):
        score_masks(tool, references, name="tool")
    with pytest.raises(DataError, match="is not a folder"):
        score_masks(tmp_path / "nowhere", references, name="tool")


def test_an_expression_that_makes_one_patient_of_all_cases_is_said(tmp_path):
    folder = write_references(tmp_path / "labels")
    assert not open_references(folder, patient_regex=REGEX).remarks
    all_one = open_references(folder, patient_regex="^.(_)")
    (told,) = all_one.remarks
    assert told.startswith("All 4 cases are of one patient by --patient-regex. ")  # and not which, in any report


@pytest.mark.parametrize("text", ["=1", "kidney=-1", "kidney=x", f"kidney={'9' * 5000}"])
def test_numbers_of_labels_that_are_none_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(DataError, match=r"--labels: .* is not NAME=NUMBER") as refusal:
        parse_label_numbers(f"background=0,{text}")
    assert len(str(refusal.value)) < 300
