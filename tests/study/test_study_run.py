"""A study from end to end on toy data: trained once, scored out of fold, explained on one page, and continued."""

import csv
import dataclasses
import re
import shutil
from pathlib import Path

import pytest

import segmed.study.run as running
from segmed.core.errors import ConfigError, DataError, ModelError, StoppedError
from segmed.core.image import Geometry, Mask
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.report.oracle import quality_figure
from segmed.io import write_mask
from segmed.study import Study, StudySettings, run_study
from segmed.study.page import write_page
from segmed.study.results import collect
from segmed.training import Hardware
from toydata import toy

CPU = Hardware(accelerator="cpu")
SETTINGS = StudySettings(
    protocol="both", budget="smoke", groups="institution",
    systems=("unet", "sam-tiny-boxes", "sam-tiny-boxes-20", "sam-tiny-cascade"),
    changes=("epochs=1", "sampling.steps_per_epoch=2", "sampling.batch_size=4"),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def study(data: DecodedDataset, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_study(
        data, SETTINGS, tmp_path_factory.mktemp("study") / "out", hardware=CPU, measure=False, resamples=200
    )


@pytest.fixture(scope="module")
def page(study: Study) -> str:
    return write_page(study, resamples=200).read_text()


def test_every_patient_is_scored_once_by_networks_that_never_saw_it(study: Study, page: str) -> None:
    rows = list(csv.DictReader((study.out / "tables" / "per-patient.csv").read_text().splitlines()))
    assert [row["patient"] for row in rows] == sorted(study.data.dataset.patients)
    assert all(row["U-Net"] for row in rows)


def test_the_report_is_made_again_with_both_losses_beside_its_own_figures(study: Study, page: str) -> None:
    rows = list(csv.DictReader((study.out / "tables" / "report.csv").read_text().splitlines()))
    systems = {row["system"]: row for row in rows}
    assert {row["split"] for row in rows} == {"LEAKING"}
    assert systems["U-Net, double sigmoid"]["report_iou"] == "0.8517"
    assert float(systems["U-Net, double sigmoid"]["validation_loss"]) > 1.2
    assert systems["U-Net, logits"]["iou_pooled"]
    assert not systems["U-Net, our settings"]["report_train_loss"]
    assert "neighbour interpolation" in systems


def test_the_page_leads_with_both_tables_and_ends_with_provenance(page: str) -> None:
    places = [page.index(f'<section id="{name}"') for name in ("patient", "report", "patients", "cases", "provenance")]
    assert places == sorted(places)
    assert "Buda, Saha and Mazurowski 2019" in page
    assert "Of the readings of IoU" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_one_network_is_tested_in_several_ways_and_given_boxes_it_is_not_ranked(study: Study, page: str) -> None:
    boxes, cascade = (next(job for job in study.jobs if job.row == f"sam-tiny-{way}") for way in ("boxes", "cascade"))
    assert boxes.folder(study.out) == cascade.folder(study.out)
    assert not study.failures
    head = next(csv.reader((study.out / "tables" / "per-patient.csv").read_text().splitlines()))
    assert sorted(head[1:]) == ["U-Net", "U-Net, then SAM-tiny"]
    given = page[page.index("boxes drawn from the reference") :]
    assert "SAM-tiny, given boxes" in given
    assert given.index("Floors, given the same boxes") < given.index("inscribed ellipse") < given.index("whole image")
    assert "Mean IoU of masks against mean IoU of the boxes" in given


def test_boxes_drawn_less_well_have_floors_of_their_own_and_one_quality_curve(study: Study, page: str) -> None:
    section = page[page.index("ORACLE") :]
    assert section.index("SAM-tiny, boxes off by up to 20 px") < section.index("inscribed ellipse (jitter:20)")
    assert section.count("whole image") == 1
    _, key = quality_figure(collect(study, resamples=200).given_boxes)
    assert [line.name for line in key] == ["SAM-tiny", "inscribed ellipse", "filled box"]


def test_a_system_is_also_tested_on_images_made_worse(study: Study, page: str) -> None:
    tested = {job.row for job in study.jobs for worse in job.evaluation(study.out).parent.glob("*lowpass-0.5") if worse}
    assert tested == {"unet"}
    section = page[page.index('<section id="robustness"') :]
    assert '<th scope="col">lowpass 0.5</th>' in section[: section.index("</section>")]


def test_a_finished_study_trains_nothing_and_its_page_is_made_again_with_rows_of_ones_own(
    study: Study, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(running, "train", trained)
    monkeypatch.setattr(running, "floor_evaluations", trained)
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    (out / "study.html").unlink()
    for record in study.data.dataset.records:
        labels = study.data.mask(record.case)
        mask = Mask(labels, Geometry((labels.shape[0], labels.shape[1])))
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_mask(tmp_path / "masks" / f"{record.case}.png", mask, study.data.dataset.labels)
    own = {
        "predictions": (("perfect", str(tmp_path / "masks")),),
        "runs": (("seen", (str(study.jobs[-1].folder(out)),)),),
    }
    again = run_study(study.data, dataclasses.replace(SETTINGS, **own), out, resume=True, hardware=CPU, resamples=200)
    assert not again.pending
    text = write_page(again, resamples=200, pictures=False).read_text()
    rows = list(csv.DictReader((out / "tables" / "per-patient.csv").read_text().splitlines()))
    assert {row["perfect"] for row in rows} == {"1.0"}
    assert all(row["U-Net"] for row in rows)
    assert "no run of seen may be tested on fold 0" in text
    assert "data:image/png" not in text
    assert "The patients that" not in text  # what is said of pictures goes with them


def test_only_what_is_not_done_is_done(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    lost = study.jobs[-1]
    (lost.evaluation(out) / "evaluation.json").unlink()
    asked: list[Path] = []
    monkeypatch.setattr(running, "run_job", lambda study, job, **_: asked.append(job.folder(study.out)))
    again = run_study(study.data, SETTINGS, out, resume=True, measure=False)
    assert asked == [lost.folder(out)]
    assert again.pending == (lost,)


def test_another_study_is_not_continued_in_the_folder(study: Study) -> None:
    with pytest.raises(ConfigError, match="already holds a study"):
        run_study(study.data, SETTINGS, study.out)
    other = StudySettings(protocol="both", budget="smoke", systems=("unet",), folds=3)
    with pytest.raises(ConfigError, match="begun with another folds, changes"):
        run_study(study.data, other, study.out, resume=True)
    unknown = dataclasses.replace(SETTINGS, groups="sex")
    with pytest.raises(DataError, match="No patient has a value of 'sex'"):
        run_study(study.data, unknown, study.out, resume=True)


def test_a_job_that_fails_is_told_and_the_others_go_on(
    data: DecodedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(study: Study, job: object, **_: object) -> None:
        raise ModelError("out of luck")

    monkeypatch.setattr(running, "run_job", failing)
    monkeypatch.setattr(running, "score_floors", lambda *_, **__: None)
    settings = StudySettings(protocol="patient", budget="smoke", systems=("unet",))
    found = run_study(data, settings, tmp_path / "s", measure=False)
    assert list(found.failures.values()) == ["out of luck"] * 2
    with pytest.raises(ValueError, match=r"No row of the study is whole yet \(U-Net, by patient: out of luck\)"):
        write_page(found)


def test_a_study_that_is_told_to_stop_does_not_go_on_with_the_next_job(
    data: DecodedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def stopped(study: Study, job: object, **_: object) -> None:
        asked.append(job)
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(running, "run_job", stopped)
    monkeypatch.setattr(running, "score_floors", lambda *_, **__: None)
    settings = StudySettings(protocol="patient", budget="smoke", systems=("unet",))
    with pytest.raises(StoppedError):
        run_study(data, settings, tmp_path / "s", measure=False)
    assert len(asked) == 1


def test_a_training_that_another_process_works_on_is_left_to_it(
    data: DecodedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(running, "run_job", lambda study, job, **_: asked.append(job.folder(study.out)))
    monkeypatch.setattr(running, "score_floors", lambda *_, **__: None)
    settings = StudySettings(protocol="patient", budget="smoke", systems=("unet",))
    first, second = run_study(data, settings, tmp_path / "s", measure=False).jobs
    asked.clear()
    with running.held(first.folder(tmp_path / "s")):
        found = run_study(data, settings, tmp_path / "s", resume=True, measure=False)
    assert asked == [second.folder(found.out)]
    assert not found.failures
