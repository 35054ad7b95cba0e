"""A recipe is read from YAML, overridden by key, and wrong keys are named."""

from dataclasses import replace
from pathlib import Path

import pytest

from segmed.core.errors import ConfigError
from segmed.data.augment import PRESETS, AugmentConfig
from segmed.training.recipe import Recipe, load_recipe, recipe_from_mapping, recipe_names, save_recipe


def test_every_recipe_that_comes_along_is_valid() -> None:
    names = recipe_names()
    assert {"unet", "unetplusplus", "pan", "deeplabv3", "deeplabv3plus"} <= set(names)
    for name in names:
        load_recipe(name)


def test_overrides_reach_nested_keys_and_keep_yaml_types() -> None:
    recipe = recipe_from_mapping({}, ["optim.learning_rate=0.01", "preprocess.size=[64, 96]"], source="x")
    assert recipe.optim.learning_rate == 0.01
    assert recipe.preprocess.size == (64, 96)


def test_precision_may_be_written_without_quotes() -> None:
    assert recipe_from_mapping({}, ["precision=32"], source="x").precision == "32"
    with pytest.raises(ConfigError, match="precision"):
        recipe_from_mapping({}, ["precision=64"], source="x")


def test_a_saved_recipe_names_every_default_and_loads_as_it_was(tmp_path: Path) -> None:
    recipe = recipe_from_mapping({}, ["epochs=3", "loss.name=tversky"], source="x")
    save_recipe(tmp_path / "r.yaml", recipe)
    assert "weight_decay" in (tmp_path / "r.yaml").read_text()
    assert load_recipe(tmp_path / "r.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs: 3", r"r\.yaml: unknown key 'epocs'. Did you mean 'epochs'"),
        ("optim: {learning_rat: 1}", r"r\.yaml: unknown key 'optim.learning_rat'. Did you mean 'learning_rate'"),
        ("model: {gafl: {mod: phase}}", r"r\.yaml: unknown key 'model.gafl.mod'. Did you mean 'mode'"),
        ("model: {sam: {trian: all}}", r"r\.yaml: unknown key 'model.sam.trian'. Did you mean 'trains'"),
        ("epochs: many", r"r\.yaml: epochs: .*integer.*'many'"),
        ("epochs: [", r"r\.yaml: not valid YAML"),
        ("- a", r"r\.yaml: a recipe is a mapping"),
        ("augment: wild", r"Unknown augmentation preset 'wild'. Choose one of: none, reproduction, mri, lgg, colour"),
        ("augment: {preset: mir}", r"Unknown augmentation preset 'mir'. Did you mean 'mri'"),
        ("augment: {noise: 2}", r"augment.noise: .* got 2"),
        ("augment: {nois: 0.1}", r"unknown key 'augment.nois'. Did you mean 'noise'"),
        ("preprocess: {channels: [0, 1, 2]}\nmodel: {channels: 1}", r"lists 3 sequences but model.channels is 1"),
        ("ema_decay: 1", r"ema_decay lies in"),
        ("seed: -1", r"seed 0 to"),
        ("optim: {accumulate: 0}", r"optim: accumulate must be at least 1"),
        ("optim: {final_share: 2}", r"optim: final_share lies between"),
        ("preprocess: {size: [100, 100]}", r"preprocess: size \(100, 100\) is not a multiple"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_key_and_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "r.yaml")


def test_yaml_can_run_no_code(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("augment: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_recipe(tmp_path / "r.yaml")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown recipe 'unett'. Did you mean 'unet'"):
        load_recipe("unett")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot read a recipe"):
        load_recipe(tmp_path / "gone.yaml")


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs.deep=3", "epochs=["])
def test_an_override_that_is_no_key_and_value_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        recipe_from_mapping({"epochs": 2}, [override], source="x")


@pytest.mark.parametrize(
    "setting",
    [
        "patience=0", "workers=-1", "seed=99999999999999999999", "optim.learning_rate=.nan", "optim.learning_rate=.inf",
        "loss.focal_gamma=-1", "loss.tversky_alpha=.nan", "loss.focal_alpha=2", "optim.weight_decay=.nan",
        "optim.weight_decay=.inf", "optim.gradient_clip=.nan", "optim.gradient_clip=.inf", "featup.zoom=.inf",
        "prompting.iou_weight=.inf", "prompting.mix={gt: .inf}",
    ],
)  # fmt: skip
def test_a_number_that_no_training_can_have_is_refused_by_its_name(setting: str) -> None:
    name = setting.partition("=")[0].rpartition(".")[2]
    with pytest.raises(ConfigError, match=name):
        recipe_from_mapping({}, [setting], source="x")


@pytest.mark.parametrize("setting", ["patience", "workers", "sampling.positive_share"])
def test_the_value_that_a_message_names_for_none_is_one_that_a_recipe_takes(setting: str) -> None:
    with pytest.raises(ConfigError, match="Use null") as told:
        recipe_from_mapping({}, [f"{setting}=-1"], source="x")
    named = str(told.value).partition("Use ")[2].split()[0]
    recipe = recipe_from_mapping({}, [f"{setting}={named}"], source="x")
    group, _, name = setting.rpartition(".")
    assert getattr(recipe.sampling if group else recipe, name) is None


def test_defaults_are_the_report_encoder_with_our_schedule() -> None:
    assert Recipe().model.encoder == "efficientnet-b5"
    assert Recipe().loss.name == "dice-bce"


@pytest.mark.parametrize("overrides", [(), ("augment=auto",)])
def test_the_augmentation_is_chosen_by_the_data_unless_a_recipe_names_one(overrides: tuple[str, ...]) -> None:
    assert recipe_from_mapping({}, overrides, source="test").augment is None


def test_a_recipe_begins_with_a_preset_and_sets_single_fields_of_the_augmentation() -> None:
    given = {"augment": {"preset": "mri", "noise": 0.1}}
    assert recipe_from_mapping(given, (), source="test").augment == replace(PRESETS["mri"], noise=0.1)
    assert recipe_from_mapping({"augment": "mri"}, ("augment.noise=0.1",), source="test") == recipe_from_mapping(
        given, (), source="test"
    )
    assert recipe_from_mapping({"augment": {"affine": 1}}, (), source="test").augment == AugmentConfig(affine=1)


@pytest.mark.parametrize("given", [{}, {"augment": "auto"}, {"augment": None}, {"augment": {"preset": "auto"}}])
def test_a_single_setting_of_what_the_data_choose_is_refused_with_what_to_say_too(given: dict[str, object]) -> None:
    with pytest.raises(
        ConfigError, match=r"augment: it is auto, .*noise alone .*augment\.preset=NAME, of none, reproduction"
    ):
        recipe_from_mapping(given, ("augment.noise=0.9",), source="test")


@pytest.mark.parametrize(
    "overrides", [("augment.preset=mri", "augment.noise=0.9"), ("augment.noise=0.9", "augment.preset=mri")]
)
def test_a_single_setting_beside_the_preset_that_it_changes_is_taken_in_any_order(overrides: tuple[str, ...]) -> None:
    assert recipe_from_mapping({}, overrides, source="test").augment == replace(PRESETS["mri"], noise=0.9)


def test_the_weight_of_one_kind_of_prompt_leaves_the_others_of_the_mix() -> None:
    usual = Recipe().prompting.mix
    recipe = recipe_from_mapping({}, ("prompting.mix.gt=5", "prompting.mix.points=0"), source="x")
    assert recipe.prompting.mix == {**usual, "gt": 5, "points": 0}
    assert Recipe().prompting.mix == usual
    given = {"prompting": {"mix": {"lesions": 2}}}
    assert recipe_from_mapping(given, ("prompting.mix.gt=5",), source="x").prompting.mix == {"lesions": 2, "gt": 5}


def test_an_augmentation_of_ones_own_is_written_with_the_recipe_and_read_back(tmp_path: Path) -> None:
    recipe = recipe_from_mapping({"augment": {"preset": "reproduction", "scale": [0.5, 2]}}, (), source="test")
    save_recipe(tmp_path / "r.yaml", recipe)
    assert load_recipe(tmp_path / "r.yaml") == recipe


def test_a_recipe_with_yaml_aliases_is_refused_at_once_and_a_cyclic_one_too(tmp_path):
    path = tmp_path / "r.yaml"
    for text in ("model: &m {name: unet}\nloss: *m\n", "model: &m\n  sam: *m\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"r\.yaml: not valid YAML \(anchors and aliases are not read"):
            load_recipe(path)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("start=2024-13-45", None),
        ("epochs=2024-01-31", "epochs: "),
        ("epochs=!!int x", "the tag .* is not read"),
        ("epochs=.inf", "epochs: "),
        ("epochs=" + "9" * 400, "more than 64 bits"),
        ("epochs=0x" + "f" * 5000, "more than 64 bits"),
        ("epochs=" + "[" * 5000, "nested deeper"),
        ("model={1: 2}", "model"),
        ("epochs=&a [*a]", "anchors and aliases"),
    ],
)
def test_a_strange_value_on_the_command_line_is_a_setting_or_one_short_error(override, told):
    if told is None:
        assert load_recipe("unet-cpu", [override]).start == override.partition("=")[2]
        return
    with pytest.raises(ConfigError, match=told) as caught:
        load_recipe("unet-cpu", [override])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("key", "override"),
    [("encode_raiser", "encode_upsampler"), ("encode_upsampler", "encode_raiser"), ("encode_raiser", "encode_raiser")],
)
def test_a_setting_under_its_former_name_is_the_one_that_is_changed(key, override):
    values = {"model": {"name": "sam-tiny", "sam": {"encode_at": 64, key: "jbu"}}}
    recipe = recipe_from_mapping(values, [f"model.sam.{override}=bilinear-control"], source="r.yaml")
    assert recipe.model.sam is not None
    assert recipe.model.sam.encode_upsampler == "bilinear-control"
