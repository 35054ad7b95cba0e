"""`segmed compare NAME=FOLDER … --references FOLDER`: masks of any tools in, evaluations and a page out."""

import base64
import csv
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bright_run import bright
from mask_samples import CASES, SHAPE, affine, moved, reference, write_masks, write_references
from segmed.cli.main import app
from segmed.core.errors import SegmedError
from segmed.core.files import write_json
from segmed.core.labels import LabelMap
from segmed.core.pseudonyms import Pseudonyms
from segmed.core.split import Partition, Split
from segmed.core.volume import Grid, Volume
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset
from segmed.evaluation.find import find_evaluations
from segmed.evaluation.overlays import REFERENCE_COLOUR
from segmed.evaluation.report.viewer import script, script_hash
from segmed.evaluation.result import Evaluation
from segmed.inference.ensemble import EnsemblePredictor
from segmed.io.volumes import read_volume, write_volume
from segmed.models.joint_config import EnsembleConfig
from segmed.models.seen import patient_digest


def run(*arguments: object):
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """References, two tools, of which one lacks a case, and images of one sequence."""
    return write_data(tmp_path)


def write_data(folder: Path) -> Path:
    write_references(folder / "labels")
    write_masks(folder / "good", {case: reference(case) for case in CASES})
    write_masks(folder / "poor", {case: moved(case) for case in CASES if case != "a_2"})
    (folder / "images").mkdir()
    for case in CASES:
        image = (100 * reference(case) + np.arange(SHAPE[2], dtype=np.uint8)).astype(np.int16)
        write_volume(folder / "images" / f"{case}_0000.nii.gz", Volume(image, Grid(SHAPE, affine())))
    return folder


def compared(data: Path, *more: object):
    how = ("--references", data / "labels", "--patient-regex", "^([a-z])_", "--out", data / "out")
    return run(f"good={data / 'good'}", f"poor={data / 'poor'}", *how, *more)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def volumes(page: str) -> list[dict]:
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(block) for block in blocks]


def sheet(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_masks_of_two_tools_become_evaluations_tables_and_a_page(data):
    result = compared(data, "--images", data / "images", "--nsd", "0.5,3")
    assert result.exit_code == 0, result.output
    assert "good leads poor by" in result.output
    assert "poor: no mask of a_2; scored as empty" in result.output
    page = (data / "out" / "report.html").read_text(encoding="utf-8")
    assert "poor has no mask of 1 case, scored as empty" in page
    assert "NSD 3 mm" in page
    assert "1 without a mask" not in page  # of the leader, who has all
    rows = rows_of(data / "out" / "comparison.csv")
    assert {row["label"] for row in rows} == {"mean of labels", "label 1", "label 2"}
    poor = next(row for row in rows if row["name"] == "poor" and row["label"] == "label 1")
    assert float(poor["hd95_mm"]) > float(poor["hd95_found_mm"]) > 0
    markdown = (data / "out" / "comparison.md").read_text(encoding="utf-8")
    assert f"| {float(poor['hd95_mm']):.1f} † [" in markdown
    assert "† has penalties in it" in markdown
    assert poor["parameters"] == ""
    assert (data / "out" / "evaluations" / "poor" / "predictions" / "b_1.nii.gz").is_file()


def test_the_page_holds_volumes_to_scroll_and_lets_no_other_script_run(data):
    assert compared(data, "--images", data / "images").exit_code == 0
    page = (data / "out" / "report.html").read_text(encoding="utf-8")
    assert f"script-src '{script_hash()}'" in page
    assert f"<script>{script()}</script>" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    shown = volumes(page)
    assert len(shown) == 3
    first = shown[0]
    assert [name for name, _ in first["systems"]] == ["good", "poor"]
    assert [name for name, _ in first["sequences"]] == ["sequence 0"]
    height, width = first["height"], first["width"]
    tiles = sheet(first["reference"])
    across = tiles.shape[1] // width
    here = [tiles[n // across * height :, n % across * width :][:height, :width] for n in range(first["slices"])]
    assert sum(int((tile > 0).sum()) for tile in here) in {int((reference(case) > 0).sum()) for case in CASES}
    assert len(first["wrong"]) == first["slices"] == SHAPE[0]


def test_evaluations_of_masks_are_compared_again_without_the_masks(data, monkeypatch):
    monkeypatch.chdir(data)
    assert compared(data).exit_code == 0
    stored = data / "out" / "evaluations"
    result = run(stored / "good", stored / "poor", "--out", data / "again")
    assert result.exit_code == 0, result.output
    page = (data / "again" / "report.html").read_text(encoding="utf-8")
    assert volumes(page)[0]["reference"] is not None
    (data / "labels" / "a_1.nii.gz").unlink()
    result = run(stored / "good", stored / "poor", "--out", data / "again")
    assert result.exit_code == 0, result.output
    assert "volumes without references and images" in result.output
    assert volumes((data / "again" / "report.html").read_text(encoding="utf-8"))[0]["reference"] is None


def test_a_stored_evaluation_and_a_folder_are_compared_under_new_names(data):
    assert compared(data).exit_code == 0
    result = run(
        f"first={data / 'out' / 'evaluations' / 'good'}", f"second={data / 'poor'}", "--references", data / "labels",
        "--patient-regex", "^([a-z])_", "--out", data / "again",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "first leads second by" in result.output


def test_a_table_says_which_file_is_whose_and_who_the_patients_are(data):
    lines = ["case,patient,reference,good,poor"]
    for number, case in enumerate(CASES):
        files = ",".join(f"{folder}/{case}.nii.gz" for folder in ("labels", "good", "poor"))
        lines.append(f"x{number},p{number % 2},{files}")
    table = data / "cases.csv"
    table.write_text("\n".join(line.replace("poor/a_2.nii.gz", "") for line in lines) + "\n")
    result = run("good=", "poor=", "--cases", table, "--out", data / "out")
    assert result.exit_code == 0, result.output
    assert "poor: no mask of x1" in result.output
    rows = rows_of(data / "out" / "evaluations" / "good" / "patients.csv")
    assert [row["patient"] for row in rows if row["label"] == "label 1"] == ["p0", "p1"]
    assert "patients" not in rows[0]  # they are known
    with pytest.raises(SegmedError, match="has no column 'other'"):
        raise run("other=", "--cases", table, "--out", data / "out").exception


def test_a_folder_beside_a_table_of_cases_is_refused_as_it_would_not_be_read(data):
    (data / "cases.csv").write_text("case,reference,good\na_1,labels/a_1.nii.gz,good/a_1.nii.gz\n")
    result = run(f"good={data / 'poor'}", "--cases", data / "cases.csv", "--out", data / "out")
    assert "with --cases the masks of good are in its column" in str(result.exception)


def test_references_beside_a_table_that_names_them_are_refused_as_they_would_not_agree(data):
    (data / "cases.csv").write_text("case,reference,good\na_1,labels/a_1.nii.gz,good/a_1.nii.gz\n")
    how = ("good=", "--cases", data / "cases.csv", "--out", data / "out")
    refused = run(*how, "--references", data / "labels")
    assert "the table of cases has a column 'reference' too. Leave out --references" in str(refused.exception)
    (data / "cases.csv").write_text("case,good\na_1,good/a_1.nii.gz\n")
    assert run(*how, "--references", data / "labels").exit_code == 0


def test_two_folders_of_one_name_are_refused_before_either_is_scored(data):
    for name in ("good", "poor"):
        (data / "tools" / name).mkdir(parents=True)
        shutil.move(data / name, data / "tools" / name / "masks")
    folders = [data / "tools" / name / "masks" for name in ("good", "poor")]
    result = run(*folders, "--references", data / "labels", "--out", data / "out")
    assert "are both called 'masks'. Name them" in str(result.exception)
    assert not (data / "out").exists()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluations of both tools."""
    data = write_data(tmp_path_factory.mktemp("stored"))
    assert compared(data).exit_code == 0
    return data / "out" / "evaluations"


@pytest.mark.parametrize(
    "given",
    [("--nsd", "7"), ("--other-grids", "resample"), ("--labels-of", "q:z=1"), ("--each-case-is-a-patient",)],
)
def test_what_says_how_masks_are_scored_is_refused_for_what_is_scored_already(stored: Path, tmp_path: Path, given):
    result = run(stored / "good", stored / "poor", *given, "--out", tmp_path / "again")
    assert f"{given[0]}: evaluations are scored already" in str(result.exception)
    fold = run(stored / "good", "--fold", "1", "--out", tmp_path / "again")
    assert "--fold is that of a split" in str(fold.exception)


@pytest.mark.parametrize("mine", ["comparison.csv", "comparison.md", "report.html", "evaluations/good/patients.csv"])
def test_a_file_of_the_user_is_kept_and_that_of_an_earlier_report_replaced(data, mine):
    for _ in range(2):
        assert compared(data).exit_code == 0
    shutil.rmtree(data / "out")
    (data / "out" / mine).parent.mkdir(parents=True)
    (data / "out" / mine).write_text("mine")
    refused = compared(data)
    assert f"{mine}: is there already" in str(refused.exception)
    assert [path.read_text() for path in (data / "out").rglob("*") if path.is_file()] == ["mine"]


def test_masks_and_references_that_lie_where_results_go_are_not_replaced(data):
    shutil.copytree(data / "poor", data / "out" / "evaluations" / "poor" / "predictions")
    how = ("--references", data / "labels", "--out", data / "out")
    refused = run(f"poor={data / 'out' / 'evaluations' / 'poor' / 'predictions'}", *how)
    assert "is read, and results would be written in its place" in str(refused.exception)
    within = run(f"good={data / 'good'}", "--references", data / "labels", "--out", data / "good" / "out")
    assert "is searched for masks, and results would be written into it" in str(within.exception)
    assert not (data / "good" / "out").exists()


def test_pseudonyms_stand_for_cases_and_patients_everywhere_in_the_page(data):
    assert compared(data, "--anonymise", "--images", data / "images").exit_code == 0
    page = (data / "out" / "report.html").read_text(encoding="utf-8")
    assert not any(re.search(rf"\b{case}\b", page) for case in CASES)
    assert str(data) not in page


def test_a_run_predicts_the_images_first_and_is_refused_where_it_has_seen_a_patient(data, monkeypatch):
    folder = write_masks(data / "whole", {case: (reference(case) > 0).astype(np.uint8) for case in CASES})
    run_folder = data / "run"
    run_folder.mkdir()
    (run_folder / "model.safetensors").touch()
    predictor = bright(run_folder, volumes=None)
    (run_folder / "config.json").write_text(json.dumps(predictor.config.to_json()))
    monkeypatch.setattr("segmed.inference.load", lambda run: predictor)
    for case in CASES:
        shutil.copy(data / "images" / f"{case}_0000.nii.gz", data / "images" / f"{case}_0001.nii.gz")
    how = (f"ours={run_folder}", f"other={folder}", "--references", folder, "--patient-regex", "^([a-z])_")
    result = run(*how, "--images", data / "images", "--out", data / "out")
    assert result.exit_code == 0, result.output
    assert "which patients it was trained on" in result.output
    assert "a_1_0000.nii.gz to a_1_0001.nii.gz are read as 2 sequences of one volume" in " ".join(result.output.split())
    ours = rows_of(data / "out" / "evaluations" / "ours" / "cases.csv")
    written = read_volume(data / "out" / "predictions" / "ours" / "a_1.nii.gz").array
    assert int(ours[0]["predicted_voxels"]) == int((written > 0).sum()) > 0
    (data / "images" / "a_1_0000.nii.gz").write_bytes(b"damaged")
    again = run(*how, "--images", data / "images", "--out", data / "out")
    assert "no mask of a_1; scored as empty" in " ".join(again.output.split())  # the former mask still lies there
    ours = rows_of(data / "out" / "evaluations" / "ours" / "cases.csv")
    assert int(ours[0]["predicted_voxels"]) == 0
    shutil.copy(data / "images" / "a_1_0001.nii.gz", data / "images" / "a_1_0000.nii.gz")
    for _ in range(2):  # its own masks, which lie among the images, are no images
        below = run(*how, "--images", data / "images", "--out", data / "images" / "out")
        assert below.exit_code == 0, below.output
    labels = run(*how, "--images", data / "images", "--labels-of", "ours:x=1", "--out", data / "out")
    assert "ours is a run, which says its labels itself" in str(labels.exception)
    refused = run(*how, "--out", data / "again")
    assert "Name their images with --images" in str(refused.exception)
    (data / "own" / "predictions" / "ours").mkdir(parents=True)
    (data / "own" / "predictions" / "ours" / "a_1.nii.gz").write_bytes(b"mine")
    refused = run(*how, "--images", data / "images", "--out", data / "own")
    assert "ours: already holds files, and not what an earlier `segmed compare` predicted" in str(refused.exception)
    assert (data / "own" / "predictions" / "ours" / "a_1.nii.gz").read_bytes() == b"mine"
    seen = dataclasses.replace(predictor.config, seen={"train": [patient_digest("b")]})
    monkeypatch.setattr(predictor, "config", seen)
    refused = run(*how, "--images", data / "images", "--out", data / "again")
    assert "was trained or tuned on patient b" in str(refused.exception)


@pytest.fixture
def trained(split_data: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that was trained on some patients of the data set in `set/`, which has the key of their digests."""
    folder = split_data / "run"
    folder.mkdir()
    (folder / "model.safetensors").touch()
    predictor = bright(folder)
    (folder / "config.json").write_text(json.dumps(predictor.config.to_json()))
    monkeypatch.setattr("segmed.inference.load", lambda run: predictor)
    key = Pseudonyms.of_data(split_data / "set")

    def on(*patients: str) -> Path:
        seen = {"train": [patient_digest(patient, key) for patient in patients]}
        monkeypatch.setattr(predictor, "config", dataclasses.replace(predictor.config, seen=seen))
        return folder

    return on


def scored_under(data: Path, run_folder: Path, *more: object):
    """The result of scoring a run on patient a alone, and whether its training is known."""
    whole = {case: (reference(case) > 0).astype(np.uint8) for case in ("a_1", "a_2")}
    write_masks(data / "whole", whole)
    table = "case,patient,reference,ours\na_1,x,whole/a_1.nii.gz,\na_2,x,whole/a_2.nii.gz,\n"
    (data / "cases.csv").write_text(table)
    result = run(f"ours={run_folder}", *more, "--images", data / "set" / "imagesTr", "--out", data / "out")
    stored = data / "out" / "evaluations" / "ours"
    return result, Evaluation.load(stored).training_known if result.exit_code == 0 else None


def test_names_of_patients_that_are_not_the_datas_say_nothing_of_the_training(split_data, trained):
    data = split_data
    by_case = ("--references", data / "whole", "--each-case-is-a-patient")
    assert scored_under(data, trained("a"), *by_case)[1] is False
    assert scored_under(data, trained("a"), "--cases", data / "cases.csv")[1] is False
    assert scored_under(data, trained("b"), "--references", data / "whole", "--patient-regex", "^([a-z])_")[1] is True


def test_patients_of_a_table_are_looked_up_in_the_data_beside_the_key(split_data, trained):
    how = ("--cases", split_data / "cases.csv", "--patient-regex", "^([a-z])_")
    assert scored_under(split_data, trained("b"), *how)[1] is True
    assert scored_under(split_data, trained("stranger"), *how)[1] is False
    refused, _ = scored_under(split_data, trained("a"), *how)
    assert "was trained or tuned on patient a" in str(refused.exception)


def test_an_ensemble_predicts_the_images_first_as_a_run_does(data, monkeypatch):
    folder = write_masks(data / "whole", {case: (reference(case) > 0).astype(np.uint8) for case in CASES})
    mean = data / "mean"
    mean.mkdir()
    one = bright(mean, volumes=True)
    config = EnsembleConfig(networks=one.config.networks, labels=one.config.labels, threshold=0.5)
    write_json(mean / "ensemble.json", {"format": 1, "members": [], "config": config.to_json()})
    both = EnsemblePredictor([one, one], config, mean)
    monkeypatch.setattr("segmed.inference.load", lambda run: both)
    how = (f"ours={mean}", f"other={folder}", "--references", folder, "--patient-regex", "^([a-z])_")
    result = run(*how, "--images", data / "images", "--out", data / "out")
    assert result.exit_code == 0, result.output
    ours = rows_of(data / "out" / "evaluations" / "ours" / "cases.csv")
    written = read_volume(data / "out" / "predictions" / "ours" / "a_1.nii.gz").array
    assert int(ours[0]["predicted_voxels"]) == int((written > 0).sum()) > 0


def test_a_run_trained_on_masks_in_colours_is_scored_by_the_numbers_that_its_volumes_have(data, monkeypatch):
    folder = data / "reds"
    write_masks(folder, {case: (reference(case) > 0).astype(np.uint8) for case in CASES})
    one = bright(data / "run")
    config = dataclasses.replace(one.config, labels=LabelMap(("label 1",), ((0, 0, 0), (255, 0, 0))))
    one.config = config
    (data / "run").mkdir()
    write_json(data / "run" / "config.json", config.to_json())
    (data / "run" / "model.safetensors").touch()
    monkeypatch.setattr("segmed.inference.load", lambda run: one)
    how = ("--references", folder, "--patient-regex", "^([a-z])_", "--images", data / "images")
    result = run(f"ours={data / 'run'}", *how, "--out", data / "out")
    assert result.exit_code == 0, result.output
    assert Evaluation.load(data / "out" / "evaluations" / "ours").metrics["dice"].value > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a=one", "--out", "out"], "name their references"),
        (["a=one", "--out", "out"], "Give a run or evaluation without a name: one."),
        (["a=one", "a=two", "--references", "labels", "--out", "out"], "Two systems are called 'a'"),
        (["../a=one", "--references", "labels", "--out", "out"], "no name for a system"),
        (["a=good", "--references", "labels", "--nsd", "0", "--out", "out"], "expected positive numbers"),
        (["a=good", "--references", "labels", "--labels-of", "b:x=1", "--out", "out"], "where NAME is of a"),
        (["a=good", "--references", "labels", "--part", "validation", "--out", "out"], "--part is that of a split"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(data, monkeypatch, arguments, told):
    monkeypatch.chdir(data)
    result = run(*arguments)
    assert isinstance(result.exception, SegmedError)
    assert told in str(result.exception)
    assert "\n" not in str(result.exception)


def test_masks_of_one_tool_are_scored_as_volumes_by_evaluate_too(data):
    assert compared(data).exit_code == 0
    how = ["--references", str(data / "labels"), "--patient-regex", "^([a-z])_", "-o", str(data / "scored")]
    result = CliRunner().invoke(app, ["evaluate", "--predictions", str(data / "poor"), *how])
    assert result.exit_code == 0, result.output
    assert "no mask of a_2; scored as empty" in result.output
    alone, beside = (rows_of(data / place / "patients.csv") for place in ("scored", "out/evaluations/poor"))
    assert alone == beside


def test_masks_of_slices_are_pictured_with_their_references_where_no_data_set_is_at_hand(tmp_path):
    for name, move in (("labels", 0), ("good", 1), ("poor", 3)):
        (tmp_path / name).mkdir()
        for case in CASES:
            mask = np.roll(reference(case)[2] > 0, move, axis=0)
            Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / name / f"{case}.png")
    assert compared(tmp_path).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    address = re.findall(r'src="data:image/png;base64,([^"]*)"', page)[-1]
    tile = np.asarray(Image.open(io.BytesIO(base64.b64decode(address))).convert("RGB"))
    assert (tile == REFERENCE_COLOUR).all(axis=-1).any()
    assert "Where reference and prediction agree" in page
    assert "to see images." in page


@pytest.fixture
def split_data(data: Path) -> Path:
    """The cases as a data set of nnU-Net's with a split of three folds, each of which tests one patient."""
    shutil.copytree(data / "images", data / "set" / "imagesTr")
    shutil.copytree(data / "labels", data / "set" / "labelsTr")
    labels = {"background": 0, "organ": 1, "tumour": 2}
    (data / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
    patients = {"a": ("a_1", "a_2"), "b": ("b_1",), "c": ("c_1",)}
    slices = {who: tuple(f"{case}_{n}" for case in cases for n in range(1, 7)) for who, cases in patients.items()}
    decoded = decode(open_dataset(data / "set", patient_regex="^([a-z])_"))
    assert sorted(record.slice_id for record in decoded.dataset.records) == sorted(sum(slices.values(), ()))
    folds = [Partition(sum((slices[o] for o in slices if o != who), ()), (), slices[who]) for who in slices]
    patient_of = {slice_id: who for who, some in slices.items() for slice_id in some}
    Split("patient", 0, decoded.data_hash, False, patient_of, tuple(folds)).save(data / "split.json")
    return data


def test_floors_of_a_split_stand_beside_masks_and_are_those_of_evaluate(split_data: Path):
    data = split_data
    on_split = ("--data", data / "set", "--split", data / "split.json", "--patient-regex", "^([a-z])_")
    arguments = ["evaluate", "--predictions", data / "good", *on_split, "--resamples", 100, "-o", data / "alone"]
    assert CliRunner().invoke(app, [str(each) for each in arguments]).exit_code == 0
    alone = data / "alone-mm" / "floors"
    nothing = Evaluation.load(alone / "predict-nothing")
    other = dataclasses.replace(nothing, cases=tuple(dataclasses.replace(row, fp=1) for row in nothing.cases))
    other.write(alone / "predict-nothing")  # as of other data
    how = ("--references", data / "set" / "labelsTr", *on_split, "--out", data / "out")
    result = run(f"alone={data / 'alone-mm'}", f"good={data / 'good'}", f"poor={data / 'poor'}", *how)
    assert result.exit_code == 0, result.output
    said = (
        f"2 references are not of the test part and not scored: 2 of the train part, such as {how[1] / 'b_1.nii.gz'}."
    )
    assert said in " ".join(result.output.split())
    rows = [row for row in rows_of(data / "out" / "comparison.csv") if row["label"] == "mean of labels"]
    assert sorted(row["name"] for row in rows if row["kind"] == "floor") == [
        "nearest-slice copy", "neighbour interpolation", "predict nothing", "predict nothing (good)",
    ]  # fmt: skip
    assert len(rows) == 7
    stored = data / "out" / "evaluations" / "good"
    assert [row["case"] for row in rows_of(stored / "cases.csv")] == ["a_1", "a_1", "a_2", "a_2"]
    for floor in ("predict-nothing", "neighbour-interpolation", "nearest-slice-copy"):
        assert rows_of(stored / "floors" / floor / "patients.csv") == rows_of(alone / floor / "patients.csv")
    found = find_evaluations([stored, data / "out" / "evaluations" / "poor"]).evaluations
    assert [each.kind for each in found].count("floor") == 3


def test_a_split_without_its_data_or_a_case_without_a_reference_is_told(split_data: Path):
    data = split_data
    folder, split = data / "set" / "labelsTr", ("--split", data / "split.json")
    alone = run(f"good={data / 'good'}", "--references", folder, *split, "--out", data / "out")
    assert "--split: name the data set with --data" in str(alone.exception)
    how = ("--data", data / "set", *split, "--patient-regex", "^([a-z])_", "--out", data / "out")
    some = write_masks(data / "some", {case: reference(case) for case in CASES if case != "a_2"})
    lacking = run(f"good={data / 'good'}", "--references", some, *how)
    assert "no reference of a_2, which is of the test part" in str(lacking.exception)


def test_slices_of_a_part_are_called_as_in_the_data_which_has_their_pictures(tmp_path: Path):
    for part, cases in {"train": ("a_1", "a_2"), "test": ("b_1", "c_1")}.items():
        for folder, move in (("images", 0), ("masks", 0), ("tool", 1)):
            (tmp_path / "set" / part / folder).mkdir(parents=True)
            for case in cases:
                mask = np.roll(reference(case)[2] > 0, move, axis=0)
                Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "set" / part / folder / f"{case}.png")
    decoded = decode(open_dataset(tmp_path / "set"))
    parts = {
        part: tuple(r.slice_id for r in decoded.dataset.records if r.slice_id.startswith(part))
        for part in ("train", "test")
    }
    folds = (Partition(parts["train"], (), parts["test"]),)
    patients = {record.slice_id: record.patient for record in decoded.dataset.records}
    Split("patient", 0, decoded.data_hash, False, patients, folds).save(tmp_path / "split.json")
    test, out = tmp_path / "set" / "test", tmp_path / "out"
    how = ("--references", test / "masks", "--data", tmp_path / "set", "--split", tmp_path / "split.json", "--out", out)
    result = run(f"tool={test / 'tool'}", *how)
    assert result.exit_code == 0, (result.output, result.exception)
    (stored,) = find_evaluations([out / "evaluations" / "tool"]).evaluations[:1]
    assert {row.slice_id: row.patient for row in stored.slices} == {case: case for case in ("test/b_1", "test/c_1")}
    assert all(row.predicted_px for row in stored.slices if row.reference_px)
