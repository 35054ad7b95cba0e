"""What README and the how-to pages name outside their commands: options, recipe keys, labels."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from doc_pages import PAGES, blocks, command_of, spoken_commands, without_comment
from segmed.cli.main import COMMANDS, load_command
from segmed.core.errors import ConfigError
from segmed.data.sources import parse_labels
from segmed.training.recipe import load_recipe, recipe_from_mapping

OPTION = re.compile(r"--[a-z][a-z-]*")


def commands_below(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from commands_below(each)


def options_of(command: Any) -> set[str]:
    return {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}


EVERY_OPTION = {
    option for name in COMMANDS for each in commands_below(load_command(name)) for option in options_of(each)
}


@pytest.mark.parametrize("page", PAGES)
def test_options_and_commands_that_a_page_speaks_of_are_real(page: str) -> None:
    for spoken in spoken_commands(page):
        known = EVERY_OPTION
        if spoken.startswith("segmed "):
            known = options_of(command_of(spoken.split())[0])
        elif not spoken.startswith("--"):
            continue
        assert set(OPTION.findall(spoken)) <= known, f"{page}: {spoken}"


def accepted(overrides: list[str]) -> bool:
    """Whether a recipe of a dense, a small or a large promptable model takes these overrides."""
    for recipe in ("unet", "sam-tiny", "medsam"):
        try:
            load_recipe(recipe, overrides)
        except ConfigError:
            continue
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_recipe_keys_that_a_page_speaks_of_are_those_of_a_recipe(page: str) -> None:
    for spoken in spoken_commands(page):
        words = shlex.split(spoken) if spoken.startswith("--set ") else []
        overrides = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
        stands_for_others = "=value" in spoken or "=FILE" in spoken
        assert stands_for_others or accepted(overrides), f"{page}: {spoken}"


def test_a_recipe_that_a_page_prints_in_part_can_be_read() -> None:
    found = [(page, yaml.safe_load(block)) for page in PAGES for block in blocks(page, "yaml")]
    assert found
    for page, values in found:
        recipe_from_mapping({"model": {"name": "sam-tiny"}, **values}, [], source=page)


def test_labels_that_a_page_prints_are_read() -> None:
    lines = [line for page in PAGES for block in blocks(page, "") for line in block.splitlines()]
    labels = [shlex.split(without_comment(line))[1] for line in lines if line.startswith("--labels ")]
    assert len(labels) == 3
    for each in labels:
        assert len(parse_labels(each).names) >= 1
