import errno
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.evaluation.floors import save_with_floors
from segmed.evaluation.metric import MetricValue
from segmed.evaluation.metrics import COLUMNS
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.report import write_report
from segmed.evaluation.report.notes import older_notes
from segmed.evaluation.result import Calibration, Cost, Evaluation, SavedMasks
from segmed.evaluation.rows import PatientRow, SliceRow, read_rows, write_rows
from segmed.evaluation.split_facts import SplitFacts
from segmed.prompts.kinds import PromptKind

PATIENT = PatientRow(
    patient="p, one",
    label="tumour",
    slices=2,
    reference_px=3,
    predicted_px=0,
    tp=0,
    fp=0,
    fn=3,
    one_sided_slices=1,
    missed=True,
    lesions=0,
    scores={
        **dict.fromkeys(COLUMNS, math.nan),
        "dice": 0.0,
        "hd95": 8.6,
        "nsd_1px": 0.0,
        "volume_error": -1.0,
        "volume_error_abs": 1.0,
    },
)
SLICE = SliceRow(
    slice_id="a_1",
    patient="p, one",
    slice=1,
    label="tumour",
    reference_px=3,
    predicted_px=0,
    tp=0,
    fp=0,
    fn=3,
    tn=32,
    dice=0.0,
    iou=math.nan,
)


def evaluation() -> Evaluation:
    mask = np.zeros((5, 7), np.uint8)
    mask[1, 2:4] = 1
    return Evaluation(
        name="small",
        kind="run",
        part="test",
        leaking=True,
        threshold=0.4,
        labels=LabelMap(),
        data_hash="abc",
        split=SplitFacts(strategy="slice", seed=3),
        metrics={"dice": MetricValue(0.5, 0.25, math.nan, 1, 0, "", "Mean volumetric Dice")},
        patients=(PATIENT,),
        slices=(SLICE,),
        predictions={"a_1": mask},
        cost=Cost(parameters=12, ms_per_image=1.5),
        calibration=Calibration((0.0, 0.5, 1.0), (0.25, math.nan), (0.5, math.nan), (4, 0)),
        provenance=Provenance(others={"seed": 3, "score": math.nan}),
    )


def test_a_saved_evaluation_loads_equal(tmp_path):
    saved = evaluation()
    saved.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    np.testing.assert_array_equal(loaded.predictions["a_1"], saved.predictions["a_1"])
    assert repr(replace(loaded, predictions={}, provenance=Provenance())) == repr(
        replace(saved, predictions={}, provenance=Provenance())
    )


def test_an_undefined_number_is_null_in_json_and_an_empty_field_in_csv(tmp_path):
    evaluation().save(tmp_path)
    assert '"high": null' in (tmp_path / "evaluation.json").read_text()
    assert (tmp_path / "slices.csv").read_text().splitlines()[1].endswith(",0.0,,LEAKING")


def test_tables_of_a_leaking_split_say_so_in_every_row(tmp_path):
    for leaking in (True, False):
        replace(evaluation(), leaking=leaking).save(tmp_path)
        for table in ("patients.csv", "slices.csv"):
            header, row = (tmp_path / table).read_text().splitlines()
            assert header.endswith(",leaking") == leaking
            assert row.count(",") == header.count(",") + ('"p, one"' in row)


def test_predicted_masks_are_stored_with_the_values_of_the_data_set(tmp_path):
    from PIL import Image

    evaluation().save(tmp_path)
    with Image.open(tmp_path / "predictions" / "a_1.png") as image:
        assert set(np.unique(np.asarray(image))) == {0, 255}


def test_an_unknown_slice_is_a_key_error(tmp_path):
    evaluation().save(tmp_path)
    with pytest.raises(KeyError):
        Evaluation.load(tmp_path).predictions["other"]


def test_masks_of_an_earlier_evaluation_in_the_folder_are_removed(tmp_path):
    one = evaluation()
    mask = one.predictions["a_1"]
    rows = (*one.slices, replace(SLICE, slice_id="old/b_2"))
    replace(one, slices=rows, predictions={"a_1": mask, "old/b_2": mask}).save(tmp_path)
    one.save(tmp_path)
    assert [path.name for path in (tmp_path / "predictions").rglob("*.png")] == ["a_1.png"]


def test_masks_that_lie_in_a_folder_without_an_evaluation_are_left_alone(tmp_path):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "mine.png").write_bytes(b"")
    evaluation().save(tmp_path)
    assert (tmp_path / "predictions" / "mine.png").is_file()


def test_a_loaded_evaluation_can_be_saved_where_it_was(tmp_path):
    evaluation().save(tmp_path)
    Evaluation.load(tmp_path).save(tmp_path)
    assert Evaluation.load(tmp_path).predictions["a_1"].any()


@pytest.mark.parametrize("slice_id", ["../../evil", "/tmp/evil", "a/../../../evil"])
def test_a_slice_whose_name_leads_out_of_the_folder_is_not_written(tmp_path, slice_id):
    mask = np.zeros((5, 7), np.uint8)
    with pytest.raises(DataError, match="leads out of"):
        replace(evaluation(), slices=(replace(SLICE, slice_id=slice_id),), predictions={slice_id: mask}).save(
            tmp_path / "a" / "b"
        )
    assert not list(tmp_path.rglob("evil*"))


def test_a_lost_mask_names_its_file(tmp_path):
    whole = evaluation()
    masks = {**whole.predictions, "a_2": np.zeros((5, 7), np.uint8)}
    replace(whole, slices=(SLICE, replace(SLICE, slice_id="a_2")), predictions=masks).save(tmp_path)
    (tmp_path / "predictions" / "a_2.png").unlink()
    with pytest.raises(DataError, match=r"a_2\.png"):
        Evaluation.load(tmp_path).predictions["a_2"]


def test_a_folder_without_an_evaluation_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="segmed evaluate"):
        Evaluation.load(tmp_path)


def test_another_json_file_is_refused(tmp_path):
    (tmp_path / "evaluation.json").write_text("[]")
    with pytest.raises(DataError, match="names no format"):
        Evaluation.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name is None"),
        ({"threshold": "abc"}, "threshold is 'abc'"),
        ({"labels": {"names": ["a"], "stored": [0, "x"]}}, "whole numbers"),
        ({"metrics": []}, "metrics is"),
        ({"metrics": {"dice": {"value": "x", "low": None, "high": None}}}, "'x'"),
        ({"metrics": {"dice": {"low": None, "high": None}}}, "metrics.dice.value is missing"),
        ({"cost": {"parameters": "many"}}, "cost.parameters is .many."),
        ({"calibration": []}, "calibration is"),
        ({"split": []}, "split is"),
    ],
)
def test_a_wrong_value_in_the_facts_names_the_file(tmp_path, change, message):
    evaluation().save(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=rf"evaluation\.json: .*{message}.*Run `segmed evaluate` again"):
        Evaluation.load(tmp_path)


def test_a_broken_table_names_the_line(tmp_path):
    write_rows(tmp_path / "t.csv", [SLICE], SliceRow, {})
    text = (tmp_path / "t.csv").read_text().replace(",3,0,0,0,3,", ",three,0,0,0,3,")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match="line 2"):
        read_rows(tmp_path / "t.csv", SliceRow)


def test_a_patient_value_is_the_mean_over_labels_that_have_one():
    rows = tuple(
        replace(PATIENT, label=label, scores={"dice": dice})
        for label, dice in (("a", 0.2), ("b", 0.6), ("c", math.nan))
    )
    several = replace(evaluation(), patients=rows)
    assert several.by_patient("dice") == {"p, one": pytest.approx(0.4)}
    assert several.by_patient("dice", "b") == {"p, one": 0.6}


def test_tables_of_unknown_patients_say_so_in_every_row_and_load_as_such(tmp_path):
    unknown = replace(evaluation(), leaking=False, patients_known=False)
    unknown.save(tmp_path)
    for table in ("patients.csv", "slices.csv"):
        header, row = (tmp_path / table).read_text().splitlines()
        assert (header.rpartition(",")[2], row.rpartition(",")[2]) == ("patients", "PATIENTS UNKNOWN")
    assert not Evaluation.load(tmp_path).patients_known


@pytest.mark.parametrize(("patient", "known"), [("p, one", True), ("a_1", False)])
def test_an_evaluation_of_an_earlier_version_knows_patients_where_it_names_any(tmp_path, patient, known):
    rows = {"patients": (replace(PATIENT, patient=patient),), "slices": (replace(SLICE, patient=patient),)}
    replace(evaluation(), **rows).save(tmp_path)
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    del stored["patients_known"]
    (tmp_path / "evaluation.json").write_text(json.dumps(stored))
    assert Evaluation.load(tmp_path).patients_known is known


def test_a_column_that_is_not_one_of_patients_is_a_key_error():
    with pytest.raises(KeyError, match="dise is no number of a patient; there are dice"):
        evaluation().by_patient("dise")


OLD = Path(__file__).parent / "samples" / "evaluation-0.1"
"""Of two patients and two labels, one of which is never found, as an earlier version stored it."""


def test_an_evaluation_stored_before_a_metric_existed_reads_and_its_column_is_undefined():
    old = Evaluation.load(OLD)
    assert old.by_patient("dice", "core") == {"p0": 1.0, "p1": 0.5}
    assert all(math.isnan(value) for value in old.by_patient("hd95_shared").values())
    assert "hd95_shared" not in old.metrics
    assert old.metrics["dice"].value == pytest.approx(0.375)
    assert [note for note in older_notes([old]) if "HD95, shared slices" in note and "two labels" in note]


def test_an_evaluation_stored_before_labels_were_told_apart_has_their_metrics_from_its_rows():
    old = Evaluation.load(OLD)
    assert {label: metrics["dice"].value for label, metrics in old.by_label.items()} == {"core": 0.75, "oedema": 0.0}
    assert "hd95_shared" not in old.by_label["core"]
    assert old.by_label["oedema"]["missed"].value == 2


def test_an_old_evaluation_says_in_the_report_what_was_not_measured(tmp_path):
    page = write_report([Evaluation.load(OLD)], out=tmp_path).read_text(encoding="utf-8")
    assert "HD95, shared slices" in page
    assert "not measured, since the evaluation was stored before" in page


def test_metrics_of_labels_are_stored_and_read(tmp_path):
    metric = MetricValue(0.5, 0.25, math.nan, 1, 0, "", "Mean volumetric Dice")
    replace(evaluation(), by_label={"a": {"dice": metric}, "b": {}}).save(tmp_path)
    assert repr(Evaluation.load(tmp_path).by_label) == repr({"a": {"dice": metric}, "b": {}})


def test_a_score_that_is_no_number_names_file_line_and_column(tmp_path):
    evaluation().save(tmp_path)
    path = tmp_path / "patients.csv"
    path.write_text(path.read_text().replace("8.6", "far"))
    with pytest.raises(DataError, match=r"patients\.csv, line 2: hd95 is 'far'"):
        Evaluation.load(tmp_path)


def test_masks_that_no_table_of_ours_lists_are_left_alone(tmp_path):
    one = evaluation()
    one.save(tmp_path)
    (tmp_path / "predictions" / "mine.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("kept")
    one.save(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "a_1.png", "evaluation.json", "mine.png", "notes.txt", "patients.csv", "slices.csv",
    ]  # fmt: skip


@pytest.mark.parametrize("link", ["predictions", "predictions/a_1.png", "slices.csv", "floors"])
def test_nothing_is_written_or_removed_through_a_link(tmp_path, link):
    """A stranger's run whose `predictions` was a link had the linked folder's PNGs removed and masks written there."""
    precious, folder = tmp_path / "precious", tmp_path / "run" / "evaluation-test"
    precious.mkdir()
    (precious / "a_1.png").write_bytes(b"mine")
    (precious / "other.png").write_bytes(b"mine")
    evaluation().save(folder)
    place = folder / link
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(precious / "a_1.png" if place.suffix else precious)
    for save in (evaluation().save, lambda folder: save_with_floors(folder, evaluation(), [evaluation()])):
        with pytest.raises(DataError, match=f"{link}: is a symbolic link"):
            save(folder)
    assert {path.name: path.read_bytes() for path in precious.iterdir()} == {"a_1.png": b"mine", "other.png": b"mine"}
    assert (folder / "evaluation.json").is_file()


def test_an_evaluation_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "evaluation-test").symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match="evaluation-test: is a symbolic link"):
        evaluation().save(tmp_path / "evaluation-test")
    assert list((tmp_path / "precious").iterdir()) == []


def test_masks_are_not_read_through_a_link_out_of_the_folder(tmp_path):
    evaluation().save(tmp_path / "one")
    shutil.move(tmp_path / "one" / "predictions", tmp_path / "elsewhere")
    (tmp_path / "one" / "predictions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out of"):
        SavedMasks(tmp_path / "one", ("a_1",), LabelMap())["a_1"]


def test_an_evaluation_is_replaced_with_its_floors_or_not_at_all(tmp_path, monkeypatch):
    """A repeated `evaluate` that failed half way had lost the floors of the one before, without a word."""
    save_with_floors(tmp_path, evaluation(), [replace(evaluation(), name="predict nothing", kind="floor")])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        save_with_floors(tmp_path, replace(evaluation(), name="second"), [])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_tables_of_an_earlier_evaluation_do_not_stay_beside_new_scores(tmp_path):
    evaluation().save(tmp_path)
    (tmp_path / "groups.csv").write_text("old")
    evaluation().save(tmp_path)
    assert not (tmp_path / "groups.csv").exists()


def test_what_a_killed_evaluation_left_aside_is_removed_by_the_next(tmp_path):
    (tmp_path / ".segmed-part-killed" / "predictions").mkdir(parents=True)
    evaluation().save(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_masks_of_0_1_whose_table_calls_slices_cases_are_replaced_with_it(tmp_path):
    whole = evaluation()
    whole.save(tmp_path)
    table = tmp_path / "slices.csv"
    table.write_text(table.read_text().replace("slice_id", "case"))
    assert repr(Evaluation.load(tmp_path).slices) == repr(whole.slices)
    replace(whole, slices=(replace(SLICE, slice_id="b_1"),), predictions={"b_1": whole.predictions["a_1"]}).save(
        tmp_path
    )
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["b_1.png"]


def test_a_floor_of_0_1_is_told_from_its_kind_of_boxes_by_its_name_alone(tmp_path):
    kind = PromptKind("jitter:20")
    old = replace(evaluation(), kind="floor", name="filled box (jitter:20)", prompts=kind, provenance=Provenance())
    old.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    assert (loaded.system, loaded.prompts) == ("filled box", kind)
