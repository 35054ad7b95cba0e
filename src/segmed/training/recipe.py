"""A recipe: everything that decides a training run, as one value, read from YAML and written beside the result."""

import difflib
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator

from segmed.core.config import config_dataclass, config_from_mapping, config_to_mapping
from segmed.core.errors import ConfigError
from segmed.core.escaping import shortened_text
from segmed.core.files import write_text
from segmed.core.former_names import SETTINGS, present_settings
from segmed.core.reading import MOST_BYTES_OF_SETTINGS, parse_yaml, read_text
from segmed.data.augment import AUTO, AugmentSetting
from segmed.data.loading import SamplingConfig
from segmed.losses import LossConfig
from segmed.models.config import ModelConfig
from segmed.models.prediction import AT_ONE_SIZE, ONE_SIZE_TTAS, PredictionConfig
from segmed.preprocess import PreprocessConfig
from segmed.training.featup_config import FeatUpConfig
from segmed.training.prompting import PromptingConfig, require_boxes_alone


def _as_written(value: Any) -> Any:
    """A whole number as its digits: YAML reads `precision: 32` as one."""
    return str(value) if type(value) is int else value


@config_dataclass
class OptimConfig:
    """AdamW and its schedule.

    Example:
        >>> OptimConfig(schedule="one-cycle", learning_rate=0.01).warmup_steps
        100
    """

    learning_rate: float = 1e-3
    """Peak step size, after warm-up, of all that has no step size of its own below. With `objective: distil` and a
    frozen encoder nothing else is trained."""
    final_share: float = 0.01
    """Learning rate at the end, as a share of the peak."""
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    """`cosine`: a linear warm-up of `warmup_steps`, then half a cosine. `one-cycle` (Smith & Topin, arXiv 1708.07120):
    up from a 25th of the peak over 0.3 of the run, then down, both by half a cosine, for larger peaks."""
    warmup_steps: int = 100
    """Steps of linear warm-up; at most a tenth of the run. Not used by `one-cycle`."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases, normalisation, learned filters, guided upsamplers and gates have none."""
    filter_learning_rate: float = 1e-2
    """Peak step size of learned filters (`model.gafl`), whose gains want larger steps than convolutions; `free` gains
    take a tenth of it."""
    upsampler_learning_rate: float = 1e-2
    """Peak step size of guided upsamplers (FeatUp's, and their controls) and of gates that start at zero. At the usual
    rate a short training moves neither."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient; 0 does not clip."""
    accumulate: int = 1
    """Batches per optimiser step."""

    def __post_init__(self) -> None:
        """Refuse numbers that no schedule has."""
        for name in ("learning_rate", "filter_learning_rate", "upsampler_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0 and finite, got {getattr(self, name)}.")
        if self.accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1, got {self.accumulate}.")
        if not 0 <= self.final_share <= 1 or min(self.warmup_steps, self.weight_decay, self.gradient_clip) < 0:
            raise ConfigError(
                "final_share lies between 0 and 1, and warmup_steps, weight_decay and gradient_clip are not negative."
            )


@config_dataclass
class Recipe:
    """Model, data treatment, loss and schedule of a run; every field can be set in a recipe's YAML and by `--set`.

    Raises:
        ConfigError: Settings out of range, or settings that contradict each other.

    Example:
        >>> recipe = segmed.Recipe(epochs=2, seed=7)
        >>> recipe.model.name, recipe.optim.learning_rate
        ('unet', 0.001)
    """

    model: ModelConfig = ModelConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentSetting = None
    """Random changes in training: the name of a preset (none, mri, lgg, colour, or reproduction: that of the reproduced
    paper), single settings, of which `preset` names those to begin with, or `auto`: what suits the data. To change one
    setting of what is `auto`, name the preset too: `augment.preset=mri`."""
    targets: Literal["nearest", "area"] = "nearest"
    """Training masks on the network's grid: `nearest` takes a pixel's label, `area` the share of its area that has it,
    which keeps edges where they are when the grid is coarser than the image. Validation is on the image's grid."""
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    sampling: SamplingConfig = SamplingConfig()
    prompting: PromptingConfig = PromptingConfig()
    """What promptable models, and those with a box channel, are asked; others do not use it."""
    objective: Literal["masks", "distil", "multiview"] = "masks"
    """What is learned: `masks`; or FeatUp's upsampler of a promptable model that encodes a smaller image, from the
    features of the run named by `start` at full size (`distil`) or by FeatUp's own objective (`multiview`)."""
    featup: FeatUpConfig = FeatUpConfig()
    """Settings of `distil` and `multiview`."""
    start: str | None = None
    """Run folder or `hf:owner/name` of the hub whose weights the training begins with; None begins as `model` says. It
    must not have seen this fold's validation or test patients."""
    train_on: Literal["train", "all"] = "train"
    """`train`: the training patients, and epoch and threshold are chosen on the validation patients. `all`: these too,
    where the settings were chosen before; nothing is validated then, and the last weights are kept."""
    threshold: float = 0.5
    """Probability from which a pixel is foreground, where nothing is validated; else it is chosen."""
    prediction: PredictionConfig = PredictionConfig()
    """Test-time augmentation and removal of small components that the run begins with; `segmed tune` may choose
    others."""
    epochs: int = 20
    """Epochs of `sampling.steps_per_epoch` batches; validation follows each."""
    ema_decay: float = 0.99
    """Decay per step, after a short start, of the averaged weights that are validated and kept; 0 for no average."""
    patience: int | None = None
    """Stop after so many epochs without a better validation Dice; None (`null` in YAML) runs to the end."""
    seed: int = 0
    """Decides weights, order and augmentation."""
    precision: Annotated[Literal["auto", "32", "bf16", "16"], BeforeValidator(_as_written)] = "auto"
    """Arithmetic: auto is what this machine does best (`segmed doctor` tells)."""
    workers: int | None = None
    """Processes that prepare batches; None is none on small machines and up to 8 beside a GPU."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.epochs < 1 or not 0 <= self.seed < 2**63:
            raise ConfigError(f"epochs must be at least 1 and seed 0 to 2^63 - 1, got {self.epochs} and {self.seed}.")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold lies between 0 and 1, got {self.threshold}.")
        if self.patience is not None and self.train_on == "all":
            raise ConfigError("patience needs a validation Dice, and train_on: all has none. Leave one of them out.")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"patience is at least 1 epoch, got {self.patience}. Use null to train to the end.")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"workers is at least 0, got {self.workers}. Use null for this machine's usual number.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay lies in [0, 1), got {self.ema_decay}.")
        if self.preprocess.channels is not None and self.preprocess.inputs != self.model.channels:
            neighbours = self.preprocess.neighbours
            slices = f" of {2 * neighbours + 1} slices, {self.preprocess.inputs} in all," if neighbours else ""
            raise ConfigError(
                f"preprocess.channels lists {len(self.preprocess.channels)} sequences{slices} but model.channels is "
                f"{self.model.channels}. Set both to the same number."
            )
        if self.model.takes_prompts and self.prediction.tta not in ONE_SIZE_TTAS:
            raise ConfigError(
                f"prediction.tta {self.prediction.tta} enlarges images; {self.model.name} with prompts reads images of "
                f"one size. Set it to {AT_ONE_SIZE[self.prediction.tta]}."
            )
        if self.model.box_channel:
            require_boxes_alone(self.prompting)


def load_recipe(
    name: str | Path, overrides: Sequence[str] = (), *, settings: Mapping[str, Any] | None = None
) -> Recipe:
    """Read a recipe, then apply overrides.

    Args:
        name: A YAML file, or the name of a recipe that comes with SegMed.
        overrides: `a.b=c` each, as `--set` takes them; values are read as YAML.
        settings: Values by key (`a.b`), taken as they are, such as paths with any signs; overrides come after them.

    Returns:
        The recipe, with a default for every setting that it does not name.

    Raises:
        ConfigError: No such recipe, or a key that is unknown or has a wrong value; the file and key are named.

    Example:
        >>> segmed.load_recipe("unet-cpu", ["epochs=3", "optim.learning_rate=0.002"]).epochs
        3
    """
    text, source = _recipe_text(name)
    values = parse_yaml(text, source=source, error=ConfigError) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: a recipe is a mapping of keys to values, got {type(values).__name__}.")
    return recipe_from_mapping(values, overrides, settings=settings, source=str(source))


def recipe_from_mapping(
    values: Mapping[str, Any], overrides: Sequence[str] = (), *, settings: Mapping[str, Any] | None = None, source: str
) -> Recipe:
    """Build a recipe from nested values, settings by key, and `a.b=c` overrides, whose values are read as YAML."""
    merged = present_settings(values)  # here too, so that an override of either name changes the same setting
    for key, setting in (settings or {}).items():
        _assign(merged, key, setting, f"{key}={setting}")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override}: expected KEY=VALUE, such as optim.learning_rate=0.001.")
        read = parse_yaml(value, source=f"--set {shortened_text(override)}", error=ConfigError)
        _assign(merged, key.strip(), read, override)
    return config_from_mapping(Recipe, merged, source=source)


def save_recipe(path: Path, recipe: Recipe) -> None:
    """Write the whole recipe, every default included, as YAML."""
    write_text(path, recipe_yaml(recipe))


def recipe_yaml(recipe: Recipe) -> str:
    """The whole recipe, every default included, as YAML."""
    return yaml.dump(config_to_mapping(recipe), Dumper=_PlainDumper, sort_keys=False)


class _PlainDumper(yaml.SafeDumper):
    """PyYAML's safe dumper without aliases, which are not read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out."""
        return True


def recipe_head(name: str | Path) -> str:
    """The comment at the head of a recipe: what it is, how it is used, what is known of it."""
    text, _ = _recipe_text(name)
    return "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))


def recipe_names() -> list[str]:
    """The recipes that come with SegMed."""
    return sorted(item.name.removesuffix(".yaml") for item in _folder().iterdir() if item.name.endswith(".yaml"))


def _folder() -> Any:
    return resources.files("segmed") / "recipes"


def _recipe_text(name: str | Path) -> tuple[str, str]:
    path = Path(name)
    try:
        if path.suffix in (".yaml", ".yml"):
            return read_text(path, what="a recipe", error=ConfigError, most=MOST_BYTES_OF_SETTINGS), str(path)
        if str(name) in recipe_names():
            return (_folder() / f"{name}.yaml").read_text(encoding="utf-8"), f"recipe {name}"
    except OSError as error:  # of the package's own
        raise ConfigError(f"{name}: the recipe cannot be read ({error.strerror}). Install SegMed again.") from error
    near = difflib.get_close_matches(str(name), recipe_names(), n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"Unknown recipe {str(name)!r}. {hint}Give a .yaml file or one of: {', '.join(recipe_names())}.")


_BEGUN_WITH: dict[str, dict[str, Any]] = {"augment": {"preset": AUTO}, "mix": PromptingConfig().mix}
"""What groups hold whose default is no group of settings with defaults of their own."""


def _assign(values: dict[str, Any], key: str, value: Any, override: str) -> None:
    path = [SETTINGS.get(part, part) for part in key.split(".")]
    for part in path[:-1]:
        if values.get(part) is None:  # a group that is off by default, such as model.gafl, is on once a key is set
            values[part] = dict(_BEGUN_WITH.get(part, {}))
        elif part == "augment" and isinstance(values[part], str):  # a preset, of which one setting is changed
            values[part] = {"preset": values[part]}
        values = values[part]
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {part} is a value, not a group of settings.")
    values[path[-1]] = value
