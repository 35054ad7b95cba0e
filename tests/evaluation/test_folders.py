import numpy as np
import pytest
import tiny_runs as tiny
from PIL import Image

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.evaluation.masks.folders import evaluate_pairs, pair_folders


def write(folder, name: str, columns: int, *, value: int = 255, size: tuple[int, int] = (9, 14)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[2:6, 2 : 2 + columns] = value
    Image.fromarray(mask).save(folder / name)


@pytest.fixture
def folders(tmp_path):
    """Two patients of two slices each; one prediction is half of its reference."""
    for stem, columns, predicted in (("p1_1", 4, 4), ("p1_2", 4, 2), ("p2_9", 4, 4), ("p2_10", 0, 0)):
        write(tmp_path / "references", f"{stem}.png", columns)
        write(tmp_path / "predictions", f"{stem}.png", predicted)
    return tmp_path / "predictions", tmp_path / "references"


def test_files_with_one_stem_are_scored_against_each_other(folders):
    result = evaluate_pairs(pair_folders(*folders), LabelMap(), name="other tool", resamples=20)
    assert result.by_patient("dice") == pytest.approx(
        {"p1_1": 1.0, "p1_2": 2 / 3, "p2_9": 1.0, "p2_10": np.nan}, nan_ok=True
    )
    assert result.kind == "predictions"
    assert result.patients_known is False


def test_a_pattern_puts_slices_of_a_patient_together_in_numeric_order(folders):
    pairs = pair_folders(*folders, patient_regex=r"^(?P<patient>.+)_(?P<slice>\d+)$")
    result = evaluate_pairs(pairs, LabelMap(), name="other tool", resamples=20)
    assert result.by_patient("dice") == {"p1": pytest.approx(48 / 56), "p2": 1.0}
    assert [(row.patient, row.slice) for row in result.slices] == [("p1", 1), ("p1", 2), ("p2", 9), ("p2", 10)]


def test_a_pattern_without_a_slice_group_numbers_the_slices_in_order(folders):
    pairs = pair_folders(*folders, patient_regex="^p[0-9]")
    assert [(r.patient, r.slice_index) for r in pairs.references] == [("p1", 1), ("p1", 2), ("p2", 1), ("p2", 2)]


def test_a_missing_prediction_stops_and_is_named(folders):
    (folders[0] / "p2_9.png").unlink()
    with pytest.raises(DataError, match="no prediction for slice p2_9"):
        pair_folders(*folders)


def test_a_prediction_without_a_reference_is_counted(folders):
    write(folders[0], "p3_1.png", 2)
    pairs = pair_folders(*folders)
    assert [path.name for path in pairs.unused] == ["p3_1.png"]
    result = evaluate_pairs(pairs, LabelMap(), name="x", resamples=20)
    assert result.provenance.others["predictions_without_reference"] == 1


def test_a_prediction_of_another_size_is_named(folders):
    write(folders[0], "p1_2.png", 2, size=(9, 15))
    with pytest.raises(DataError, match=r"p1_2: the prediction is \(9, 15\) but the reference is \(9, 14\)"):
        evaluate_pairs(pair_folders(*folders), LabelMap(), name="x")


def test_a_mask_value_outside_the_labels_is_named(folders):
    write(folders[0], "p1_2.png", 2, value=7)
    with pytest.raises(DataError, match=r"p1_2\.png"):
        evaluate_pairs(pair_folders(*folders), LabelMap(), name="x")


def test_several_labels_are_read_by_their_values(tmp_path):
    for folder in ("references", "predictions"):
        write(tmp_path / folder, "a.png", 4, value=1)
        write(tmp_path / folder, "b.png", 4, value=2)
    labels = LabelMap(("core", "oedema"), (0, 1, 2))
    pairs = pair_folders(tmp_path / "predictions", tmp_path / "references", labels=labels)
    result = evaluate_pairs(pairs, labels, name="x", resamples=20)
    assert [(row.patient, row.label, row.reference_px) for row in result.patients] == [
        ("a", "core", 16),
        ("a", "oedema", 0),
        ("b", "core", 0),
        ("b", "oedema", 16),
    ]


def test_references_may_be_a_data_set_that_tells_its_patients(tmp_path):
    root = tiny.kaggle_folder(tmp_path / "kaggle_3m", patients="ab")
    for mask in root.glob("*/*_mask.tif"):
        target = tmp_path / "predictions" / mask.parent.name / mask.name.replace("_mask", "")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(mask.read_bytes())
    pairs = pair_folders(tmp_path / "predictions", root)
    assert pairs.patients_known
    result = evaluate_pairs(pairs, LabelMap(), name="x", resamples=20)
    assert list(result.by_patient("dice").values()) == [1.0, 1.0]


def test_masks_alone_are_plain_references_even_where_their_names_are_those_of_slices(tmp_path):
    for folder in ("predictions", "references"):
        write(tmp_path / folder, "p1_1.tif", 4)
        write(tmp_path / folder, "p1_2.tif", 3)
    pairs = pair_folders(tmp_path / "predictions", tmp_path / "references")
    assert [record.slice_id for record in pairs.references] == ["p1_1", "p1_2"]


def test_one_prediction_called_a_mask_hides_no_other(folders):
    (folders[0] / "p1_2.png").rename(folders[0] / "p1_2_mask.png")
    assert sorted(pair_folders(*folders).predictions) == ["p1_1", "p1_2", "p2_10", "p2_9"]


def test_an_image_with_its_mask_beside_it_is_no_prediction(folders):
    (folders[0] / "p1_2.png").rename(folders[0] / "p1_2_mask.png")
    write(folders[0], "p1_2.png", 9)
    assert pair_folders(*folders).predictions["p1_2"].name == "p1_2_mask.png"


def test_names_in_either_form_of_unicode_are_one_slice(folders):
    write(folders[0], "e\u0301.png", 4)
    write(folders[1], "\u00e9.png", 4)
    assert pair_folders(*folders).predictions["\u00e9"].name == "e\u0301.png"


def test_two_predictions_with_one_stem_are_refused(folders):
    write(folders[0] / "again", "p1_1.png", 4)
    with pytest.raises(DataError, match="a second mask of slice p1_1"):
        pair_folders(*folders)


def test_a_folder_without_masks_says_what_was_expected(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no masks; expected files ending in"):
        pair_folders(tmp_path / "empty", folders[1])
    with pytest.raises(DataError, match="does not exist"):
        pair_folders(folders[0], tmp_path / "nowhere")


def test_a_name_without_the_slice_that_others_have_is_refused(tmp_path):
    for folder in ("predictions", "references"):
        for name in ("p1_1", "p1"):
            write(tmp_path / folder, f"{name}.png", 4)
    regex = r"^(?P<patient>p\d)(_(?P<slice>\d))?$"
    with pytest.raises(DataError, match=r"p1\.png: --patient-regex .* finds no patient or slice in 'p1'"):
        pair_folders(tmp_path / "predictions", tmp_path / "references", patient_regex=regex)


@pytest.mark.parametrize(("regex", "reason"), [("(", "Try for example"), ("^x", "finds no patient")])
def test_a_wrong_pattern_is_explained(folders, regex, reason):
    with pytest.raises(DataError, match=reason):
        pair_folders(*folders, patient_regex=regex)


@pytest.fixture
def same_names(tmp_path):
    """A manifest of two patients whose files are called alike, the second with another mask."""
    rows = ["slice_id,patient,image,mask"]
    for patient, columns in (("p1", 4), ("p2", 2)):
        write(tmp_path / "data" / patient, "001.png", columns)
        write(tmp_path / "data" / "masks" / patient, "001.png", columns)
        rows.append(f"{patient}_first,{patient},{patient}/001.png,masks/{patient}/001.png")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(rows))
    return tmp_path / "data"


def test_one_prediction_does_not_serve_two_references_of_one_name(same_names, tmp_path):
    write(tmp_path / "predictions", "001.png", 4)
    with pytest.raises(DataError, match=r"001\.png: matches slice p1_first and slice p2_first"):
        pair_folders(tmp_path / "predictions", same_names)


def test_two_predictions_of_one_name_that_nothing_tells_apart_are_refused(same_names, tmp_path):
    for folder in "xy":
        write(tmp_path / "predictions" / folder, "001.png", 4)
    with pytest.raises(DataError, match="a second mask of slice p1_first"):
        pair_folders(tmp_path / "predictions", same_names)


@pytest.mark.parametrize("names", [("p1_first.png", "p2_first.png"), ("p1/001.png", "p2/001.png")])
def test_the_slice_id_or_the_folder_tells_predictions_of_one_name_apart(same_names, tmp_path, names):
    for name, columns in zip(names, (4, 2), strict=True):
        path = tmp_path / "predictions" / name
        write(path.parent, path.name, columns)
    pairs = pair_folders(tmp_path / "predictions", same_names)
    result = evaluate_pairs(pairs, LabelMap(), name="x", resamples=20)
    assert result.by_patient("dice") == {"p1": 1.0, "p2": 1.0}


def test_the_slice_id_comes_before_the_name_of_the_image(same_names, tmp_path):
    for name, columns in (("p1_first.png", 4), ("p2_first.png", 2), ("001.png", 1)):
        write(tmp_path / "predictions", name, columns)
    pairs = pair_folders(tmp_path / "predictions", same_names)
    assert [path.name for path in pairs.unused] == ["001.png"]


def test_two_references_of_one_name_in_a_plain_folder_are_refused(folders):
    write(folders[1] / "again", "p1_1.png", 4)
    with pytest.raises(DataError, match="a second mask of slice p1_1"):
        pair_folders(*folders)


def test_volumes_that_a_manifest_names_are_scored_one_by_one_and_their_mean_is_the_patients(folders):
    rows = ["slice_id,case,patient,slice,image,mask"]
    for slice_id, case, place in (
        ("p1_1", "before", 1),
        ("p1_2", "after", 1),
        ("p2_9", "p2", 1),
        ("p2_10", "p2", 2),
    ):
        rows.append(f"{slice_id},{case},{slice_id[:2]},{place},{slice_id}.npy,{slice_id}.png")
        (folders[1] / f"{slice_id}.npy").touch()  # an image, which is not read
    (folders[1] / "manifest.csv").write_text("\n".join(rows))
    result = evaluate_pairs(pair_folders(*folders), LabelMap(), name="other tool", resamples=20)
    assert result.by_patient("dice") == pytest.approx({"p1": (1 + 2 / 3) / 2, "p2": 1.0})
    assert [row.slice_id for row in result.slices] == ["p1_1", "p1_2", "p2_9", "p2_10"]
