"""A run on disk gives the same outputs back, and what does not fit is listed."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from segmed.core.errors import ConfigError, ModelError, SplitError
from segmed.core.files import sha256_of
from segmed.core.labels import LabelMap
from segmed.core.split import Partition, Split
from segmed.models.checkpoint import (
    RunConfig,
    copy_run,
    known_patients,
    load_run,
    relative_to,
    save_run,
    weights_digest,
)
from segmed.models.config import ModelConfig
from segmed.models.seen import patient_digest, seen_by_any
from segmed.models.training_facts import TrainingFacts, summed_times
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

CONFIG = RunConfig(
    model=ModelConfig(name="pan", encoder="resnet18", encoder_weights="imagenet", channels=1),
    preprocess=PreprocessConfig(channels=(1,), size=(128, 160), fit="letterbox"),
    labels=LabelMap(("lesion",), (0, 7)),
    threshold=0.35,
    leaking=True,
    training=TrainingFacts(others={"seed": 3}),
    seen={"train": ["0123456789abcdef"], "validation": []},
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_run(tmp_path / "run", build_model(replace(CONFIG.model, encoder_weights="none")), CONFIG)
    return tmp_path / "run"


def saved_again(run: Path, weights: dict[str, torch.Tensor]) -> None:
    """Put other weights in a run, with their hash in its config, as whoever made them on purpose would."""
    save_file(weights, run / "model.safetensors")
    change_config(run, weights_sha256=sha256_of(run / "model.safetensors"))


def change_config(run: Path, **change: object) -> None:
    value = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**value, **change}))


def test_times_of_several_trainings_are_summed_where_all_are_known() -> None:
    both = TrainingFacts(60.0, 90.5, mask_prompts=True)
    assert summed_times([both, both]) == TrainingFacts(120.0, 181.0)
    assert summed_times([both, TrainingFacts(5.0)]) == TrainingFacts(65.0)


def test_outputs_and_contract_survive_the_way_through_disk(run: Path) -> None:
    torch.manual_seed(0)
    model = build_model(replace(CONFIG.model, encoder_weights="none")).eval()
    loaded = load_run(run)
    image = torch.randn(1, 1, 128, 160)
    with torch.inference_mode():
        assert torch.equal(loaded.model(image), model(image))
    assert replace(loaded.config, weights_sha256="") == CONFIG
    assert loaded.config.weights_sha256 == sha256_of(run / "model.safetensors")


def test_no_file_of_a_run_is_a_pickle(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "model.safetensors"]
    json.loads((run / "config.json").read_text())


def test_the_config_of_a_leaking_run_says_so_in_capitals(run: Path) -> None:
    assert json.loads((run / "config.json").read_text())["LEAKING"] is True


def test_missing_and_unexpected_weights_are_listed(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    del weights["encoder.conv1.weight"]
    saved_again(run, {**weights, "stranger": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"missing: encoder\.conv1\.weight; unexpected: stranger"):
        load_run(run)


def test_weights_of_another_shape_are_refused(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    saved_again(run, {**weights, "encoder.conv1.weight": torch.zeros(64, 3, 7, 7)})
    with pytest.raises(ModelError, match=r"do not fit the model; of another shape: encoder\.conv1\.weight"):
        load_run(run)


def test_truncated_weights_are_refused_naming_the_file(run: Path) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    change_config(run, weights_sha256="")
    with pytest.raises(ModelError, match=r"model\.safetensors: weights cannot be read"):
        load_run(run)


def test_one_flipped_bit_anywhere_in_the_weights_is_found(run: Path) -> None:
    path = run / "model.safetensors"
    whole = path.read_bytes()
    for place in (len(whole) - 1, len(whole) // 2, len(whole) // 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"model\.safetensors: weights are not those that were saved"):
            load_run(run)
    path.write_bytes(whole)
    load_run(run)


def test_weights_of_another_training_are_refused(run: Path, tmp_path: Path) -> None:
    save_run(tmp_path / "other", build_model(replace(CONFIG.model, encoder_weights="none")), CONFIG)
    (run / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="weights are not those that were saved"):
        load_run(run)


def test_lost_weights_are_refused_naming_the_file(run: Path) -> None:
    (run / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: weights cannot be read"):
        load_run(run)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_even_where_their_hash_fits(run: Path, value: float) -> None:
    weights = load_file(run / "model.safetensors")
    weights["encoder.conv1.weight"][3, 0, 1, 2] = value
    saved_again(run, weights)
    with pytest.raises(ModelError, match=r"weights encoder\.conv1\.weight are not finite"):
        load_run(run)


def test_weights_that_are_not_finite_are_not_saved_over_those_that_are(run: Path) -> None:
    model = build_model(replace(CONFIG.model, encoder_weights="none"))
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(ModelError, match="are not finite"):
        save_run(run, model, CONFIG)
    assert (run / "model.safetensors").read_bytes() == before


def test_whole_numbers_in_place_of_floating_ones_are_refused_and_half_precision_is_not(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    name = "encoder.conv1.weight"
    saved_again(run, {**weights, name: weights[name].to(torch.int32)})
    with pytest.raises(ModelError, match=r"of another type: encoder\.conv1\.weight"):
        load_run(run)
    saved_again(run, {**weights, name: weights[name].half()})
    torch.testing.assert_close(load_run(run).model.state_dict()[name], weights[name].half().float())


def test_a_run_from_before_hashes_loads_and_says_once_what_cannot_be_checked(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    value = json.loads((run / "config.json").read_text())
    del value["weights_sha256"]
    (run / "config.json").write_text(json.dumps(value))
    with caplog.at_level(logging.WARNING):
        load_run(run)
        load_run(run)
    assert [record.getMessage() for record in caplog.records] == [
        f"{run} was written before runs kept a hash of their weights, so damage to them cannot be seen."
    ]


def test_a_config_with_a_threshold_that_is_no_probability_cannot_be_made() -> None:
    for threshold in (math.nan, math.inf, 1.001, -0.001):
        with pytest.raises(ModelError, match="is no probability"):
            replace(CONFIG, threshold=threshold)
    assert replace(CONFIG, threshold=1.0).threshold == 1.0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json, so it is not a finished run"):
        load_run(tmp_path)


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        load_run(tmp_path / "nowhere")


def test_a_hub_id_out_of_reach_is_one_clear_error() -> None:
    with pytest.raises(ModelError, match="hf:someone/something: not reachable on the hub"):
        load_run("hf:someone/something")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"threshold": None},
        {"threshold": "abc"},
        {"threshold": math.nan},
        {"threshold": -math.inf},
        {"threshold": 2},
        {"threshold": -0.1},
        {"fold": "first"},
        {"training": "long"},
        {"model": "unet"},
        {"labels": {}},
        {"labels": []},
        {"labels": {"names": ["a"], "stored": [0, "x"]}},
    ],
)
def test_a_config_that_is_wrong_is_refused(run: Path, change: dict[str, object]) -> None:
    value = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**value, **change}))
    with pytest.raises(ModelError, match=r"config\.json: "):
        load_run(run)


def test_a_config_that_is_a_list_is_refused(run: Path) -> None:
    (run / "config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"config\.json: .*expected a run's config"):
        load_run(run)


def test_an_unknown_key_in_the_contract_is_refused_by_name(run: Path) -> None:
    value = json.loads((run / "config.json").read_text())
    value["preprocess"]["gamma"] = 2
    (run / "config.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=r"config\.json: unknown key 'gamma'"):
        load_run(run)


def test_the_digest_of_weights_is_of_their_values_and_names_not_of_their_layout() -> None:
    torch.manual_seed(0)
    one = torch.nn.Conv2d(3, 4, 3)
    before = weights_digest(one)
    assert weights_digest(one.to(memory_format=torch.channels_last)) == before
    assert weights_digest(torch.nn.Sequential(one)) != before
    with torch.no_grad():
        one.bias[0] += 1
    assert weights_digest(one) != before


SPLIT = Split("patient", 0, "", False, {"a1": "a", "b1": "b", "c1": "c"}, (Partition(("a1",), ("b1",), ("c1",)),))


def test_patients_are_those_of_the_config_whatever_split_lies_beside_it(tmp_path: Path) -> None:
    SPLIT.save(tmp_path / "split.json")
    assert known_patients(tmp_path, CONFIG) == CONFIG.seen


def test_without_patients_in_the_config_the_runs_own_split_tells(tmp_path: Path) -> None:
    SPLIT.save(tmp_path / "split.json")
    config = replace(CONFIG, seen={}, split_hash=sha256_of(tmp_path / "split.json"))
    expected = {"train": [patient_digest("a")], "validation": [patient_digest("b")]}
    assert known_patients(tmp_path, config) == expected
    with pytest.raises(SplitError, match="is not the split that the run was trained on"):
        known_patients(tmp_path, replace(config, split_hash="0" * 64))


def test_unknown_patients_are_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="does not say which patients it was trained on"):
        known_patients(tmp_path, replace(CONFIG, seen={}))


def test_what_any_of_several_runs_has_seen_counts_as_seen() -> None:
    seen = seen_by_any([{"train": ["b", "a"], "validation": ["c"]}, {"train": ["a", "d"]}, {}])
    assert seen == {"train": ["a", "b", "d"], "validation": ["c"]}


def test_a_copied_run_keeps_its_recipe_and_split_and_leaves_the_rest(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "split.json", "log.txt"):
        (run / name).write_text(name)
    place = copy_run(run, tmp_path / "cascade" / "dense")
    assert sorted(path.name for path in place.iterdir()) == ["config.json", "model.safetensors", "split.json"]
    assert relative_to(tmp_path / "cascade", run) == "../runs/one"


def test_a_copied_run_replaces_links_and_writes_through_none(tmp_path: Path) -> None:
    run, place = tmp_path / "run", tmp_path / "place"
    run.mkdir()
    place.mkdir()
    (run / "config.json").write_text("new")
    (tmp_path / "precious").write_text("old")
    (place / "config.json").symlink_to(tmp_path / "precious")
    copy_run(run, place)
    assert (tmp_path / "precious").read_text() == "old"
    assert (place / "config.json").read_text() == "new"
