"""`segmed compare` from the command line: folders in, a page out, and one line for what cannot be compared."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from segmed.cli.main import app
from segmed.core.errors import SegmedError
from segmed.core.labels import LabelMap
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.volume import PatientVolume


def square(side: int) -> np.ndarray:
    mask = np.zeros((24, 30), np.uint8)
    mask[5 : 5 + side, 7 : 7 + side] = 1
    return mask


def scored(folder: Path, side: int, *, part: str = "test", leaking: bool = False) -> Path:
    volumes = [
        PatientVolume(patient, (f"{patient}_1", f"{patient}_2"), [square(8)] * 2, [square(side)] * 2)
        for patient in ("ANN", "BEN", "CAT")
    ]
    result = evaluate(volumes, LabelMap(), name=folder.name, context=Context(part=part, leaking=leaking), resamples=50)
    result.save(folder / f"evaluation-{part}")
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


def test_two_run_folders_become_a_page_and_tables(tmp_path):
    result = run(scored(tmp_path / "good", 8), scored(tmp_path / "poor", 4), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "good leads poor by" in result.output
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "comparison.csv",
        "comparison.md",
        "report.html",
    ]


def test_a_single_run_gets_a_report_too(tmp_path):
    result = run(scored(tmp_path / "only", 6), "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "only reaches a mean patient Dice of" in result.output


def test_anonymise_hides_every_patient_and_slice(tmp_path):
    run(scored(tmp_path / "only", 6), "-o", tmp_path / "out", "--anonymise")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "patient-" in page
    assert not [name for name in ("ANN", "BEN", "CAT") if name in page.split("</style>")[1]]


def test_a_leaking_run_is_announced_on_stderr(tmp_path):
    result = run(scored(tmp_path / "leak", 6, leaking=True), "-o", tmp_path / "out")
    assert "LEAKING" in result.stderr


def test_scores_of_the_validation_part_are_announced(tmp_path):
    result = run(scored(tmp_path / "a", 6, part="validation"), "-o", tmp_path / "out")
    assert "Note: These are scores on the validation part" in result.output


def test_images_are_read_from_where_they_were_scored_unless_the_data_has_changed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "evaluation"))
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    import tiny_runs

    from segmed.core.split import Partition
    from segmed.data.decoded import decode
    from segmed.data.sources import open_dataset
    from segmed.evaluation.floors import floor_evaluations

    monkeypatch.chdir(tmp_path)  # evaluations name their data from the folder that one works in
    root = Path("kaggle_3m")
    tiny_runs.kaggle_folder(tmp_path / root)
    decoded = decode(open_dataset(root))
    slice_ids = [record.slice_id for record in decoded.dataset.records]
    split = tiny_runs.split_of(decoded, Partition(tuple(slice_ids[:4]), (), tuple(slice_ids[4:])))
    copy = dataclasses.replace(floor_evaluations(decoded, split, resamples=50)[2], kind="run", name="copy")
    copy.save(tmp_path / "run" / "evaluation-test")

    result = run(tmp_path / "run", "-o", tmp_path / "out")
    assert f"images and references for pictures are read from {root}" in result.stderr
    assert "These are the predictions alone" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    mask = next(iter(root.glob("*/*_2_mask.tif")))
    mask.write_bytes(mask.with_name(mask.name.replace("_2_", "_1_")).read_bytes())
    result = run(tmp_path / "run", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert f"Note: pictures without images, since {root} is not the data that was scored, or not" in result.stderr
    assert "These are the predictions alone" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    root.rename("elsewhere")
    result = run(tmp_path / "run", "-o", tmp_path / "out")
    gone = f"pictures without images, since the data that was scored is not at {root}. Name it with --data."
    assert f"Note: {gone}" in result.stderr.splitlines()


def test_other_parts_are_refused_and_nothing_is_written(tmp_path):
    test, validation = scored(tmp_path / "a", 6), scored(tmp_path / "b", 6, part="validation")
    result = run(test, validation, "-o", tmp_path / "out")
    assert isinstance(result.exception, SegmedError)
    assert "b and a cannot be compared: scored on validation and on test" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("missing", "said"),
    [("nowhere", "there is no such folder. Check the path."), ("empty", "holds no evaluation of the test part")],
)
def test_a_path_without_an_evaluation_is_named(tmp_path, missing, said):
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / missing, "-o", tmp_path / "out")
    assert isinstance(result.exception, SegmedError)
    assert f"{tmp_path / missing}: {said}" in str(result.exception)


def test_groups_of_a_column_are_in_the_page_and_in_a_table(tmp_path, monkeypatch):
    from segmed.cli.compare import _group_tables
    from segmed.evaluation.report import write_comparison

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "evaluation"))
    import report_samples as samples

    from segmed.evaluation.compare import compare

    class Known:
        class dataset:
            attributes: ClassVar = {"P0": {"sex": "f<"}, "P1": {"sex": "m"}, "P2": {"sex": "m"}}

    evaluations = [samples.evaluation("a", (0.9, 0.5, 0.7)), samples.evaluation("b", (0.8, 0.6, 0.6))]
    tables = _group_tables(compare(evaluations), Known, "sex", 0)  # type: ignore[arg-type]
    page = write_comparison(compare(evaluations), out=tmp_path, groups=tables).read_text()
    assert '<a href="#groups">Groups</a>' in page
    assert "f&lt;" in page
    assert "equity-scaled, std" in page
    assert (tmp_path / "groups.csv").is_file()


def test_images_of_slices_are_those_of_the_data_set(tmp_path):
    result = run(scored(tmp_path / "good", 8), "--images", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert "--images: is for volumes." in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_one_evaluation_named_twice_is_refused(tmp_path):
    folder = scored(tmp_path / "a", 8)
    result = run(folder, folder / "evaluation-test", "--out", tmp_path / "out")
    assert isinstance(result.exception, SegmedError)
    assert "named twice" in str(result.exception)
    assert not (tmp_path / "out").exists()
