"""What an ablation compares: named variants of recipes, seeds, and how each run is evaluated; read from YAML."""

import dataclasses
import json
import re
from dataclasses import field
from pathlib import Path
from typing import Any

import yaml

from segmed.core.config import config_dataclass, config_from_mapping
from segmed.core.errors import ConfigError, DataError
from segmed.evaluation.floors import folder_name
from segmed.layers.gafl.parametrisations import IMAGE_SIZE
from segmed.models.filtering import fit_filter
from segmed.prompts.kinds import prompt_names
from segmed.training.recipe import Recipe, load_recipe

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")


@config_dataclass
class Variant:
    """One system of the study."""

    recipe: str
    """A recipe's name or YAML file; a relative file is looked for beside the spec too."""
    set: dict[str, Any] = field(default_factory=dict)
    """Overrides of recipe keys, such as `model.gafl.parametrisation: radial`."""
    train: tuple[str, ...] = ()
    """Further options of `segmed train`, such as `[--embeddings, runs/embeddings]`."""
    against: str | None = None
    """The variant without the change under study, with which this one is tested; None for such a one itself."""


@config_dataclass
class Spec:
    """A study: every variant is trained once for every seed."""

    title: str
    variants: dict[str, Variant]
    seeds: tuple[int, ...] = (0, 1, 2)
    set: dict[str, Any] = field(default_factory=dict)
    """Overrides for all variants."""
    evaluations: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"test": ()})
    """Name of each evaluation and the extra options of `segmed evaluate` for it; its folder is `evaluation-NAME`, and
    with `--prompts` those of the kinds lie below it in `prompts`."""
    degrade: tuple[str, ...] = ()
    """Degradations under which every run is evaluated too, such as `lowpass:0.5`."""
    same_steps: bool = True
    """Refuse variants that are tested against each other after different numbers of steps or slices per step."""

    def __post_init__(self) -> None:
        """Refuse names that make no folder, and tests against nothing."""
        for name in (*self.variants, *self.evaluations):
            if not NAME.fullmatch(name):
                raise ConfigError(f"{name!r} is no name: small letters, digits and . _ + - only.")
        for name, variant in self.variants.items():
            if variant.against is not None and (variant.against == name or variant.against not in self.variants):
                raise ConfigError(f"{name} is against {variant.against!r}, which is no other variant.")
        if not self.variants or not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError("A study needs at least one variant, and seeds without repetition.")

    def overrides(self, name: str, seed: int) -> list[str]:
        """The `--set` values of a run; a variant's own come after those of all."""
        merged = {**self.set, **self.variants[name].set, "seed": seed}
        return [f"{key}={json.dumps(value)}" for key, value in merged.items()]

    def recipe(self, name: str, seed: int) -> Recipe:
        """The whole recipe of a run."""
        return load_recipe(self.variants[name].recipe, self.overrides(name, seed))


def read_spec(path: Path) -> Spec:
    """Read a spec; raises `ConfigError` that names the file and what is wrong in it, recipes included."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a spec is a mapping with title and variants, got {type(values).__name__}.")
    spec = _beside(config_from_mapping(Spec, values, source=str(path)), path.parent)
    budgets = {name: _budget(spec.recipe(name, spec.seeds[0])) for name in spec.variants}
    for name, variant in spec.variants.items():
        if spec.same_steps and variant.against is not None and budgets[name] != budgets[variant.against]:
            raise ConfigError(
                f"{path}: {name} and {variant.against} differ in what they are trained for ({budgets[name]} and "
                f"{budgets[variant.against]}). Give both the same, or set same_steps: false."
            )
    return spec


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Where a run of a study lies."""
    return out / name / f"seed-{seed}"


def evaluation_folders(run: Path, name: str, options: tuple[str, ...]) -> list[Path]:
    """Where an evaluation's results lie once it is done: a folder for each kind of prompts, or one."""
    folder = run / f"evaluation-{name}"
    if "--prompts" not in options:
        return [folder]
    kinds = prompt_names(options[options.index("--prompts") + 1])
    return [folder / "prompts" / folder_name(kind) for kind in kinds]


def require_same_recipe(run: Path, expected: Recipe) -> None:
    """Raise `DataError` where the run was begun with another recipe; labels and a filter's size are the data's."""
    begun = load_recipe(run / "recipe.yaml")
    model = dataclasses.replace(expected.model, labels=begun.model.labels)
    if model.gafl is not None and model.gafl.size is None and begun.model.gafl is not None:
        model = fit_filter(model, begun.model.gafl.size or IMAGE_SIZE)
    expected = dataclasses.replace(expected, model=model)
    changed = [f.name for f in dataclasses.fields(Recipe) if getattr(begun, f.name) != getattr(expected, f.name)]
    if changed:
        raise DataError(f"{run}: was begun with another {', '.join(changed)}. Choose another --out, or remove it.")


def is_beside(folder: Path, recipe: str) -> bool:
    """Whether a recipe is a file that lies in a spec's folder or below it, and not a name."""
    path = Path(recipe)
    return (
        path.suffix in {".yaml", ".yml"} and path.is_relative_to(folder) and ".." not in path.parts and path.is_file()
    )


def _beside(spec: Spec, folder: Path) -> Spec:
    """The spec with recipe files that lie beside it by their paths."""

    def placed(variant: Variant) -> Variant:
        local = folder / variant.recipe
        is_file = variant.recipe.endswith((".yaml", ".yml")) and not Path(variant.recipe).is_file() and local.is_file()
        return dataclasses.replace(variant, recipe=str(local)) if is_file else variant

    return dataclasses.replace(spec, variants={name: placed(each) for name, each in spec.variants.items()})


def _budget(recipe: Recipe) -> dict[str, Any]:
    return {
        "epochs": recipe.epochs,
        "patience": recipe.patience,
        "accumulate": recipe.optim.accumulate,
        "steps_per_epoch": recipe.sampling.steps_per_epoch,
        "batch_size": recipe.sampling.batch_size,
    }
