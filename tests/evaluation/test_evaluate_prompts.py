"""A promptable run under several kinds of prompts, beside floors that see the same boxes and not the image."""

import copy
import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import SIZE, by_patient, decoded_of, kaggle_folder

from prompted_runs import run_config, tiny_promptable
from segmed.core.errors import ConfigError, DataError
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.box_floors import box_floor_evaluations
from segmed.evaluation.prompt_protocols import PromptProtocol, parse_prompt_protocols
from segmed.evaluation.prompted import evaluate_prompts
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.quality import quality_csv, quality_curves
from segmed.evaluation.result import Evaluation
from segmed.evaluation.rows import BoxRow
from segmed.evaluation.run import Plan, evaluate_run
from segmed.inference.automatic_prompts import Automatic, EncodedVolume
from segmed.inference.prompted import Answer, PromptedPredictor
from segmed.inference.uncertainty import averaged, decode_jittered, jittered
from segmed.models.checkpoint import TrainedModel
from segmed.prompts.kinds import PromptKind
from segmed.prompts.value import Prompts

KINDS = "gt,jitter:4,none"
QUICK = {"resamples": 100}
SQUARE = 12


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return decoded_of(kaggle_folder(tmp_path_factory.mktemp("tiny") / "kaggle_3m"))


@pytest.fixture(scope="module")
def plan(decoded: DecodedDataset) -> Plan:
    return Plan(by_patient(decoded, train="a", validation="b", test="cd"), 0, "test", leaking=False)


@pytest.fixture(scope="module")
def predictor(decoded: DecodedDataset) -> PromptedPredictor:
    trained = TrainedModel(tiny_promptable(), run_config(data_hash=decoded.data_hash), Path("run"))
    return PromptedPredictor(trained, device="cpu")


@pytest.fixture(scope="module")
def results(predictor: PromptedPredictor, decoded: DecodedDataset, plan: Plan) -> dict[str, Evaluation]:
    protocols = parse_prompt_protocols(KINDS, uncertainty=3)
    found = evaluate_prompts(predictor, decoded, plan, protocols, name="tiny", **QUICK)
    return {str(result.prompts): result for result in found}


def test_every_kind_gets_an_evaluation_and_those_from_the_reference_are_oracles(results) -> None:
    assert {kind: result.oracle for kind, result in results.items()} == {
        "gt": True, "gt x3": True, "jitter:4": True, "jitter:4 x3": True, "none": False,
    }  # fmt: skip
    assert results["jitter:4"].name == "tiny (jitter:4)"


def test_prompts_from_the_reference_say_nothing_about_slices_without_tumour(results) -> None:
    empty = [row for row in results["gt"].slices if row.reference_px == 0]
    assert len(empty) == 4
    assert all(row.predicted_px == 0 for row in empty)
    assert results["gt"].metrics["specificity_empty_slices"].value == 1


def test_without_prompts_a_run_is_scored_as_every_model_is(results, predictor, decoded, plan) -> None:
    usual = evaluate_run(predictor, decoded, plan, name="tiny", **QUICK)
    assert results["none"].slices == usual.slices
    assert not results["none"].boxes


def test_small_components_are_removed_where_nothing_was_asked_for_and_only_there(predictor, decoded, plan) -> None:
    tuned = copy.copy(predictor)
    chosen = dataclasses.replace(predictor.config.prediction, smallest_in_slice=10_000)
    tuned.config = dataclasses.replace(predictor.config, prediction=chosen)
    asked, alone = evaluate_prompts(tuned, decoded, plan, parse_prompt_protocols("gt,none"), name="tiny", **QUICK)
    assert alone.slices == evaluate_run(tuned, decoded, plan, name="tiny", **QUICK).slices
    assert sum(row.predicted_px for row in alone.slices) == 0
    assert alone.provenance.prediction.smallest_in_slice == 10_000
    assert sum(row.predicted_px for row in asked.slices) > 0
    assert asked.provenance.prediction.smallest_in_slice == 0


def test_every_slice_is_encoded_once_for_all_kinds(predictor, decoded, plan, monkeypatch) -> None:
    seen: list[int] = []
    encode = predictor.model.encode
    monkeypatch.setattr(predictor.model, "encode", lambda image: [seen.append(len(image)), encode(image)][1])
    evaluate_prompts(predictor, decoded, plan, parse_prompt_protocols(KINDS), name="tiny", **QUICK)
    assert sum(seen) == 8


def test_a_box_row_says_how_good_the_box_was_and_what_floors_make_of_it(results) -> None:
    rows = results["gt"].boxes
    assert [row.slice_id for row in rows] == ["c_2", "c_3", "d_2", "d_3"]
    grid = np.arange(SQUARE) + 0.5 - SQUARE / 2
    disc = (grid[:, None] ** 2 + grid**2 <= (SQUARE / 2) ** 2).mean()
    assert all((row.box_iou, row.filled_iou) == (1, 1) for row in rows)
    assert all(row.ellipse_iou == pytest.approx(disc) for row in rows)
    loose = results["jitter:4"].boxes
    assert all(row.box_iou < 1 for row in loose)
    assert [row.filled_iou for row in loose] == pytest.approx([row.box_iou for row in loose])


def test_a_box_row_holds_the_models_own_iou(results) -> None:
    slices = {row.slice_id: row.iou for row in results["jitter:4"].slices}
    for row in results["jitter:4"].boxes:
        assert row.mask_iou == pytest.approx(slices[row.slice_id], abs=0.05)  # merging before resizing moves few pixels


def test_evaluations_survive_the_disk_and_those_of_before_are_automatic(results, tmp_path) -> None:
    results["jitter:4"].save(tmp_path)
    again = Evaluation.load(tmp_path)
    assert (again.prompts, again.oracle, again.boxes) == (PromptKind("jitter:4"), True, results["jitter:4"].boxes)
    facts = json.loads((tmp_path / "evaluation.json").read_text())
    del facts["prompts"], facts["oracle"]
    (tmp_path / "evaluation.json").write_text(json.dumps(facts))
    (tmp_path / "boxes.csv").unlink()
    before = Evaluation.load(tmp_path)
    assert (before.prompts, before.oracle, before.boxes) == (None, False, ())


def floors(decoded: DecodedDataset, plan: Plan, kind: str) -> dict[str, Evaluation]:
    found = box_floor_evaluations(decoded, plan, parse_prompt_protocols(kind)[0], **QUICK)
    return {floor.name.partition(" (")[0]: floor for floor in found}


def test_floors_under_the_exact_box_of_a_square_have_known_scores(decoded, plan) -> None:
    found = floors(decoded, plan, "gt")
    assert all(floor.oracle for floor in found.values())
    assert found["filled box"].metrics["dice"].value == 1
    assert found["whole image"].metrics["iou_positive_slices"].value == pytest.approx(SQUARE**2 / (SIZE[0] * SIZE[1]))
    previous = {row.slice_id: row.iou for row in found["previous slice's mask"].slices}
    assert previous["c_2"] == 0  # the tumour begins here
    assert previous["c_3"] == 1
    assert np.isnan(previous["c_4"])  # nobody asks about a slice without tumour


def test_floors_fill_the_very_boxes_that_the_model_was_given(decoded, plan, results) -> None:
    filled = {row.slice_id: row.iou for row in floors(decoded, plan, "jitter:4")["filled box"].slices}
    assert all(row.filled_iou == pytest.approx(filled[row.slice_id]) for row in results["jitter:4"].boxes)


def test_points_have_no_boxes_to_fill(decoded, plan) -> None:
    assert list(floors(decoded, plan, "points")) == ["previous slice's mask", "whole image"]


def test_names_that_are_unknown_or_need_more_are_refused() -> None:
    with pytest.raises(ConfigError, match="'cascade' need a folder made by"):
        parse_prompt_protocols("gt,cascade")
    with pytest.raises(ConfigError, match="Did you mean 'jitter'"):
        parse_prompt_protocols("jiter:5")


@pytest.mark.parametrize("kinds", ["points", "none", "propagate"])
def test_uncertainty_is_refused_where_no_kind_has_a_box_on_each_slice_to_move(kinds: str) -> None:
    with pytest.raises(ConfigError, match=f"--uncertainty moves boxes .* prompts {kinds} draw none"):
        parse_prompt_protocols(kinds, uncertainty=4)
    assert len(parse_prompt_protocols(f"{kinds},gt", uncertainty=4)) == 3
    with pytest.raises(ConfigError, match="named twice"):
        parse_prompt_protocols("gt,none,gt")
    with pytest.raises(ConfigError, match="No prompts are named"):
        parse_prompt_protocols(" ,")
    with pytest.raises(ConfigError, match="'none' are not drawn"):
        parse_prompt_protocols("none")[0].prompted("a", np.zeros((3, 4), np.uint8))


def test_a_way_that_proposes_its_own_prompts_can_be_added(predictor, decoded, plan) -> None:
    def middle(predictor: PromptedPredictor, volume: EncodedVolume) -> list[Answer]:
        assert len(volume.slices.everything) == len(volume.slices.images) == 4
        return [predictor.decode(encoded, Prompts(boxes=[(8, 8, 24, 30)])) for encoded in volume.encoded]

    (protocol,) = parse_prompt_protocols("cascade", automatic={"cascade": Automatic(middle)})
    assert protocol == PromptProtocol(PromptKind("cascade"), automatic=Automatic(middle))
    (result,) = evaluate_prompts(predictor, decoded, plan, [protocol], name="tiny", **QUICK)
    assert (result.prompts, result.oracle) == (PromptKind("cascade"), False)
    assert any(row.predicted_px for row in result.slices if row.reference_px == 0)


def test_boxes_around_a_box_are_near_it_and_in_the_image() -> None:
    given = Prompts(boxes=[(0, 4, 20, 14)], points=[(3, 5)])
    versions = jittered(given, SIZE, 40, np.random.default_rng(0))
    assert versions[0] == given
    boxes = np.stack([version.boxes[0] for version in versions])
    assert np.abs(boxes - given.boxes[0]).max(axis=0) == pytest.approx([2, 1, 2, 1], abs=0.15)
    assert boxes.min() == 0
    assert all(np.array_equal(version.points, given.points) for version in versions)
    with pytest.raises(DataError, match="no box whose sides"):
        jittered(Prompts(points=[(3, 5)]), SIZE, 4, np.random.default_rng(0))


def test_the_mean_over_boxes_is_that_of_their_answers(predictor) -> None:
    image = np.random.default_rng(2).integers(1, 256, (*SIZE, 3), np.uint8)
    encoded, given = predictor.encode(image), Prompts(boxes=[(6, 4, 26, 34)])
    spread = decode_jittered(predictor, encoded, given, 5, np.random.default_rng(1), batch_size=2)
    versions = jittered(given, SIZE, 5, np.random.default_rng(1))
    each = np.stack([predictor.decode(encoded, version).probabilities for version in versions])
    np.testing.assert_allclose(spread.answer.probabilities, each.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(spread.deviation, each.std(axis=0), atol=1e-6)
    assert spread.deviation.max() > 0
    assert averaged([spread.answer]).deviation.max() == 0


def test_probabilities_averaged_over_boxes_have_a_reliability_of_their_own(results) -> None:
    single, several = results["jitter:4"].calibration, results["jitter:4 x3"].calibration
    assert single is not None
    assert several is not None
    assert single.mean_probability != several.mean_probability
    assert sum(single.counts) == sum(several.counts)


def test_the_quality_curve_pools_a_models_boxes_of_all_kinds_beside_the_floors(results) -> None:
    row = BoxRow("c", "p", 0, box_iou=0.95, mask_iou=0.7, expected_iou=0.6, filled_iou=0.5, ellipse_iou=0.6)
    worse = dataclasses.replace(row, box_iou=0.35, mask_iou=0.6, filled_iou=0.2, ellipse_iou=0.3)
    tight, loose = replace(results["gt"], boxes=(row,)), replace(results["jitter:4"], boxes=(worse,))
    curves = quality_curves([tight, loose, results["none"]])
    assert list(curves) == ["tiny", "inscribed ellipse", "filled box"]
    assert quality_csv(curves).splitlines() == [
        "name,from,to,boxes,box_iou,mask_iou",
        "tiny,0.3,0.4,1,0.35,0.6",
        "tiny,0.9,1,1,0.95,0.7",
        "inscribed ellipse,0.3,0.4,1,0.35,0.3",
        "inscribed ellipse,0.9,1,1,0.95,0.6",
        "filled box,0.3,0.4,1,0.35,0.2",
        "filled box,0.9,1,1,0.95,0.5",
    ]
    assert quality_curves([results["none"]]) == {}


def test_floors_curves_count_a_box_that_two_models_were_given_once(results) -> None:
    other = replace(results["gt"], name="other (gt)", provenance=Provenance(system="other"))
    curves = quality_curves([results["gt"], other])
    assert curves["other"].count.sum() == curves["filled box"].count.sum() == 4
