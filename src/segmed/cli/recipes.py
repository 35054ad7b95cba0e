"""`segmed recipes`: which recipes there are, and all that one of them sets."""

import re
from typing import Annotated

import typer

from segmed.cli.messages import say
from segmed.cli.options import SetOption


def recipes(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name or YAML file; all are listed without.")] = None,
    set_: SetOption = None,
) -> None:
    """List the recipes, or print all settings of one.

    What is printed of one is a recipe itself, every default included: save it as a .yaml file and change it.
    """
    from segmed.training.recipe import load_recipe, recipe_head, recipe_names, recipe_yaml

    if recipe is not None:
        say(recipe_head(recipe) + recipe_yaml(load_recipe(recipe, set_ or [])), nl=False)
        return
    if set_:
        raise typer.BadParameter("--set changes one recipe. Name it: segmed recipes NAME --set KEY=VALUE.")
    names = recipe_names()
    for name in names:
        say(f"{name:{max(map(len, names))}}  {_first_words(recipe_head(name))}")
    say("\nAll settings of one: segmed recipes NAME. To train: segmed train NAME …", err=True)


def _first_words(head: str) -> str:
    """The head's first sentence, or what is before its colon or semicolon."""
    told = " ".join(line.removeprefix("# ") for line in head.splitlines() if not line.startswith("#  "))
    return re.split(r"[.;:]\s", told)[0]
