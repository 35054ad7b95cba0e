"""`segmed train`: a recipe, a data set and a split in; a complete run folder out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segmed.cli.messages import say
from segmed.cli.options import (
    DATA_HELP,
    AcceleratorOption,
    DevicesOption,
    EmbeddingsOption,
    EncoderOption,
    EncoderWeightsOption,
    EpochsOption,
    FoldOption,
    GaflOption,
    LabelsOption,
    ModelOption,
    PatientRegexOption,
    RecipeArgument,
    ResumeOption,
    RunOutOption,
    SeedOption,
    SetOption,
    SplitOption,
    StartOption,
    StepSlicesOption,
    UpsamplerOption,
)

if TYPE_CHECKING:
    from segmed.data.embeddings import EmbeddingCache
    from segmed.training.recipe import Recipe


def train(
    data: Annotated[Path, typer.Option(help=DATA_HELP)],
    split: SplitOption,
    out: RunOutOption,
    recipe: RecipeArgument = "default",
    fold: FoldOption = 0,
    model: ModelOption = None,
    encoder: EncoderOption = None,
    encoder_weights: EncoderWeightsOption = None,
    upsampler: UpsamplerOption = None,
    epochs: EpochsOption = None,
    batch_size: StepSlicesOption = None,
    seed: SeedOption = None,
    gafl: GaflOption = None,
    set_: SetOption = None,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    resume: ResumeOption = False,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes; start the same command on each.")] = 1,
    strategy: Annotated[Literal["auto", "ddp"], typer.Option(help="How several devices share the work.")] = "auto",
    embeddings: EmbeddingsOption = None,
    start: StartOption = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard files too.")] = False,
) -> None:
    """Train a model and leave a complete run folder.

    `segmed train unet` trains the recipe of that name. Without a recipe every setting has its default, those of a
    U-Net, and `--model pan` changes the model alone: that is another training than the recipe `pan`. A promptable
    model without a recipe gets the recipe that fits it.
    """
    from segmed.cli.inputs import open_decoded, open_split
    from segmed.cli.progress import training_display
    from segmed.training import Hardware
    from segmed.training import train as run
    from segmed.training.engine import is_first_process, require_tensorboard

    if tensorboard:
        require_tensorboard()
    chosen = chosen_recipe(
        recipe, set_, model=model, encoder=encoder, encoder_weights=encoder_weights, upsampler=upsampler,
        epochs=epochs, batch_size=batch_size, seed=seed, gafl=gafl, start=start,
    )  # fmt: skip
    cache = opened_cache(embeddings, chosen)
    plan = open_split(split)
    decoded = open_decoded(data, labels, patient_regex, plane=chosen.preprocess.plane)
    with training_display() as callbacks:
        run(
            chosen,
            data=decoded,
            split=plan,
            out=out,
            fold=fold,
            resume=resume,
            callbacks=callbacks,
            hardware=Hardware(accelerator=accelerator, devices=devices, nodes=nodes, strategy=strategy),
            tensorboard=tensorboard,
            embeddings=cache,
        )
    if is_first_process():
        say(out)


def opened_cache(folder: Path | None, recipe: "Recipe") -> "EmbeddingCache | None":
    """The embedding cache in a folder; without one, a line on stderr where the recipe could train from a cache."""
    from segmed.data.embeddings import EmbeddingCache
    from segmed.training.cached import cache_hint, require_cacheable
    from segmed.training.engine import is_first_process

    if folder is not None:
        require_cacheable(recipe)
        return EmbeddingCache(folder)
    hint = cache_hint(recipe)
    if hint is not None and is_first_process():
        say(hint, err=True)
    return None


def chosen_recipe(name: str, overrides: list[str] | None, **options: object) -> "Recipe":
    """The named recipe with options and `--set` applied; `default` is a recipe of defaults.

    A promptable model without a recipe gets its own: it needs the size and preprocessing that it was made for.
    """
    from segmed.models.families import FAMILIES
    from segmed.training.recipe import load_recipe, recipe_from_mapping

    keys = {
        "model": "model.name",
        "encoder": "model.encoder",
        "encoder_weights": "model.encoder_weights",
        "upsampler": "model.upsampler",
        "epochs": "epochs",
        "batch_size": "sampling.batch_size",
        "seed": "seed",
        "gafl": "model.gafl.parametrisation",
        "start": "start",
    }
    given = {keys[option]: value for option, value in options.items() if value is not None}
    if given.get(keys["gafl"]) == "none":
        del given[keys["gafl"]]
        given["model.gafl"] = None
    model = options.get("model")
    if name == "default" and isinstance(model, str) and model in FAMILIES:
        name = FAMILIES[model].recipe
    if name == "default":
        return recipe_from_mapping({}, overrides or (), settings=given, source="options")
    return load_recipe(name, overrides or (), settings=given)
