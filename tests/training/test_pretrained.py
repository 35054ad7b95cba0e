"""Published weights as a run: exact, answering to prompts alone, and never said to be new to a patient."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SamModel
from transformers.models.sam.configuration_sam import SamConfig

import segmed
from bright_run import bright
from segmed.core.errors import ConfigError, ModelError
from segmed.core.files import sha256_of, write_json
from segmed.data.decoded import DecodedDataset
from segmed.evaluation.prompt_protocols import parse_prompt_protocols
from segmed.evaluation.prompted import evaluate_prompts
from segmed.inference.cascade import CascadeConfig, join
from segmed.inference.ensemble import ensemble_config
from segmed.inference.prompted import PromptedPredictor
from segmed.inference.propagate import takes_masks
from segmed.models.checkpoint import known_patients, load_config
from segmed.models.convert import convert
from segmed.models.families import FAMILIES
from segmed.models.sam.contract import differences
from segmed.models.seen import seen_patients
from segmed.training.build import fit_recipe, prepare
from segmed.training.featup import distil_recipe
from segmed.training.pretrained import PretrainedRun, make_pretrained, pretrained_recipe
from segmed.training.recipe import load_recipe
from segmed.training.resume import RunInputs, require_same_run
from toydata import toy

SIDE = 64
SMALL = [
    f"model.sam.size={SIDE}",
    f"preprocess.size=[{SIDE}, {SIDE}]",
    "model.sam.vit={width: 32, depth: 4, heads: 2, global_layers: [1, 3], window: 3}",
]
BOX = (9.0, 5.0, 40.0, 33.0)


@pytest.fixture(scope="module")
def published() -> SamModel:
    """transformers' own small SAM with random weights, in the place of published ones."""
    torch.manual_seed(1)
    vision = {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "global_attn_indexes": [1, 3],
        "window_size": 3, "image_size": SIDE, "mlp_dim": 128,
    }  # fmt: skip
    prompts = {"image_size": SIDE, "patch_size": 16}
    model = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompts)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def weights(published: SamModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights as `segmed convert` writes them, said to be of SAM's preprocessing."""
    file = tmp_path_factory.mktemp("weights") / "published.safetensors"
    save_file({name: each.clone() for name, each in published.state_dict().items()}, file)
    write_json(file.with_suffix(".json"), {"contract": "sam"})
    return file


@pytest.fixture(scope="module")
def run(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainedRun:
    recipe = pretrained_recipe("sam-vit-b", str(weights), SMALL)
    return make_pretrained(recipe, tmp_path_factory.mktemp("runs") / "sam")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    return toy(tmp_path_factory.mktemp("data"), patients=4, slices=2)


def asked(run: PretrainedRun) -> PromptedPredictor:
    predictor = segmed.load(run.folder, device="cpu")
    assert isinstance(predictor, PromptedPredictor)
    return predictor


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def as_sam_reads(image: np.ndarray) -> torch.Tensor:
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(image) / 255 - mean) / deviation).permute(2, 0, 1)[None]


def test_a_box_gets_the_mask_of_the_published_model(published: SamModel, run: PretrainedRun) -> None:
    predictor, image = asked(run), picture()
    answer = predictor.decode(predictor.encode(image), segmed.Prompts(boxes=[BOX]))
    with torch.inference_mode():
        theirs = published(as_sam_reads(image), input_boxes=torch.tensor([[BOX]]), multimask_output=False)
    np.testing.assert_allclose(answer.logits[0], theirs.pred_masks[0, 0, 0].numpy(), atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(answer.iou[0], theirs.iou_scores[0, 0, 0].clamp(0, 1).numpy(), atol=1e-3)


def test_a_point_gets_the_best_of_the_three_masks_of_the_published_model(
    published: SamModel, run: PretrainedRun
) -> None:
    predictor, image = asked(run), picture()
    answer = predictor.decode(predictor.encode(image), segmed.Prompts(points=[(20.0, 24.0)]))
    with torch.inference_mode():
        theirs = published(as_sam_reads(image), input_points=torch.tensor([[[[20.0, 24.0]]]]), multimask_output=True)
    best = int(theirs.iou_scores[0, 0].argmax())
    np.testing.assert_allclose(answer.logits[0], theirs.pred_masks[0, 0, best].numpy(), atol=2e-3, rtol=2e-3)


def test_a_pixel_is_foreground_from_a_logit_of_0(run: PretrainedRun) -> None:
    assert run.config.threshold == 0.5


def test_the_folder_says_which_weights_it_holds_and_no_place_of_this_machine(run: PretrainedRun, weights: Path) -> None:
    text = (run.folder / "config.json").read_text()
    told = json.loads(text)["training"]
    assert told["as_published"] is True
    assert told["published"]["sha256"] == sha256_of(weights)
    assert str(weights.parent) not in text
    assert sorted(file.name for file in run.folder.iterdir()) == ["config.json", "model.safetensors"]


def test_without_a_prompt_there_is_no_answer_but_an_error_that_says_what_to_give(run: PretrainedRun) -> None:
    predictor = asked(run)
    with pytest.raises(ModelError, match="answer to boxes and points alone"):
        predictor.predict(picture())
    with pytest.raises(ModelError, match="answer to boxes and points alone"):
        predictor.decode(predictor.encode(picture()))


def test_an_evaluation_says_that_nobody_knows_whom_the_weights_have_seen(
    run: PretrainedRun, data: DecodedDataset
) -> None:
    split = segmed.split_by_patient(data, folds=2)
    plan = segmed.plan_evaluation(run.folder, run.config, data, split=split)
    assert not plan.training_known
    protocols = parse_prompt_protocols("gt")
    (result,) = evaluate_prompts(asked(run), data, plan, protocols, name="sam", resamples=100)
    assert result.oracle
    assert not result.training_known
    with pytest.raises(ModelError, match="answer to boxes and points alone"):
        evaluate_prompts(asked(run), data, plan, parse_prompt_protocols("none"), name="sam")
    with pytest.raises(ModelError, match="answer to boxes and points alone"):
        segmed.evaluate_run(asked(run), data, plan, name="sam")


def test_a_cascade_takes_them_with_any_dense_run_and_its_training_is_unknown_too(
    run: PretrainedRun, data: DecodedDataset, tmp_path: Path
) -> None:
    split = segmed.split_by_patient(data, folds=2)
    dense = replace(
        bright(tmp_path / "dense").config,
        data_hash=data.data_hash,
        seen=seen_patients(split, 0),
        fold=0,
        labels=data.dataset.labels,
    )
    predictor = bright(tmp_path / "dense")
    predictor.config = dense
    joined = join(predictor, asked(run), CascadeConfig(), tmp_path)
    plan = segmed.plan_evaluation(tmp_path, joined.config, data, split=split)
    assert joined.config.seen == dense.seen
    assert not plan.training_known


def test_they_propose_nothing_to_a_cascade_and_are_no_member_of_an_ensemble(run: PretrainedRun) -> None:
    with pytest.raises(ModelError, match="Name a dense run first"):
        join(asked(run), asked(run), CascadeConfig(), run.folder)
    with pytest.raises(ModelError, match="an ensemble gives none"):
        ensemble_config([run.folder, run.folder])


def test_a_training_may_begin_from_them_as_nobody_is_known_to_have_been_seen(
    run: PretrainedRun, data: DecodedDataset, weights: Path
) -> None:
    split = segmed.split_by_patient(data, folds=2)
    recipe = fit_recipe(load_recipe("sam-vit-b", [*SMALL, f"start={run.folder}", "augment=none"]), data)
    module, _ = prepare(recipe, data=data, split=split, fold=0)
    own = load_config(run.folder)[0]
    assert known_patients(run.folder, own) == {}
    state = module.model.state_dict()
    assert torch.equal(state["mask_decoder.iou_token.weight"], load_file(weights)["mask_decoder.iou_token.weight"])


def test_training_refuses_the_choice_among_three_masks(data: DecodedDataset) -> None:
    recipe = load_recipe("sam-vit-b", [*SMALL, "model.encoder_weights=none", "model.sam.multimask=true"])
    split = segmed.split_by_patient(data, folds=2)
    with pytest.raises(ConfigError, match="multimask is for published weights"):
        prepare(fit_recipe(recipe, data), data=data, split=split, fold=0)


def test_the_data_decide_channels_label_and_what_is_black_and_white(
    weights: Path, data: DecodedDataset, tmp_path: Path
) -> None:
    made = make_pretrained(pretrained_recipe("sam-vit-b", str(weights), SMALL), tmp_path / "run", data=data)
    assert made.config.preprocess.channels == (0, 1, 2)
    assert made.config.preprocess.intensity_range == (0, 255)
    assert made.config.labels == data.dataset.labels
    assert made.config.data_hash == ""  # nothing was trained on them


def test_the_run_is_converted_back_to_the_weights_that_it_was_made_of(
    run: PretrainedRun, weights: Path, tmp_path: Path
) -> None:
    done = convert(run.folder, tmp_path / "back.safetensors", contract="sam")
    back, first = load_file(done.weights), load_file(weights)
    assert done.left_out == ()
    assert back.keys() == first.keys()
    assert all(torch.equal(back[name], first[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "given", "overrides", "match"),
    [
        ("unet", "hub", [], "no weights of the whole model are published"),
        ("sam-tiny", "hub", [], "Choose one of: sam-vit-b, sam-vit-l, sam-vit-h, medsam"),
        ("medsam", "none", [], "random weights predict nothing"),
        ("medsam", "hub", ["loss.name=focal-dice"], "--set loss: is of a training"),
        ("medsam", "hub", ["model.sam.featup=jbu"], "--set model.sam.featup: is not in published weights"),
        ("medsam", "hub", ["model.sam.presence=true"], "--set model.sam.presence: is not in published weights"),
        ("medsam", "hub", ["prediction.tta=mirror"], "published weights have no test-time augmentation"),
        ("medsam", "hub", ["model.gafl={}"], "--set model.gafl: is not in published weights"),
    ],
)
def test_what_published_weights_cannot_be_is_refused(name: str, given: str, overrides: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        pretrained_recipe(name, given, overrides)


def test_weights_of_another_preprocessing_are_refused_with_the_model_to_choose(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights of SAM, .* Choose sam-vit-b or"):
        make_pretrained(pretrained_recipe("medsam", str(weights), SMALL), tmp_path / "run")


def test_a_preprocessing_that_nobody_tells_is_said_to_be_taken_for_the_models(weights: Path, tmp_path: Path) -> None:
    alone = tmp_path / "weights.safetensors"
    alone.write_bytes(weights.read_bytes())
    made = make_pretrained(pretrained_recipe("medsam", str(alone), SMALL), tmp_path / "run")
    assert any("Nothing tells how the images of these weights were prepared" in each for each in made.notes)
    assert any("trained on BraTS" in each for each in made.notes)


def test_sizes_that_differ_and_a_folder_with_files_are_refused(weights: Path, tmp_path: Path) -> None:
    recipe = pretrained_recipe("sam-vit-b", str(weights), [*SMALL, "preprocess.size=[32, 32]"])
    with pytest.raises(ConfigError, match=r"Set preprocess.size to \[64, 64\]"):
        make_pretrained(recipe, tmp_path / "run")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already holds files"):
        make_pretrained(pretrained_recipe("sam-vit-b", str(weights), SMALL), tmp_path)


def test_medsam_was_trained_with_boxes_alone_so_points_and_masks_are_nothing_new_to_it(
    weights: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "medsam.safetensors"
    alone.write_bytes(weights.read_bytes())
    made = make_pretrained(pretrained_recipe("medsam", str(alone), SMALL), tmp_path / "run")
    assert made.config.model.sam is not None
    assert not made.config.model.sam.multimask
    assert not takes_masks(asked(made))


def test_sam_was_trained_with_masks_too(run: PretrainedRun) -> None:
    assert takes_masks(asked(run))


@pytest.mark.parametrize("setting", ["preprocess.neighbours=1", "preprocess.spacing=[1, 1]"])
def test_published_weights_read_single_slices_at_one_size(weights: Path, setting: str) -> None:
    more = ["preprocess.channels=[0]"] if "neighbours" in setting else []
    with pytest.raises(ConfigError, match="published weights read single slices"):
        pretrained_recipe("medsam", str(weights), [*SMALL, *more, setting])


def test_another_size_and_other_percentiles_are_told(weights: Path, run: PretrainedRun, tmp_path: Path) -> None:
    assert any("images of 1024 px, and reads 64 px here" in note for note in run.notes)
    own = FAMILIES["medsam"].contract
    assert own is not None
    assert differences(own.preprocess, replace(own.preprocess, clip_percentiles=(20, 80))) == [
        "clip_percentiles=(0.5, 99.5)"
    ]


def test_there_is_no_test_time_augmentation_in_which_each_image_could_choose_another_mask(run: PretrainedRun) -> None:
    assert asked(run).ttas == ("none",)
    with pytest.raises(ModelError, match="have no test-time augmentation"):
        segmed.load(run.folder, device="cpu", tta="mirror")


def test_what_is_of_trainings_is_refused_in_one_line(run: PretrainedRun, data: DecodedDataset, weights: Path) -> None:
    with pytest.raises(ConfigError, match="segmed train --start"):
        distil_recipe(load_recipe("featup-encoder"), run.folder, encode_at=32)
    recipe = fit_recipe(load_recipe("sam-vit-b", [*SMALL, f"model.encoder_weights={weights}"]), data)
    with pytest.raises(ConfigError, match=r"without recipe\.yaml"):
        require_same_run(run.folder, RunInputs(recipe, segmed.split_by_patient(data, folds=2), data))


def test_its_config_does_not_say_that_it_was_trained_by_patient(run: PretrainedRun) -> None:
    assert "by_patient" not in (run.folder / "config.json").read_text()
