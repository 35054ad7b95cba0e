import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mask_samples import CASES, moved, write_masks, write_references
from segmed.cli import evaluation_table, main
from segmed.evaluation.masks.references import open_references
from segmed.evaluation.masks.score import score_masks
from segmed.evaluation.result import Evaluation


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """The tiny data set of the evaluation tests, and a cache of its own."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "evaluation"))
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    import tiny_runs

    return tiny_runs


def segmed(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segmed", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_info:
        main.run()
    return int(exit_info.value.code or 0)


def opened(root):
    from segmed.data.decoded import decode
    from segmed.data.sources import open_dataset

    return decode(open_dataset(root))


def first_patients(decoded):
    from segmed.core.split import Partition, Split

    names = decoded.dataset.patients
    parts = [
        tuple(r.slice_id for r in decoded.dataset.records if r.patient in some)
        for some in (names[:2], names[2:3], names[3:])
    ]
    patient_of = {r.slice_id: r.patient for r in decoded.dataset.records}
    return Split("patient", 0, decoded.data_hash, False, patient_of, (Partition(*parts),))


def alternate_slices(decoded):
    from segmed.core.split import Partition

    split = first_patients(decoded)
    slice_ids = [r.slice_id for r in decoded.dataset.records]
    return replace(split, leaking=True, folds=(Partition(tuple(slice_ids[::2]), (), tuple(slice_ids[1::2])),))


def test_a_run_is_evaluated_beside_its_floors(tiny, tmp_path, monkeypatch, capsys):
    from segmed.models.checkpoint import save_run
    from segmed.models.zoo import build_model

    root, run = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "run"
    config = tiny.config_of(opened(root))
    save_run(run, build_model(config.model), config)
    first_patients(opened(root)).save(run / "split.json")
    assert segmed(monkeypatch, "evaluate", run, "--data", root, "--resamples", 100) == 0
    shown, said = capsys.readouterr()
    result = Evaluation.load(run / "evaluation-test")
    assert result.name == "run"
    assert shown.splitlines()[-1] == str(run / "evaluation-test")
    assert result.cost.parameters > 10_000_000
    assert result.provenance.others["command"].startswith("segmed evaluate")
    assert len(list((run / "evaluation-test").glob("floors/*/evaluation.json"))) == 3
    assert "interpolation" in shown
    assert "Dice, median" in shown
    assert f"Next: segmed compare {run / 'evaluation-test'} --data {root} --out report" in said
    assert "No patient has training slices here, so it predicts nothing." in " ".join(shown.split())
    assert "LEAKING" not in shown
    assert "The intervals rest on 1 patient; below 20" in " ".join(shown.split())


def test_a_run_is_evaluated_on_images_made_worse_into_a_folder_for_each_way(tiny, tmp_path, monkeypatch, capsys):
    from segmed.models.checkpoint import save_run
    from segmed.models.zoo import build_model

    root, run = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "run"
    config = tiny.config_of(opened(root))
    save_run(run, build_model(config.model), config)
    first_patients(opened(root)).save(run / "split.json")
    worse = "lowpass:0.5,noise:0.3"
    assert segmed(monkeypatch, "evaluate", run, "--data", root, "--resamples", 100, "--degrade", worse) == 0
    made = sorted(folder.name for folder in run.glob("evaluation-*"))
    assert made == ["evaluation-test-lowpass-0.5", "evaluation-test-noise-0.3"]
    results = [Evaluation.load(run / name) for name in made]
    assert [str(each.provenance.degradation) for each in results] == ["lowpass:0.5", "noise:0.3"]
    assert results[0].calibration != results[1].calibration
    shown, _ = capsys.readouterr()
    assert shown.count("test part") == 1  # one table, not one for each
    rows = [line.split() for line in shown.splitlines() if ":0." in line]
    assert [row[0] for row in rows] == worse.split(",")
    assert all(str(run / name) in shown for name in made)

    (run / made[1] / "below").symlink_to(root)
    degrade = ["evaluate", run, "--data", root, "--resamples", 100, "--degrade", worse]
    before = (run / made[0] / "evaluation.json").stat().st_mtime_ns
    assert segmed(monkeypatch, *degrade) == 1
    assert "is a symbolic link" in capsys.readouterr().err
    assert (run / made[0] / "evaluation.json").stat().st_mtime_ns == before


def test_a_leaking_split_is_announced_in_capitals(tiny, tmp_path, monkeypatch, capsys):
    root, run = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "run"
    decoded = opened(root)
    alternate_slices(decoded).save(run / "split.json")
    predictor = tiny.predictor_of(run, tiny.config_of(decoded))
    monkeypatch.setattr("segmed.inference.load", lambda path, device, tta: predictor)
    assert segmed(monkeypatch, "evaluate", run, "--data", root, "--resamples", 100, "--no-floors") == 0
    shown, said = capsys.readouterr()
    assert "LEAKING: patients are in several parts" in said
    assert "LEAKING" in shown
    assert "4 of 4 patients were in training too" in shown


def test_another_split_needs_a_folder_of_its_own(tiny, tmp_path, monkeypatch, capsys):
    root, run = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "run"
    decoded, other = opened(root), tmp_path / "other.json"
    own = first_patients(decoded)
    own.save(run / "split.json")
    replace(own, seed=own.seed + 1).save(other)
    predictor = tiny.predictor_of(run, tiny.config_of(decoded))
    monkeypatch.setattr("segmed.inference.load", lambda path, device, tta: predictor)
    arguments = ("evaluate", run, "--data", root, "--split", other, "--resamples", 100, "--no-floors")
    assert segmed(monkeypatch, *arguments) == 1
    assert "Name a folder for the result with -o" in capsys.readouterr().err
    assert not (run / "evaluation-test").exists()
    assert segmed(monkeypatch, *arguments, "-o", tmp_path / "out") == 0


def test_masks_of_any_tool_are_evaluated(tiny, tmp_path, monkeypatch, capsys):
    root = tiny.kaggle_folder(tmp_path / "kaggle_3m", patients="ab")
    arguments = ("--predictions", root, "--references", root, "-o", tmp_path / "out", "--resamples", 100)
    assert segmed(monkeypatch, "evaluate", *arguments) == 0
    assert Evaluation.load(tmp_path / "out").metrics["dice"].value == 1.0
    assert "kaggle_3m" in capsys.readouterr().out


def test_masks_and_tables_of_the_user_are_never_replaced_by_results(tiny, tmp_path, monkeypatch, capsys):
    masks = tiny.kaggle_folder(tmp_path / "mine" / "predictions", patients="ab")
    root = tiny.kaggle_folder(tmp_path / "kaggle_3m", patients="ab")
    before = {path: path.read_bytes() for path in masks.rglob("*") if path.is_file()}
    arguments = ("evaluate", "--predictions", masks, "--references", root, "--resamples", 100, "-o")
    assert segmed(monkeypatch, *arguments, tmp_path / "mine") == 1
    assert "is read, and results would be written in its place" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in masks.rglob("*") if path.is_file()} == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "patients.csv").write_text("mine")
    assert segmed(monkeypatch, *arguments, tmp_path / "out") == 1
    assert "patients.csv: is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["patients.csv"]
    (tmp_path / "out" / "patients.csv").unlink()
    for _ in range(2):
        assert segmed(monkeypatch, *arguments, tmp_path / "out") == 0


def test_masks_of_any_tool_are_scored_on_a_split_beside_the_floors_and_comparable_with_runs(
    tiny, tmp_path, monkeypatch
):
    root, split = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "split.json"
    decoded = opened(root)
    first_patients(decoded).save(split)
    test = set(first_patients(decoded).fold(0).test)
    masks = tmp_path / "masks"
    masks.mkdir()
    for record in decoded.dataset.records:
        if record.slice_id in test:
            (masks / f"{record.slice_id}.tif").write_bytes(record.mask.read_bytes())
    arguments = ("--predictions", masks, "--data", root, "--split", split, "-o", tmp_path / "out", "--resamples", 100)
    assert segmed(monkeypatch, "evaluate", *arguments) == 0
    result = Evaluation.load(tmp_path / "out")
    assert result.metrics["dice"].value == 1.0
    assert result.data_hash == decoded.data_hash
    assert {row.slice_id for row in result.slices} == test
    assert len(list((tmp_path / "out").glob("floors/*/evaluation.json"))) == 3


def test_groups_of_masks_are_scored_without_opening_the_data_again(tiny, tmp_path, monkeypatch, capsys):
    from segmed.cli import evaluate as command

    root, split = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "split.json"
    first_patients(opened(root)).save(split)
    masks, open_data, times = tmp_path / "masks", command.open_decoded, []
    masks.mkdir()
    for file in root.glob("*/*_mask.tif"):
        (masks / file.name.replace("_mask", "")).write_bytes(file.read_bytes())
    monkeypatch.setattr(command, "open_decoded", lambda *given: times.append(given) or open_data(*given))
    monkeypatch.setattr(Evaluation, "load", None)
    arguments = ("--predictions", masks, "--data", root, "--split", split, "-o", tmp_path / "out", "--resamples", 100)
    assert segmed(monkeypatch, "evaluate", *arguments, "--no-floors", "--groups", "institution") == 0
    assert len(times) == 1
    assert "institution: mean patient Dice" in capsys.readouterr().out
    assert "institution" in (tmp_path / "out" / "groups.csv").read_text()


def test_groups_are_of_patients_also_where_these_have_several_volumes(tiny, tmp_path, monkeypatch):
    from segmed.data.decoded import decode
    from segmed.data.layouts.manifest import write_manifest
    from segmed.data.sources import open_dataset

    root = tiny.kaggle_folder(tmp_path / "kaggle_3m")
    dataset = open_dataset(root)
    scans = [replace(each, of_case=f"{each.patient} scan {each.slice_index % 2}") for each in dataset.records]
    sex = {patient: {"sex": "FM"[number % 2]} for number, patient in enumerate(dataset.patients)}
    write_manifest(tmp_path / "manifest.csv", replace(dataset, records=tuple(scans), attributes=sex))
    decoded, masks = decode(open_dataset(tmp_path / "manifest.csv")), tmp_path / "masks"
    first_patients(decoded).save(tmp_path / "split.json")
    masks.mkdir()
    for record in decoded.dataset.records:
        (masks / f"{record.slice_id}.tif").write_bytes(record.mask.read_bytes())
    arguments = ("--predictions", masks, "--data", tmp_path / "manifest.csv", "--split", tmp_path / "split.json")
    more = ("-o", tmp_path / "out", "--resamples", 100, "--no-floors", "--groups", "sex")
    assert segmed(monkeypatch, "evaluate", *arguments, *more) == 0
    assert ",sex,dice,M,1,1" in (tmp_path / "out" / "groups.csv").read_text()


def test_a_missing_prediction_is_one_line_and_exit_code_one(tiny, tmp_path, monkeypatch, capsys):
    root = tiny.kaggle_folder(tmp_path / "kaggle_3m", patients="ab")
    (tmp_path / "some").mkdir()
    first = next(iter(sorted(root.glob("*/*_mask.tif"))))
    (tmp_path / "some" / first.name).write_bytes(first.read_bytes())
    arguments = ("--predictions", tmp_path / "some", "--references", root, "-o", tmp_path / "out")
    assert segmed(monkeypatch, "evaluate", *arguments) == 1
    assert "no prediction for slice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run"], "Name a run and its data"),
        (["--predictions", "a"], "--references FOLDER"),
        (["--predictions", "a", "--references", "b", "--data", "d", "-o", "o"], "either --references"),
        (["--predictions", "a", "--data", "d", "-o", "o"], "name the slices or volumes with --split"),
        (["run", "--data", "d", "--part", "train"], "a run is not scored on what it was trained on"),
        (["hf:owner/name", "--data", "d"], "is on the hub, so name a folder for the result with -o"),
        (["runs/typo", "--data", "d"], "runs/typo: there is no such folder. Check the path; a model of the hub"),
        (["run", "--data", "d", "--degrade", "all", "--groups", "sex"], "no --prompts or --groups"),
        (["run", "--data", "d", "--prompts", "gt", "--groups", "sex"], "leave out --prompts, or evaluate twice"),
        (
            ["--predictions", "p", "--references", "r", "-o", "x", "--split", "s.json", "--tta", "flips"],
            "--tta, --split: does not apply to --predictions with --references. Leave",
        ),
        (
            ["--predictions", "p", "--references", "r", "-o", "x", "--part", "validation", "--no-floors"],
            "--part, --no-floors: does not apply to --predictions with --references. Leave",
        ),
        (
            ["--predictions", "p", "--references", "r", "-o", "x", "--batch-size", "3", "--device", "cuda"],
            "--batch-size, --device: does not apply to --predictions with --references. Leave",
        ),
        (["--predictions", "p", "--references", "r", "-o", "x", "--groups", "sex"], "Name it with --data"),
        (["run", "--groups", "sex"], "Name it with --data"),
        (["run", "--data", "d", "--prompts", "gt", "--cascade", "c"], "--cascade is for the kind of that name"),
        (["run", "--data", "d", "--uncertainty", "2"], "--uncertainty moves boxes"),
        (["--predictions", "p", "--data", "d", "-o", "x", "--cascade", "c"], "does not apply to --predictions. Leave"),
    ],
)
def test_a_wrong_call_says_what_is_missing(arguments, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert segmed(monkeypatch, "evaluate", *arguments) == 1
    assert reason in capsys.readouterr().err


def test_a_column_that_no_patient_has_is_refused_before_anything_is_scored(tiny, tmp_path, monkeypatch, capsys):
    from segmed.evaluation import run as scoring
    from segmed.models.checkpoint import save_run
    from segmed.models.zoo import build_model

    root, run = tiny.kaggle_folder(tmp_path / "kaggle_3m"), tmp_path / "run"
    config = tiny.config_of(opened(root))
    save_run(run, build_model(config.model), config)
    first_patients(opened(root)).save(run / "split.json")
    monkeypatch.setattr(
        scoring, "evaluate_run", lambda *_, **__: pytest.fail("scored before the column was looked for")
    )
    assert segmed(monkeypatch, "evaluate", run, "--data", root, "--groups", "race") == 1
    assert "Nothing that is scored has a value of 'race'" in capsys.readouterr().err


def test_the_table_fits_eighty_columns(tiny, tmp_path):
    from rich.console import Console

    from segmed.core.split import Partition
    from segmed.evaluation.floors import floor_evaluations

    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    split = tiny.split_of(decoded, Partition(tiny.slice_ids("a"), (), tiny.slice_ids("bcd")))
    floors = floor_evaluations(decoded, split, resamples=100)
    console = Console(width=80, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(evaluation_table.table(replace(floors[2], name="unet"), floors))
    console.file.close()
    text = (tmp_path / "table.txt").read_text()
    assert "1.000 [1.00, 1.00]" in text  # value and interval on one line
    assert "…" not in text


def rendered(result: Evaluation) -> list[str]:
    from rich.console import Console

    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table.table(result, []))
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


OLD = Path(__file__).parents[1] / "evaluation" / "samples" / "evaluation-0.1"


def test_with_several_labels_every_score_has_a_row_for_each_and_their_mean_is_named_as_that():
    lines = rendered(Evaluation.load(OLD))
    dice = lines.index("Dice")
    assert [line.split(" [")[0] for line in lines[dice + 1 : dice + 4]] == [
        "core 0.750",
        "oedema 0.000",
        "mean of labels 0.375",
    ]
    missed = lines.index("Missed (patients)")
    assert [line.split(" [")[0] for line in lines[missed + 1 : missed + 4]] == ["core 0", "oedema 2", "any label 2"]


def test_a_label_that_is_never_found_is_said_below_the_table():
    sentence = "two labels never found oedema: not one pixel in any of the 2 patients with it."
    assert sentence in evaluation_table.notes(Evaluation.load(OLD), [])


def test_intervals_are_explained_only_where_there_are_any():
    old = Evaluation.load(OLD)
    bare = {name: replace(metric, low=math.nan, high=math.nan) for name, metric in old.metrics.items()}
    assert any("In brackets" in line for line in evaluation_table.notes(old, []))
    assert not any("In brackets" in line for line in evaluation_table.notes(replace(old, metrics=bare), []))


def volumes_of(folder: Path) -> Evaluation:
    """A tool's masks of volumes, of which one lacks."""
    write_references(folder / "labels")
    write_masks(folder / "tool", {case: moved(case) for case in CASES if case != "a_2"})
    references = open_references(folder / "labels", patient_regex="^([a-z])_", tolerances=(2.0,))
    return score_masks(folder / "tool", references, name="tool")


def test_a_table_of_volumes_has_the_unit_of_each_distance_and_size(tmp_path):
    text = " ".join(rendered(volumes_of(tmp_path)))
    assert "HD95 with penalty (mm)" in text
    assert "Volume error (ml)" in text
    assert "px" not in text


def test_below_a_table_of_volumes_stands_what_is_true_of_volumes(tmp_path):
    result = volumes_of(tmp_path)
    below = " ".join(evaluation_table.notes(result, []))
    assert "Distances are in the volume, in mm." in below
    assert "in pixels" not in below
    assert "tool has no mask of 1 case, scored as empty" in below
    nothing = replace(result.provenance, remark="copies the slice beside")
    copies = replace(result, name="copies", kind="floor", provenance=nothing)
    assert not any("copies the slice beside" in line for line in evaluation_table.notes(result, [copies]))


def test_the_table_says_of_scores_on_the_validation_part_that_they_flatter(tiny, tmp_path):
    from segmed.core.split import Partition
    from segmed.evaluation.floors import floor_evaluations

    decoded = tiny.decoded_of(tiny.kaggle_folder(tmp_path / "kaggle_3m"))
    split = tiny.split_of(decoded, Partition(tiny.slice_ids("a"), tiny.slice_ids("bc"), tiny.slice_ids("d")))
    notes = {
        part: evaluation_table.notes(floor_evaluations(decoded, split, 0, part, resamples=100)[0], [])
        for part in ("validation", "test")
    }
    assert "so they flatter" in " ".join(notes["validation"])
    assert "flatter" not in " ".join(notes["test"])
