"""The pieces of a study: jobs and their recipes, pooled folds and seeds, IoU variants that fit, tables as files."""

import dataclasses
import json
import math
from copy import copy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import report_samples as samples
from PIL import Image

from segmed.core.errors import ConfigError, DataError, SplitError
from segmed.core.files import write_json
from segmed.core.records import Record
from segmed.core.split import Split
from segmed.core.volume import Grid
from segmed.data.augment import PRESETS
from segmed.data.decoded import decode
from segmed.data.degrade import parse_degradations
from segmed.data.sources import open_dataset
from segmed.data.splits import split_by_institution, split_by_patient, split_by_slice
from segmed.evaluation.report.numbers import MISSING
from segmed.evaluation.report.patients import slice_dice
from segmed.evaluation.report.tables import Cell
from segmed.evaluation.result import Cost
from segmed.evaluation.rows import BoxRow
from segmed.models.checkpoint import found_from, relative_to
from segmed.models.families import FAMILIES
from segmed.study.budgets import BUDGETS
from segmed.study.external_rows import _digest_of_run
from segmed.study.jobs import Protocol, jobs_of_part, make_jobs, part_of
from segmed.study.page import contamination_notes
from segmed.study.pool import mean_dice, nest_seeds, pool_costs, pool_folds
from segmed.study.results import Results
from segmed.study.settings import StudySettings, load_settings, save_settings, settled
from segmed.study.subgroups import SEQUENCES, THIRDS, TUMOUR, subgroup_attributes
from segmed.study.systems import SYSTEMS, chosen_systems
from segmed.study.tables import Table, institution_table, latex, seed_table
from toydata import toy


def renamed(evaluation, prefix: str):
    patients = tuple(dataclasses.replace(row, patient=prefix + row.patient) for row in evaluation.patients)
    slices = tuple(
        dataclasses.replace(row, patient=prefix + row.patient, slice_id=prefix + row.slice_id)
        for row in evaluation.slices
    )
    predictions = {prefix + slice_id: mask for slice_id, mask in evaluation.predictions.items()}
    return dataclasses.replace(evaluation, patients=patients, slices=slices, predictions=predictions)


def test_the_recipes_of_the_paper_have_its_epochs_losses_and_augmentation(tmp_path: Path) -> None:
    data = toy(tmp_path)
    settings = StudySettings(protocol="both", budget="full", systems=("unet", "unet-25d"), seeds=2)
    splits = {"reproduction": split_by_slice(data), "patient": split_by_patient(data, folds=3)}
    jobs = make_jobs(settings, splits, channels=3)
    paper = [job for job in jobs if job.protocol == "reproduction"]
    assert [(job.row, job.recipe.loss.name) for job in paper] == [
        ("unet--double-sigmoid", "double-sigmoid"), ("unet--logits", "dice-bce"),
        ("unet--our-settings", "dice-bce"), ("unet-25d--logits", "dice-bce"),
    ]  # fmt: skip
    recipes = [job.recipe for job in (*paper[:2], paper[3])]
    assert {(each.epochs, each.sampling.positive_share) for each in recipes} == {(7, None)}
    assert all(each.augment == PRESETS["reproduction"] for each in recipes)
    patient = [job for job in jobs if job.protocol == "patient"]
    assert paper[2].recipe == patient[0].recipe  # on the paper's split
    assert len(patient) == 2 * 3 * 2
    assert patient[-1].recipe.model.channels == 9
    assert len({job.folder(tmp_path) for job in jobs}) == len(jobs)
    parts = [part_of(jobs, f"{number}/3") for number in (1, 2, 3)]
    assert sorted(map(jobs.index, sum(parts, ()))) == list(range(len(jobs)))


@pytest.mark.parametrize("budget", BUDGETS)
def test_images_made_worse_differ_in_what_the_networks_of_a_budget_see(tmp_path: Path, budget: str) -> None:
    settings = StudySettings(protocol="patient", budget=budget)
    jobs = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=3)
    sizes = {job.recipe.preprocess.size for job in jobs if job.system.name in settings.plan.degraded}
    chosen = parse_degradations(settings.plan.degradations)
    kept = [each.severity for each in chosen if each.kind == "lowpass"]
    assert any(each.kind == "bandgain" and each.severity > 0 for each in chosen)  # within what half the size shows
    assert all(256 * severity < (size or (256, 256))[0] for severity in kept for size in sizes)


def test_a_cascade_comes_after_the_row_that_proposes_to_it_asked_for_or_not() -> None:
    chosen = StudySettings(protocol="patient", budget="cpu", systems=("sam-tiny-cascade", "pan"))
    assert [row.name for row in chosen.rows] == ["unet", "pan", "sam-tiny-cascade"]


def test_the_row_that_proposes_to_a_cascade_is_trained_for_it_alone_where_nobody_asked_for_it(tmp_path: Path) -> None:
    split = split_by_patient(toy(tmp_path), folds=2)
    splits: dict[Protocol, Split] = dict.fromkeys(get_args(Protocol), split)
    for systems, everywhere in ((("sam-tiny-cascade",), False), (("unet", "sam-tiny-cascade"), True)):
        settings = StudySettings(protocol="both", budget="cpu", systems=systems)
        found = {job.protocol for job in make_jobs(settings, splits, channels=3) if job.system.name == "unet"}
        assert found == (set(splits) if everywhere else {"patient"})


def test_settings_may_be_of_one_row_alone(tmp_path: Path) -> None:
    changes = ("epochs=3", "pan:epochs=5", "unet:preprocess.channels=[2]")
    settings = StudySettings(protocol="patient", budget="cpu", systems=("unet", "pan", "unet-25d"), changes=changes)
    jobs = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=3)
    found = {job.row: (job.recipe.epochs, job.recipe.preprocess.channels, job.recipe.model.channels) for job in jobs}
    assert found == {"unet": (3, (2,), 1), "pan": (5, (0, 1, 2), 3), "unet-25d": (3, (0, 1, 2), 9)}
    with pytest.raises(ConfigError, match="Did you mean 'pan'"):
        StudySettings(protocol="patient", budget="cpu", changes=("pann:epochs=5",))
    with pytest.raises(ConfigError, match=r"sam-tiny-boxes tests the network of sam-tiny\. Write sam-tiny: instead"):
        StudySettings(protocol="patient", budget="cpu", changes=("sam-tiny-boxes:epochs=5",))


def test_on_a_cpu_every_network_begins_with_the_same_imagenet_weights_in_fp32_and_slim_decoders_where_there_are_widths(
    tmp_path: Path,
) -> None:
    names = ("deeplabv3plus", "unet", "unetplusplus", "deeplabv3", "pan", "unet-featup-gafl", "sam-tiny")
    settings = StudySettings(protocol="both", budget="cpu", systems=names)
    data = toy(tmp_path)
    splits = {"patient": split_by_patient(data, folds=2), "reproduction": split_by_patient(data, folds=2)}
    recipes = [job.recipe for job in make_jobs(settings, splits, channels=3)]  # type: ignore[arg-type]
    assert {recipe.precision for recipe in recipes} == {"32"}
    models = [recipe.model for recipe in recipes]
    assert {(model.encoder, model.encoder_weights) for model in models} == {("tu-tf_efficientnet_lite0", "imagenet")}
    assert {model.name for model in models if model.decoder_channels is not None} == {"unet", "unetplusplus"}


def test_a_row_that_is_given_another_architecture_has_the_decoder_of_that(tmp_path: Path) -> None:
    settings = StudySettings(
        protocol="patient",
        budget="cpu",
        systems=("unet", "pan"),
        changes=("unet:model.name=fpn", "pan:model.name=manet"),
    )
    jobs = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=3)
    found = {(job.recipe.model.name, job.recipe.model.decoder_channels) for job in jobs}
    assert found == {("fpn", None), ("manet", (128, 64, 32, 16, 16))}


def test_published_weights_read_three_channels_where_the_data_has_fewer(tmp_path: Path) -> None:
    settings = StudySettings(protocol="patient", budget="full", systems=("unet", "sam", "medsam"), folds=2, seeds=1)
    jobs = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=2)
    found = {job.row: job.recipe.preprocess.channels for job in jobs}
    assert found == {"unet": (0, 1), "sam": (0, 1, 0), "medsam": (0, 1, 0)}


@pytest.mark.parametrize("names", [("a", "a"), ("a b", "a_b"), ("..", "_..")])
def test_own_rows_that_would_share_a_folder_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="two rows have one name"):
        StudySettings(protocol="patient", budget="cpu", predictions=tuple((name, "masks") for name in names))


def test_ways_between_trees_name_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, out = tmp_path / "home" / "jane", tmp_path / "scratch" / "study"
    monkeypatch.setattr(Path, "home", lambda: home)
    rows = (("mine", (str(home / "runs" / "a"),)),)
    save_settings(out, StudySettings(protocol="patient", budget="cpu", runs=rows), "ab")
    assert "jane" not in (out / "study.json").read_text(encoding="utf-8")
    assert load_settings(out).runs == rows
    assert relative_to(home / "study", home / "runs") == "../runs"
    assert relative_to(home / "study", out) == "../../../scratch/study"
    assert relative_to(out, home) == "~"
    assert found_from(out, "~") == home


def test_settings_name_own_rows_from_the_folder_of_the_study_and_move_with_it(tmp_path: Path) -> None:
    out, masks = tmp_path / "a" / "study", tmp_path / "a" / "masks"
    settings = StudySettings(protocol="patient", budget="cpu", predictions=(("mine", str(masks)),))
    save_settings(out, settings, "ab")
    assert str(tmp_path) not in (out / "study.json").read_text(encoding="utf-8")
    assert load_settings(out).predictions == settings.predictions
    (tmp_path / "a").rename(tmp_path / "b")
    moved = load_settings(tmp_path / "b" / "study").predictions
    assert moved == (("mine", str(tmp_path / "b" / "masks")),)


def test_a_study_of_0_1_is_of_the_protocol_and_rows_that_have_other_names_now(tmp_path: Path) -> None:
    kept = {"protocol": "report", "budget": "full", "systems": ["unet", "sam-report"], "format": 1, "data_hash": "ab"}
    (tmp_path / "study.json").write_text(json.dumps(kept))
    read = load_settings(tmp_path)
    assert (read.protocol, read.systems) == ("reproduction", ("unet", "sam-reproduction"))


def test_the_dice_under_a_picture_is_of_the_seed_whose_mask_is_drawn() -> None:
    seeds = [samples.evaluation("a", dice) for dice in ((0.9, 0.5), (0.1, 0.3))]
    seeds[1] = dataclasses.replace(
        seeds[1], slices=tuple(dataclasses.replace(row, dice=0.25) for row in seeds[1].slices)
    )
    slice_id = seeds[0].slices[1].slice_id
    assert slice_dice(seeds[0], slice_id) != slice_dice(seeds[1], slice_id)
    assert slice_dice(nest_seeds(seeds, name="a", resamples=50), slice_id) == slice_dice(seeds[0], slice_id)


def test_a_run_that_is_tested_on_several_folds_was_trained_once() -> None:
    costs = [Cost(training_seconds=60.0), Cost(training_seconds=60.0), Cost(training_seconds=5.0)]
    assert pool_costs(costs).training_seconds == 125
    assert pool_costs(costs, runs=["a", "a", "b"]).training_seconds == 65
    assert pool_costs(costs, runs=[None, None, None]).training_seconds == 125
    known = Cost(training_cpu_seconds=7.0)
    assert pool_costs([known, known], runs=["a", "b"]).training_cpu_seconds == 14
    assert pool_costs([known, Cost()], runs=["a", "b"]).training_cpu_seconds is None


def test_a_patient_is_missed_where_at_least_half_of_the_seeds_missed_it() -> None:
    found, missed = samples.evaluation("a", (0.9, 0.5)), samples.evaluation("a", (0.9, 0.0))
    missed = dataclasses.replace(
        missed, patients=tuple(dataclasses.replace(row, missed=row.patient == "P1") for row in missed.patients)
    )
    nested = nest_seeds([found, missed], name="a", resamples=50)
    assert [row.missed for row in nested.patients] == [False, True]


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", f"1/{'9' * 5000}"])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match="expected I/N"):
        part_of([], part)


def test_the_page_says_of_which_patients_published_weights_may_know() -> None:
    said = FAMILIES["medsam"].contamination
    assert contamination_notes({SYSTEMS["medsam-featup"].title, SYSTEMS["unet"].title}) == [said]
    assert contamination_notes({SYSTEMS["sam"].title, SYSTEMS["unet"].title, "mine"}) == []


def test_systems_are_known_by_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'unet'"):
        chosen_systems(["unett"])


def test_the_parts_of_a_study_are_the_same_however_its_systems_are_named(tmp_path: Path) -> None:
    splits = {"patient": split_by_patient(toy(tmp_path), folds=3)}
    both = [
        make_jobs(StudySettings(protocol="patient", budget="cpu", systems=systems), splits, channels=3)
        for systems in (("unet", "deeplabv3plus"), ("deeplabv3plus", "unet"))
    ]
    assert both[0] == both[1]


def test_what_nobody_asked_for_of_a_budget_is_known() -> None:
    settings = StudySettings(protocol="both", budget="smoke", systems=("unet", "pan"))
    assert [row.name for row in settings.not_asked] == ["deeplabv3plus"]


def test_all_rows_of_a_study_see_slices_along_its_plane(tmp_path: Path) -> None:
    settings = StudySettings(protocol="patient", budget="cpu", systems=("unet", "pan"), plane="coronal")
    jobs = make_jobs(settings, {"patient": split_by_patient(toy(tmp_path), folds=2)}, channels=3)
    assert {job.recipe.preprocess.plane for job in jobs} == {"coronal"}
    assert "--plane coronal" in settings.command(tmp_path, tmp_path / "out")
    for change in ("preprocess.plane=axial", "unet:preprocess.plane=axial"):
        with pytest.raises(ConfigError, match=r"all rows see the same slices\. Say --plane"):
            StudySettings(protocol="patient", budget="cpu", changes=(change,))


def test_a_study_knows_the_command_that_begins_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = StudySettings(
        protocol="patient", budget="cpu", systems=("unet", "pan"), folds=3, changes=("unet:epochs=2",),
        groups="sex,age:40:60", runs=(("mean of two", (str(tmp_path / "a"), "/far/b")),),
        anonymise=True, pictures=False,
    )  # fmt: skip
    assert settings.command(tmp_path / "my data", Path("/far/out")) == (
        "segmed study 'my data' --out out --protocol patient --budget cpu --systems unet,pan --folds 3 --seeds 1 "
        "--set unet:epochs=2 --groups sex,age:40:60 --run 'mean of two=a,b' --no-pictures --anonymise"
    )


def test_rows_that_share_a_training_are_in_one_part_and_have_one_recipe(tmp_path: Path) -> None:
    data = toy(tmp_path)
    settings = StudySettings(protocol="patient", budget="cpu", systems=("unet", "sam-tiny", "sam-tiny-boxes"))
    jobs = make_jobs(settings, {"patient": split_by_patient(data, folds=2)}, channels=3)
    for number in (1, 2):
        mine = [job for job in jobs_of_part(jobs, f"{number}/2") if job.system.recipe or job.system.trained_as]
        assert len(mine) == 2
        assert mine[0].folder(tmp_path) == mine[1].folder(tmp_path)
        assert mine[0].evaluation(tmp_path) != mine[1].evaluation(tmp_path)
        assert mine[0].recipe == mine[1].recipe


def test_folds_are_pooled_over_patients_and_none_is_in_two() -> None:
    one, two = samples.evaluation("a", (0.9, 0.5)), renamed(samples.evaluation("a", (0.1,)), "Q")
    pooled = pool_folds([one, two], name="all", resamples=100)
    assert pooled.metrics["dice"].value == pytest.approx(0.5)
    assert len(pooled.predictions) == 9
    assert pooled.calibration is not None
    assert pooled.calibration.counts == (100, 140)
    with pytest.raises(DataError, match="patient P0 is tested in two folds"):
        pool_folds([one, one], name="all")


@pytest.mark.parametrize("mark", [{"leaking": True}, {"patients_known": False}, {"training_known": False}])
def test_what_marks_one_fold_or_seed_marks_the_row(mark: dict[str, bool]) -> None:
    one, two = samples.evaluation("a", (0.8, 0.6)), samples.evaluation("a", (0.4, 0.5))
    (name, value), two = next(iter(mark.items())), dataclasses.replace(two, **mark)
    assert getattr(nest_seeds([one, two], name="all", resamples=100), name) is value
    assert getattr(pool_folds([one, renamed(two, "Q")], name="all", resamples=100), name) is value


def test_seeds_are_nested_in_patients() -> None:
    seeds = [samples.evaluation("a", dice) for dice in ((0.9, 0.5), (0.7, 0.3), (0.8, math.nan))]
    nested = nest_seeds(seeds, name="a", resamples=100)
    assert nested.by_patient("dice") == pytest.approx({"P0": 0.8, "P1": 0.4})
    assert nested.metrics["dice"].value == pytest.approx(0.6)
    assert len(nested.patients) == 2
    assert seed_table([nested]).rows[0][1][0] == Cell("0.700")
    assert mean_dice(seeds[0]) == pytest.approx(0.7)
    other = renamed(seeds[0], "Q")
    with pytest.raises(DataError, match="different patients"):
        nest_seeds([seeds[0], other], name="a")


def test_errors_of_volume_of_two_seeds_do_not_cancel_out() -> None:
    one = samples.evaluation("a", (0.9, 0.5))
    seeds = [
        dataclasses.replace(
            one,
            patients=tuple(
                dataclasses.replace(row, scores={**row.scores, "volume_error": error, "volume_error_abs": abs(error)})
                for row in one.patients
            ),
        )
        for error in (-0.6, 0.6)
    ]
    metrics = nest_seeds(seeds, name="a", resamples=50).metrics
    assert metrics["volume_bias"].value == 0
    assert metrics["volume_error"].value == pytest.approx(0.6)


def test_an_institution_of_one_patient_has_no_score_of_networks_that_saw_the_institution() -> None:
    pooled = samples.evaluation("U-Net", (0.9, 0.5))
    alone = dataclasses.replace(pooled, patients=tuple(row for row in pooled.patients if row.patient == "P0"))
    nothing: dict[str, Any] = {field.name: () for field in dataclasses.fields(Results)}
    held_out = (("U-Net", "A", alone), ("U-Net", "B", pooled))
    results = Results(**{**nothing, "degraded": {}, "runs": {}, "ranked": (pooled,), "institutions": held_out})
    cells = dict(institution_table(results).rows)
    assert cells["U-Net: A"][2] == Cell(MISSING)
    assert cells["U-Net: B"][2].value == "0.700"


def test_boxes_of_all_seeds_are_kept_for_the_curve_of_their_quality() -> None:
    boxes = tuple(BoxRow("P0_1", "P0", 1, 0.8, iou, 0.7, 0.6, 0.7) for iou in (0.2, 0.9))
    seeds = [dataclasses.replace(samples.evaluation("a", (0.9, 0.5)), boxes=(box,)) for box in boxes]
    assert nest_seeds(seeds, name="a", resamples=50).boxes == boxes


def test_grey_images_stored_as_rgb_are_a_missing_sequence_of_lgg_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    grey = np.repeat(np.arange(48, dtype=np.uint8).reshape(6, 8, 1), 3, axis=2)
    for patient, image in (("P0", grey), ("P1", grey * np.uint8([1, 2, 3]))):
        Image.fromarray(image).save(tmp_path / "images" / f"{patient}.png")
    other = open_dataset(tmp_path)
    evaluation = samples.evaluation("a", (0.5, 0.5))
    found = {}
    for dataset in (other, dataclasses.replace(other, name="lgg")):
        data = decode(dataset, cache_dir=tmp_path)
        facts = subgroup_attributes(data, evaluation, tmp_path / "facts.json")
        found[dataset.name] = {patient: facts[patient].get(SEQUENCES) for patient in ("P0", "P1")}
    assert found == {other.name: {"P0": None, "P1": None}, "lgg": {"P0": "one missing", "P1": "complete"}}


def test_thirds_of_tumour_volume_are_of_millimetres_where_spacings_are_known(tmp_path: Path) -> None:
    evaluation = samples.evaluation("a", (0.5, 0.5, 0.5))  # of as many pixels each
    data = copy(toy(tmp_path))
    records = [Record(row.slice_id, row.patient, row.slice, tmp_path, tmp_path) for row in evaluation.slices]
    data.dataset = dataclasses.replace(data.dataset, name="other", records=tuple(records), attributes={})
    found = subgroup_attributes(data, evaluation, tmp_path / "facts.json")
    assert {patient: facts[TUMOUR] for patient, facts in found.items()} == dict.fromkeys(("P0", "P1", "P2"), THIRDS[0])
    data._grids = {f"P{number}": Grid((3, *samples.SHAPE), None, (3.0 - number, 1.0, 1.0)) for number in range(3)}
    found = subgroup_attributes(data, evaluation, tmp_path / "facts.json")
    assert [found[patient][TUMOUR] for patient in ("P2", "P1", "P0")] == list(THIRDS)


def test_each_institution_is_tested_once_by_networks_that_never_saw_it(tmp_path: Path) -> None:
    data = toy(tmp_path, patients=8)
    split = split_by_institution(data)
    assert len(split.folds) == 2
    for fold in split.folds:
        tested = {split.patient_of[slice_id].split("_")[1] for slice_id in fold.test}
        others = {split.patient_of[slice_id].split("_")[1] for slice_id in (*fold.train, *fold.validation)}
        assert len(tested) == 1
        assert not tested & others
    bare = dataclasses.replace(data.dataset, attributes={})
    data.dataset = bare
    with pytest.raises(SplitError, match="Not every patient has an institution"):
        split_by_institution(data)


def test_latex_has_a_row_per_system_and_nothing_special_unescaped() -> None:
    text = latex(Table(("Dice_1",), (("a & b", (Cell("−0.5", "[0.1, 0.2]"),)),), (("copy", (Cell("–"),)),)))
    assert r"a \& b & $-$0.5 {\scriptsize [0.1, 0.2]} \\" in text
    assert r"System & Dice\_1 \\" in text
    assert r"copy (floor) & -- \\" in text


def test_a_row_of_ones_own_needs_a_name_and_a_folder() -> None:
    from segmed.cli.study import _named

    assert _named("mine=a,b") == ("mine", "a,b")
    with pytest.raises(ConfigError, match="expected NAME=FOLDER"):
        _named("masks")
    with pytest.raises(ConfigError, match="two rows have one name"):
        StudySettings(protocol="patient", budget="cpu", runs=(("a", ("r",)),), predictions=(("a", "p"),))


def test_the_network_that_a_cascade_starts_from_is_not_asked_for_by_going_on(tmp_path: Path) -> None:
    settings = StudySettings(protocol="both", budget="cpu", systems=("sam-tiny-cascade",))
    save_settings(tmp_path, settings, "hash")
    again = settled(tmp_path, settings, "hash", resume=True)
    assert [system.name for system in again.asked] == ["sam-tiny-cascade"]
    assert [system.name for system in again.rows] == ["unet", "sam-tiny-cascade"]


def test_a_cascade_of_ones_own_is_scored_again_after_its_dense_run_was_tuned(tmp_path: Path) -> None:
    for run in ("dense", "sam"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "model.safetensors").touch()
        (tmp_path / run / "config.json").write_text("{}")
    places = {"dense": {"folder": "../dense", "weights": "a"}, "promptable": {"folder": "../sam", "weights": "b"}}
    write_json(tmp_path / "cascade" / "cascade.json", {"format": 1, "settings": {}, **places})
    before = _digest_of_run(tmp_path / "cascade")
    assert before == _digest_of_run(tmp_path / "cascade")
    (tmp_path / "dense" / "config.json").write_text('{"threshold": 0.3}')
    assert before != _digest_of_run(tmp_path / "cascade")


@pytest.mark.parametrize("change", ["seed=5", "unet:seed=5"])
def test_a_seed_is_no_setting_as_every_row_has_those_of_the_study(change: str) -> None:
    with pytest.raises(ConfigError, match="Say how many with --seeds"):
        StudySettings(protocol="patient", budget="cpu", changes=(change,))


def test_a_setting_of_a_row_that_the_study_has_not_is_refused(tmp_path: Path) -> None:
    settings = StudySettings(protocol="patient", budget="cpu", systems=("unet",), changes=("pan:epochs=9",))
    with pytest.raises(ConfigError, match=r"the study has no row pan\. Add it with --systems"):
        settled(tmp_path / "study", settings, "hash", resume=False)


def test_files_in_settings_lead_from_the_studys_folder_and_name_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "jane_doe"
    weights = home / "weights" / "enc.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    monkeypatch.setenv("HOME", str(home))
    out = tmp_path / "study"
    out.mkdir()
    changes = (f"unet:model.encoder_weights={weights}", "epochs=3")
    settings = StudySettings(protocol="patient", budget="cpu", systems=("unet",), changes=changes)
    save_settings(out, settings, "hash")
    assert "jane_doe" not in (out / "study.json").read_text()
    assert load_settings(out).changes == changes
    assert settled(out, settings, "hash", resume=True).changes == changes
    assert "jane_doe" not in settings.command(tmp_path / "data", out)
    assert "enc.safetensors" in settings.command(tmp_path / "data", out)
