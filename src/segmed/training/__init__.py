"""Training on Lightning: a recipe, one call, a complete run folder."""

from segmed.training.engine import Hardware, train
from segmed.training.recipe import OptimConfig, Recipe, load_recipe

__all__ = ["Hardware", "OptimConfig", "Recipe", "load_recipe", "train"]
