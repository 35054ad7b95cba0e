"""`segmed train`: a recipe, a data set and a split in; a complete run folder out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from segmed.cli.opening import PatientRegex


def train(
    data: Annotated[Path, typer.Option(help="Kaggle-layout folder, images/ + masks/, FairSeg npz, or a manifest.")],
    split: Annotated[Path, typer.Option(help="Split made by `segmed data split`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")],
    recipe: Annotated[str, typer.Argument(help="A recipe's name or YAML file.")] = "default",
    fold: Annotated[int, typer.Option(help="Fold of the split, from 0.")] = 0,
    model: Annotated[str | None, typer.Option(help="Model: unet, unetplusplus, pan, deeplabv3, ...")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder: efficientnet-b5, resnet18, tu-..., ...")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="imagenet; hub, a file or a folder (SAM, MedSAM); none for random weights.")
    ] = None,
    upsampler: Annotated[
        str | None, typer.Option(help="interpolate, or jbu: a U-Net decoder guided by the image.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Slices per step and device.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    gafl: Annotated[
        str | None, typer.Option(help="A learned filter on the input: radial, free, lowrank, or none.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any recipe key: a.b=value. Repeatable.")] = None,
    labels: Annotated[str | None, typer.Option(help="Mask values, such as background=0,tumour=255.")] = None,
    patient_regex: PatientRegex = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu or mps.")] = "auto",
    devices: Annotated[int, typer.Option(help="Devices on each node.")] = 1,
    nodes: Annotated[int, typer.Option(help="Nodes; start the same command on each.")] = 1,
    strategy: Annotated[str, typer.Option(help="auto or ddp.")] = "auto",
    embeddings: Annotated[Path | None, typer.Option(help="Cache made by `segmed embed`.")] = None,
    start: Annotated[str | None, typer.Option(help="Run whose weights training begins with.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard files too.")] = False,
) -> None:
    """Train a model and leave a complete run folder."""
    from segmed.cli.opening import open_decoded, open_split
    from segmed.cli.progress import training_display
    from segmed.training import Hardware
    from segmed.training import train as run

    chosen = chosen_recipe(
        recipe, set_, model=model, encoder=encoder, encoder_weights=encoder_weights, upsampler=upsampler,
        epochs=epochs, batch_size=batch_size, seed=seed, gafl=gafl, start=start,
    )  # fmt: skip
    cache = opened_cache(embeddings, chosen)
    plan = open_split(split)
    decoded = open_decoded(data, labels, patient_regex)
    with training_display() as listener:
        run(
            chosen,
            data=decoded,
            split=plan,
            out=out,
            fold=fold,
            resume=resume,
            listener=listener,
            hardware=Hardware(accelerator=accelerator, devices=devices, nodes=nodes, strategy=strategy),
            tensorboard=tensorboard,
            embeddings=cache,
        )
    typer.echo(str(out))


def opened_cache(folder: Path | None, recipe: Any) -> Any:
    """The embedding cache in a folder; without one, a line on stderr where the recipe could train from a cache."""
    from segmed.data.embeddings import EmbeddingCache
    from segmed.training.cached import cache_hint, require_cacheable

    if folder is not None:
        require_cacheable(recipe)
        return EmbeddingCache(folder)
    hint = cache_hint(recipe)
    if hint is not None:
        typer.echo(hint, err=True)
    return None


def chosen_recipe(name: str, overrides: list[str] | None, **options: Any) -> Any:
    """The named recipe with options and `--set` applied; `default` is a recipe of defaults.

    A promptable model without a recipe gets its own: it needs the size and preprocessing that it was made for.
    """
    from segmed.models.zoo import PROMPTABLE
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
    if options.get("gafl") == "none":
        keys["gafl"], options["gafl"] = "model.gafl", "null"
    given = [f"{keys[option]}={value}" for option, value in options.items() if value is not None]
    everything = [*given, *(overrides or [])]
    if name == "default" and options.get("model") in PROMPTABLE:
        name = recipe_of(options["model"])
    if name == "default":
        return recipe_from_mapping({}, everything, source="options")
    return load_recipe(name, everything)


def recipe_of(model: str) -> str:
    """The recipe of a promptable model; SAM's larger ones share that of ViT-B."""
    from segmed.training.recipe import recipe_names

    return model if model in recipe_names() else "sam-vit-b"
