"""A study from end to end on toy data: trained once, scored out of fold, explained on one page, and continued."""

import csv
import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import segmed.study.page as study_page
import segmed.study.run as running
from segmed.core.errors import ConfigError, DataError, ModelError, StoppedError
from segmed.core.image import Geometry, Mask
from segmed.data.decoded import DecodedDataset
from segmed.data.splits import split_by_institution
from segmed.evaluation.compare import Comparison, compare
from segmed.evaluation.report.oracle import quality_figure
from segmed.evaluation.result import Evaluation
from segmed.evaluation.run import plan_evaluation
from segmed.evaluation.tune import tune
from segmed.inference import load
from segmed.io import write_mask
from segmed.study import Study, StudySettings, run_study
from segmed.study.budgets import BUDGETS
from segmed.study.external_rows import external_evaluations
from segmed.study.jobs import Job, make_jobs
from segmed.study.page import write_page
from segmed.study.results import Results, collect
from segmed.study.run import as_it_stands
from segmed.study.scorers import threshold_for
from segmed.study.settings import load_settings
from segmed.study.systems import SYSTEMS
from segmed.study.teller import Quiet
from segmed.training import Hardware
from toydata import toy

CPU = Hardware(accelerator="cpu")
SETTINGS = StudySettings(
    protocol="both", budget="smoke", groups="institution",
    systems=("unet", "sam-tiny", "sam-tiny-boxes", "sam-tiny-boxes-20", "sam-tiny-cascade"),
    changes=("epochs=1", "sampling.steps_per_epoch=2", "sampling.batch_size=4", "prediction.smallest_share=0.1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def study(data: DecodedDataset, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_study(
        data, SETTINGS, tmp_path_factory.mktemp("study") / "out", hardware=CPU, measure=False, resamples=200
    )


def worse_than(out: Path, job: Job) -> Iterator[Path]:
    """The folders of a job's scores on degraded images."""
    return job.evaluation(out).parent.glob("evaluation-test-*")


def shown(study: Study, **how: bool) -> Study:
    """The study with another look of its page."""
    return dataclasses.replace(study, settings=dataclasses.replace(study.settings, **how))


def with_masks(study: Study, out: Path, name: str, masks: Path) -> Study:
    """The study in a folder, with a row of masks of one's own."""
    settings = dataclasses.replace(study.settings, predictions=((name, str(masks)),), pictures=False)
    return dataclasses.replace(study, out=out, settings=settings)


def write_references(study: Study, folder: Path) -> None:
    """The reference of every slice as a mask of another tool."""
    folder.mkdir(exist_ok=True)
    for record in study.data.dataset.records:
        labels = study.data.mask(record.slice_id)
        mask = Mask(labels, Geometry((labels.shape[0], labels.shape[1])))
        write_mask(folder / f"{record.slice_id}.png", mask, study.data.dataset.labels)


@pytest.fixture(scope="module")
def page(study: Study) -> str:
    return write_page(study, resamples=200).read_text()


def test_every_patient_is_scored_once_by_networks_that_never_saw_it(study: Study, page: str) -> None:
    rows = list(csv.DictReader((study.out / "tables" / "per-patient.csv").read_text().splitlines()))
    assert [row["patient"] for row in rows] == sorted(study.data.dataset.patients)
    assert all(row["U-Net"] for row in rows)


def test_the_paper_is_made_again_with_both_losses_beside_its_own_figures(study: Study, page: str) -> None:
    rows = list(csv.DictReader((study.out / "tables" / "reproduction.csv").read_text().splitlines()))
    systems = {row["system"]: row for row in rows}
    assert {row["split"] for row in rows} == {"LEAKING"}
    assert systems["U-Net, double sigmoid"]["paper_iou"] == "0.8517"
    assert float(systems["U-Net, double sigmoid"]["validation_loss"]) > 1.2
    assert systems["U-Net, logits"]["iou_pooled"]
    assert not systems["U-Net, our settings"]["paper_train_loss"]
    assert "neighbour interpolation" in systems


def test_the_page_leads_with_both_tables_and_ends_with_provenance(page: str) -> None:
    places = [
        page.index(f'<section id="{name}"')
        for name in ("patient", "reproduction", "patients", "worst-first", "provenance")
    ]
    assert places == sorted(places)
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_published_figures_are_set_beside_lgg_alone(
    study: Study, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("Buda, Saha and Mazurowski 2019", "Of the variants of IoU", "missed by")
    assert not [word for word in words if word in page]
    assert "these rows are of other data" in page
    monkeypatch.setattr("segmed.study.page.is_lgg", lambda _: True)
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    text = write_page(shown(dataclasses.replace(study, out=out), pictures=False), resamples=50).read_text()
    assert all(word in text for word in words)
    assert "these rows are of other data" not in text


def test_one_network_is_tested_in_several_ways_and_given_boxes_it_is_not_ranked(study: Study, page: str) -> None:
    boxes, cascade = (next(job for job in study.jobs if job.row == f"sam-tiny-{way}") for way in ("boxes", "cascade"))
    assert boxes.folder(study.out) == cascade.folder(study.out)
    assert not study.failures
    head = next(csv.reader((study.out / "tables" / "per-patient.csv").read_text().splitlines()))
    assert sorted(head[1:]) == ["SAM-tiny, no prompt", "U-Net", "U-Net, then SAM-tiny"]
    given = page[page.index("boxes drawn from the reference") :]
    assert "SAM-tiny, given boxes" in given
    assert given.index("Floors, given the same boxes") < given.index("inscribed ellipse") < given.index("whole image")
    assert "Mean IoU of masks against mean IoU of the boxes" in given


def test_a_cascade_removes_the_small_components_that_its_dense_row_removes(study: Study) -> None:
    removing = {change for change in BUDGETS["cpu"].common + BUDGETS["cpu"].patient if change.startswith("prediction.")}
    assert removing <= set(SETTINGS.changes)
    for job in study.jobs:
        if job.row in ("unet", "sam-tiny-cascade") and job.protocol == "patient":
            scored = Evaluation.load(job.evaluation(study.out)).provenance.prediction
            assert scored is not None
            assert scored.smallest_share == 0.1


def test_a_promptable_network_asked_without_a_prompt_has_the_threshold_that_is_best_so_on_validation_patients(
    study: Study, page: str
) -> None:
    best, taken, from_another = [], [], []
    for job in (job for job in study.jobs if job.row == "sam-tiny"):
        predictor = load(job.folder(study.out), device="cpu")
        plan = plan_evaluation(job.folder(study.out), predictor.config, study.data, part="validation")
        best.append(tune(predictor, study.data, plan, ttas=["none"], components=False).best.threshold)
        assert predictor.config.prediction.removes
        taken.append(Evaluation.load(job.evaluation(study.out)).threshold)
        predictor.config = dataclasses.replace(predictor.config, threshold=0.95)  # the run's own is of boxes
        from_another.append(threshold_for(job.system.given, predictor, study.data, plan))
    assert taken == best == from_another
    assert "Of SAM-tiny, no prompt the epoch was chosen" in page


def test_boxes_drawn_less_well_have_floors_of_their_own_and_one_quality_curve(study: Study, page: str) -> None:
    section = page[page.index("ORACLE") :]
    assert section.index("SAM-tiny, boxes off by up to 20 px") < section.index("inscribed ellipse (jitter:20)")
    assert section.count("whole image") == 1
    _, key = quality_figure(collect(study, resamples=200).given_boxes)
    assert [line.name for line in key] == ["SAM-tiny", "inscribed ellipse", "filled box"]


def test_a_system_is_also_tested_on_images_made_worse(study: Study, page: str) -> None:
    tested = {
        job.row for job in study.jobs for worse in job.evaluation(study.out).parent.glob("*bandgain-1.1") if worse
    }
    assert tested == {"unet"}
    section = page[page.index('<section id="robustness"') :]
    assert '<th scope="col">bandgain 1.1</th>' in section[: section.index("</section>")]


def test_a_finished_study_trains_nothing_and_its_page_is_made_again_with_rows_of_ones_own(
    study: Study, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(running, "train", trained)
    monkeypatch.setattr(running, "floor_evaluations", trained)
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    (out / "study.html").unlink()
    write_references(study, tmp_path / "masks")
    own = {
        "predictions": (("perfect", str(tmp_path / "masks")),),
        "runs": (("seen", (str(study.jobs[-1].folder(out)),)),),
    }
    again = run_study(study.data, dataclasses.replace(SETTINGS, **own), out, resume=True, hardware=CPU, resamples=200)
    assert not again.pending
    write_page(shown(again, pictures=False), resamples=200)
    monkeypatch.setattr("segmed.study.external_rows.evaluate_masks", trained)  # what is known is not scored again
    text = write_page(shown(again, pictures=False), resamples=200).read_text()
    rows = list(csv.DictReader((out / "tables" / "per-patient.csv").read_text().splitlines()))
    assert {row["perfect"] for row in rows} == {"1.0"}
    assert all(row["U-Net"] for row in rows)
    assert "no run of seen may be tested on fold 0" in text
    assert "data:image/png" not in text
    assert "The patients that" not in text  # what is said of pictures goes with them


@pytest.mark.parametrize(
    ("trained", "stale"),
    [
        ("sam-tiny", {"sam-tiny", "sam-tiny-boxes", "sam-tiny-boxes-20", "sam-tiny-cascade"}),
        ("unet", {"unet", "sam-tiny-cascade"}),
    ],
)
def test_scores_of_a_network_that_was_trained_anew_since_are_not_taken_for_its_own(
    study: Study, tmp_path: Path, trained: str, stale: set[str]
) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    config = out / "runs" / "patient" / trained / "seed-0" / "fold-1" / "config.json"
    config.write_text(config.read_text().replace('"steps": 2', '"steps": 3'))
    again = dataclasses.replace(study, out=out)
    assert {(job.row, job.fold) for job in again.pending} == {(row, 1) for row in stale}
    told = {row.title for row in collect(again, resamples=50).absent}
    assert {f"{SYSTEMS[row].title}, by patient" for row in stale} <= told


def test_a_cascade_is_not_shown_where_the_network_that_proposes_has_other_settings_now(
    study: Study, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    recipe = out / "runs" / "patient" / "unet" / "seed-0" / "fold-1" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 1", "epochs: 9"))
    ranked = collect(dataclasses.replace(study, out=out), resamples=50).ranked
    assert [each.name for each in ranked] == ["SAM-tiny, no prompt"]


def test_only_what_is_not_done_is_done(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    lost = study.jobs[-1]
    (lost.evaluation(out) / "evaluation.json").unlink()
    asked: list[Path] = []
    monkeypatch.setattr(running, "run_job", lambda study, job, **_: asked.append(job.folder(study.out)))
    again = run_study(study.data, SETTINGS, out, resume=True, measure=False)
    assert asked == [lost.folder(out)]
    assert again.pending == (lost,)


def test_a_study_of_0_1_goes_on_with_what_it_has_trained(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the protocol was called `report`, in folders and files, and the augmentation `seed`."""
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    for place in ("runs", "floors"):
        (out / place / "reproduction").rename(out / place / "report")
    (out / "splits" / "reproduction.json").rename(out / "splits" / "report.json")
    recipe = out / "runs" / "report" / "unet--double-sigmoid" / "seed-0" / "fold-0" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("name: double-sigmoid", "name: seed-double-sigmoid"))
    assert "name: seed-double-sigmoid" in recipe.read_text()
    monkeypatch.setattr(running, "run_job", None)
    monkeypatch.setattr(running, "floor_evaluations", None)
    again = run_study(study.data, SETTINGS, out, resume=True, measure=False)
    assert (again.pending, all(map(again.is_usable, again.jobs))) == ((), True)
    assert not any((out / place / "reproduction").exists() for place in ("runs", "floors"))


def test_a_test_on_degraded_images_that_is_lacking_is_made_up_for_and_nothing_else_is_done(
    study: Study, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    job = next(job for job in study.jobs if list(worse_than(out, job)))
    (lost,) = worse_than(out, job)
    shutil.rmtree(lost)
    before = dataclasses.replace(study, out=out)
    assert before.pending == (job,)
    assert [each.title for each in collect(before, resamples=50).absent] == ["U-Net, under bandgain:1.1"]
    done = [job.evaluation(out) / "evaluation.json", job.folder(out) / "model.safetensors"]
    times = [file.stat().st_mtime_ns for file in done]
    again = run_study(study.data, SETTINGS, out, resume=True, hardware=CPU, measure=False, resamples=50)
    assert not again.pending
    assert lost.is_dir()
    assert [file.stat().st_mtime_ns for file in done] == times


def test_a_resumed_study_keeps_the_rows_and_protocols_that_are_not_asked_for_now(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    asked: list[str] = []
    monkeypatch.setattr(running, "run_job", lambda study, job, **_: asked.append(f"{job.protocol} {job.row}"))
    now = dataclasses.replace(SETTINGS, protocol="patient", systems=("pan",), groups="")
    again = run_study(study.data, now, out, resume=True, measure=False)
    assert asked == ["patient pan"] * 2
    kept = load_settings(out)
    assert dataclasses.replace(kept, folds=0) == again.settings
    assert (kept.protocol, kept.groups) == ("both", "institution")
    assert {row.name for row in kept.rows} == {*SETTINGS.systems, "pan"}
    assert {job.row for job in study.jobs} < {job.row for job in again.jobs}


def test_a_run_of_other_settings_is_not_shown_as_a_row(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    job = next(job for job in study.jobs if job.row == "unet")
    recipe = job.folder(out) / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 1", "epochs: 2"))
    found = collect(dataclasses.replace(study, out=out), resamples=50)
    assert "U-Net" not in [each.name for each in found.ranked]
    (reason,) = [each.reason for each in found.absent if each.title == "U-Net, by patient"]
    assert reason.startswith(f"{job.folder(out)} was trained with other settings than the study's now.")


def test_seeds_that_are_whole_make_a_row_and_degraded_scores_are_of_the_same(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    first = [job for job in study.jobs if job.row == "unet"]
    second = [dataclasses.replace(job, seed=1, recipe=dataclasses.replace(job.recipe, seed=1)) for job in first]
    settings = dataclasses.replace(SETTINGS, seeds=2)
    several = dataclasses.replace(study, out=out, settings=settings, jobs=(*first, *second))
    (row,) = collect(several, resamples=50).ranked
    assert row.provenance.dice_of_seeds == ()
    assert collect(several, resamples=50).absent[0].reason == (
        "not finished: 2 of 4 trainings are done; the row is the mean of 1 whole seed(s)"
    )
    for job, copy in zip(first, second, strict=True):
        shutil.copytree(job.folder(out), copy.folder(out))
        recipe = copy.folder(out) / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 1"))
    shutil.rmtree(next(worse_than(out, second[0])))
    found = collect(several, resamples=50)
    assert found.ranked[0].provenance.others["seeds"] == 2
    assert found.degraded == {}
    shutil.copytree(
        next(worse_than(out, first[0])), second[0].evaluation(out).with_name("evaluation-test-bandgain-1.1")
    )
    (degraded,) = collect(several, resamples=50).degraded["U-Net"].values()
    assert degraded.provenance.others["seeds"] == 2


def test_scores_of_own_rows_are_kept_for_what_they_were_made_of(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    masks = tmp_path / "masks"
    masks.mkdir()
    for filled in (0, 1):
        for record in study.data.dataset.records:
            labels = np.full_like(study.data.mask(record.slice_id), filled)
            mask = Mask(labels, Geometry((labels.shape[0], labels.shape[1])))
            write_mask(masks / f"{record.slice_id}.png", mask, study.data.dataset.labels)
        own = external_evaluations(with_masks(study, out, "mine", masks))
        assert not own.refused
        for row in (*own.patient, *own.reproduction):
            assert (row.evaluation.metrics["dice"].value > 0) == bool(filled)
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("own/*/*/source.json")]
    assert {note["predictions"] for note in notes} == {"../masks"}  # no folder of a machine


def test_a_run_of_ones_own_is_a_row_where_it_has_not_seen_the_test_part_and_nowhere_else(
    study: Study, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    runs = {job.protocol: job.folder(out) for job in study.jobs if job.system.name == "unet" and job.fold == 0}
    settings = dataclasses.replace(
        SETTINGS, runs=(("mine by slice", (str(runs["reproduction"]),)), ("mine by patient", (str(runs["patient"]),)))
    )
    own = external_evaluations(dataclasses.replace(study, out=out, settings=settings))
    assert [(row.evaluation.name, row.evaluation.leaking, row.run) for row in own.reproduction] == [
        ("mine by slice", True, runs["reproduction"])
    ]
    assert not Path(own.reproduction[0].evaluation.provenance.run).is_absolute()  # no folder of a machine on the page
    assert own.patient == ()  # one run is of one fold, and there are two
    assert [name for name, _ in own.refused] == ["mine by patient", "mine by patient"]
    assert "may be tested on fold 1" in own.refused[0][1]
    assert "may be tested on the split as in the paper" in own.refused[1][1]


def test_no_network_is_built_of_a_run_of_ones_own_that_may_not_be_tested(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: object, **__: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr("segmed.study.external_rows.load", built)
    run = next(job.folder(study.out) for job in study.jobs if job.row == "unet" and job.fold == 1)
    settings = dataclasses.replace(SETTINGS, runs=(("mine", (str(run),)),))
    own = external_evaluations(dataclasses.replace(study, out=tmp_path / "study", settings=settings))
    assert len(own.refused) == 2


def test_a_run_of_ones_own_stands_in_the_papers_table_with_its_losses(study: Study, page: str, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    run = next(job.folder(out) for job in study.jobs if job.row == "unet--our-settings")
    settings = dataclasses.replace(SETTINGS, runs=(("U-Net, our settings", (str(run),)),))
    write_page(shown(dataclasses.replace(study, out=out, settings=settings), pictures=False), resamples=50)
    rows = list(csv.DictReader((out / "tables" / "reproduction.csv").read_text().splitlines()))
    ours, own = (next(row for row in rows if row["system"] == f"U-Net, our settings{end}") for end in ("", " (own)"))
    same = {key for key in ours if ours[key] == own[key]}
    assert {key for key in ours if key not in same} == {"system", "paper_iou"}
    assert not own["paper_iou"]
    assert own["validation_loss"]


def test_masks_that_lack_a_slice_are_told_though_they_are_a_row_of_the_other_protocol(
    study: Study, tmp_path: Path
) -> None:
    out, masks = Path(shutil.copytree(study.out, tmp_path / "study")), tmp_path / "masks"
    tested = study.splits["reproduction"].folds[0].test
    write_references(study, masks)
    next(path for path in sorted(masks.iterdir()) if path.stem not in tested).unlink()
    own = external_evaluations(with_masks(study, out, "mine", masks))
    assert [row.evaluation.name for row in own.reproduction] == ["mine"]
    assert [(name, "no prediction" in reason) for name, reason in own.refused] == [("mine", True)]


def test_rows_of_ones_own_are_marked_where_nothing_tells_how_they_were_made(study: Study, tmp_path: Path) -> None:
    out, masks = Path(shutil.copytree(study.out, tmp_path / "study")), tmp_path / "masks"
    write_references(study, masks)
    text = write_page(with_masks(study, out, "predict nothing", masks), resamples=50).read_text()
    assert "Of predict nothing (own) there are only masks" in text


@pytest.mark.parametrize("own", [{"runs": (("mine", ("nowhere",)),)}, {"predictions": (("mine", "nowhere"),)}])
def test_rows_of_ones_own_that_are_not_there_are_told_before_anything_is_trained(
    study: Study, tmp_path: Path, own: dict[str, tuple[tuple[str, object], ...]]
) -> None:
    with pytest.raises(ConfigError, match=r"mine: .*nowhere"):
        run_study(study.data, dataclasses.replace(SETTINGS, **own), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_institutions_and_floors_that_are_not_scored_yet_are_told(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    (out / (study.floors("patient", 1) / "done").relative_to(study.out)).unlink()
    splits = {**study.splits, "institution": split_by_institution(study.data)}
    more = StudySettings(protocol="both", budget="cpu", systems=("unet",))
    jobs = (*study.jobs, *(job for job in make_jobs(more, splits, 3) if job.protocol == "institution"))
    found = collect(dataclasses.replace(study, out=out, splits=splits, jobs=jobs), resamples=50)
    told = {row.title: row.reason for row in found.absent}
    assert told["U-Net, institutions held out"].startswith("not finished: 0 of")
    assert told["Floors, by patient"] == "not scored yet; --resume does it"
    assert "Floors, as in the paper" not in told


def test_seeds_may_be_added_to_a_study(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(running, "run_job", lambda study, job, **_: asked.append((job.row, job.seed)))
    more = dataclasses.replace(SETTINGS, protocol="patient", systems=("unet",), seeds=2)
    run_study(study.data, more, out, resume=True, measure=False)
    assert set(asked) == {("unet", 1)}
    assert load_settings(out).seeds == 2


def test_what_is_trained_once_costs_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        seconds, epochs, device = 10.0, 1, "CPU"

    asked: list[str] = []
    monkeypatch.setattr(running, "is_finished", lambda _: False)
    monkeypatch.setattr(running, "estimate", lambda recipe, **_: asked.append(recipe.model.name) or Found())
    total = running.tell_cost(study, study.jobs, Quiet(), CPU)
    trainings = {job.folder(study.out) for job in study.jobs}
    assert total == 10 * len(trainings) < 10 * len(study.jobs)
    assert asked.count("sam-tiny") == 1


def test_the_page_has_a_table_of_every_label_where_there_are_several(
    study: Study, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Table of scores by label" not in page
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    main = study_page._main

    def of_two_labels(results: Results) -> Comparison:
        one = main(results)
        return compare([_of_two_labels(each) for each in (*one.systems, *one.floors)])

    monkeypatch.setattr(study_page, "_main", of_two_labels)
    text = write_page(shown(dataclasses.replace(study, out=out), pictures=False), resamples=50).read_text()
    assert "Table of scores by label" in text
    for label in ("core", "oedema"):
        assert f">{label}</th>" in text


def _of_two_labels(evaluation: Evaluation) -> Evaluation:
    """An evaluation whose two labels have the scores of its one."""
    labels = ("core", "oedema")
    patients = tuple(dataclasses.replace(row, label=label) for label in labels for row in evaluation.patients)
    return dataclasses.replace(evaluation, patients=patients, by_label=dict.fromkeys(labels, evaluation.metrics))


def test_an_anonymised_study_names_no_patient_and_no_folder(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    patients = study.data.dataset.patients
    several = dataclasses.replace(study, out=out)
    several.failures[study.jobs[0].evaluation(out)] = f"{tmp_path / 'run'}: {patients[0]} is broken"
    text = write_page(shown(several, anonymise=True), resamples=50).read_text()
    assert "is broken" in text
    for file in (text, *(path.read_text() for path in (out / "tables").iterdir())):
        assert not [name for name in (*patients, str(tmp_path)) if name in file]


def test_systems_given_boxes_stand_apart_under_the_paper_too(
    data: DecodedDataset, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(SYSTEMS["sam-reproduction"], recipe="sam-tiny")
    monkeypatch.setitem(SYSTEMS, "sam-reproduction", small)
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    now = dataclasses.replace(SETTINGS, protocol="reproduction", systems=("sam-reproduction",))
    again = run_study(data, now, out, resume=True, hardware=CPU, measure=False, resamples=50)
    text = write_page(shown(again, pictures=False), resamples=50).read_text()
    given = {
        row["system"]: row["given"]
        for row in csv.DictReader((out / "tables" / "reproduction.csv").read_text().splitlines())
        if row["given"] or row["system"] != "predict nothing"
    }
    assert given["U-Net, logits"] == given["neighbour interpolation"] == ""
    assert given[f"{small.title}, logits"] == given["inscribed ellipse (jitter:20)"] == "ORACLE"
    section = text[text.index('<section id="reproduction"') :]
    alone, told = section[: section.index("ORACLE")], section[section.index("ORACLE") :]
    assert small.title not in alone
    assert told.index(small.title) < told.index("inscribed ellipse (jitter:20)")


def test_a_study_is_not_begun_where_a_file_is(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file: is a file"):
        run_study(study.data, SETTINGS, tmp_path / "file", measure=False)


def test_another_study_is_not_continued_in_the_folder(study: Study) -> None:
    with pytest.raises(ConfigError, match="already holds a study"):
        run_study(study.data, SETTINGS, study.out)
    other = StudySettings(protocol="both", budget="smoke", systems=("unet",), folds=3)
    with pytest.raises(ConfigError, match="begun with another folds, changes"):
        run_study(study.data, other, study.out, resume=True)
    unknown = dataclasses.replace(SETTINGS, groups="sex")
    with pytest.raises(DataError, match="Nothing that is scored has a value of 'sex'"):
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
    with pytest.raises(ValueError, match=r"No row of the study is whole yet \(U-Net, by patient: out of luck;"):
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
    with running.exclusive_lock(first.folder(tmp_path / "s")):
        found = run_study(data, settings, tmp_path / "s", resume=True, measure=False)
    assert asked == [second.folder(found.out)]
    assert not found.failures


def test_a_row_whose_finished_folds_are_of_other_settings_is_not_gone_on_with(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    job = next(job for job in study.jobs if job.protocol == "patient" and job.row == "unet")
    recipe = job.folder(out) / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("learning_rate: 0.003", "learning_rate: 0.002"))
    assert recipe.read_text() != text
    more = dataclasses.replace(SETTINGS, protocol="patient", systems=("unet",), seeds=2)
    with pytest.raises(ConfigError, match=r"fold-0: was trained with other settings .* remove this run"):
        run_study(study.data, more, out, resume=True, measure=False)


def test_a_study_of_rows_given_boxes_alone_has_a_page_that_says_oracle(
    data: DecodedDataset, study: Study, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    names = ("sam-tiny-boxes", "sam-tiny-boxes-20")
    settings = dataclasses.replace(study.settings, protocol="patient", systems=names, pictures=False)
    alone = dataclasses.replace(study, out=out, settings=settings, splits={"patient": study.splits["patient"]},
                                jobs=tuple(job for job in study.jobs if job.row in names))  # fmt: skip
    text = write_page(alone, resamples=50).read_text()
    assert "ORACLE: The prompts (gt) were made from the reference" in text
    section = text[text.index('<section id="boxes"') :]
    section = section[: section.index("</section>")]
    assert all(SYSTEMS[name].title in section for name in names)
    assert "inscribed ellipse" in section


def test_floors_of_boxes_are_those_of_a_whole_seed(study: Study, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    again = dataclasses.replace(study, out=out)
    first = next(job for job in again.jobs if job.row == "sam-tiny-boxes" and job.protocol == "patient")
    shutil.rmtree(first.evaluation(out).parent)
    results = collect(again, resamples=50)
    assert [each.name for each in results.given_boxes] == [SYSTEMS["sam-tiny-boxes-20"].title]
    assert any("inscribed ellipse" in floor.name for floor in results.box_floors)


def test_the_page_has_rows_that_another_process_added_meanwhile(
    data: DecodedDataset, study: Study, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study.out, tmp_path / "study"))
    mine = dataclasses.replace(study, out=out)
    more = dataclasses.replace(SETTINGS, protocol="patient", systems=("pan",))
    run_study(data, more, out, resume=True, part="1/9", hardware=CPU, measure=False, resamples=50)
    assert "pan" not in {job.row for job in mine.jobs}
    assert "pan" in {job.row for job in as_it_stands(mine).jobs}
