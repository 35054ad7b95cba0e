"""`segmed recipes`: the list, and one recipe whole."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands import segmed
from segmed.cli.main import app
from segmed.cli.train import chosen_recipe
from segmed.core.errors import ConfigError
from segmed.training.recipe import load_recipe, recipe_names


def test_every_recipe_is_listed_with_what_it_is() -> None:
    lines = segmed("recipes").splitlines()
    assert [line.split()[0] for line in lines[: len(recipe_names())]] == recipe_names()
    assert f"{'unet-cpu':{max(map(len, recipe_names()))}}  U-Net for machines without a GPU" in lines


def test_what_is_printed_of_a_recipe_is_the_recipe_with_all_its_settings(tmp_path: Path) -> None:
    text = segmed("recipes", "unet-cpu", "--set", "epochs=3")
    assert text.startswith("# U-Net for machines without a GPU")
    assert "ema_decay:" in text
    (tmp_path / "mine.yaml").write_text(text)
    assert load_recipe(tmp_path / "mine.yaml") == load_recipe("unet-cpu", ["epochs=3"])


def test_settings_without_a_recipe_are_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["recipes", "--set", "epochs=3"])
    assert done.exit_code == 2
    assert "Name it: segmed recipes NAME --set" in " ".join(done.stderr.replace("│", " ").split())


def test_an_unknown_recipe_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'unet-cpu'"):
        segmed("recipes", "unet-cp")


@pytest.mark.parametrize("text", ["runs/my run #2", "2024_01", "1e5", "null", "yes", "a: b", "[x]", "*x", "none"])
@pytest.mark.parametrize("option", ["start", "encoder", "encoder_weights", "model"])
def test_the_text_of_an_option_is_taken_as_it_is(option: str, text: str) -> None:
    recipe = chosen_recipe("unet-cpu", None, **{option: text})
    found = recipe.start if option == "start" else getattr(recipe.model, "name" if option == "model" else option)
    assert found == text


def test_what_is_set_counts_more_than_an_option() -> None:
    assert chosen_recipe("unet-cpu", ["seed=3"], seed=2, epochs=5).seed == 3
