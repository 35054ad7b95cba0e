"""Published weights of a promptable model as a run for which nothing was trained: all that takes a run takes them.

They answer to boxes and points as they were published: what SegMed adds to SAM is left out, a single point gets the
best of SAM's three masks for it (but of MedSAM, whose training had boxes alone), and the threshold is SAM's, a logit of
0. Without a prompt they have no answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from segmed.core.config import config_to_mapping
from segmed.core.errors import ConfigError, ModelError
from segmed.core.files import emptied_on_failure, holds_files, refuse_links, require_folder, sha256_of
from segmed.core.labels import LabelMap
from segmed.core.provenance import commit, versions
from segmed.data.decoded import DecodedDataset
from segmed.data.intensities import range_note
from segmed.models.checkpoint import RunConfig, load_config, save_run
from segmed.models.config import ModelConfig
from segmed.models.families import FAMILIES, contract_named, is_published, weights_notes
from segmed.models.promptable import require_promptable
from segmed.models.sam.contract import differences
from segmed.models.sam_config import SamConfig
from segmed.models.training_facts import TrainingFacts
from segmed.models.zoo import build_model
from segmed.training.build import fit_recipe
from segmed.training.channels import repeated_note
from segmed.training.recipe import Recipe, load_recipe
from segmed.training.resume import for_sharing

PREDICTING = ("model", "preprocess", "threshold", "prediction")
"""Groups of a recipe's settings that decide how a run predicts; all others are of its training."""
AS_PUBLISHED: dict[str, object] = {
    "model.sam.trains": "decoder",
    "model.sam.box_map": False,
    "model.sam.box_prior": False,
    "model.sam.promptless_tokens": 0,
    "model.sam.presence": False,
    "model.sam.featup": "none",
    "model.sam.encode_at": None,
}
"""Settings that leave out what SegMed adds to SAM, of which published weights know nothing."""
FREE = ("model.sam.size", "model.sam.vit", "model.sam.hiera", "model.channels", "model.encoder_weights")
"""Settings of the model that published weights can have otherwise."""


@dataclass(frozen=True)
class PretrainedRun:
    """A run of published weights, and what its user should know of them, a sentence each."""

    folder: Path
    config: RunConfig
    notes: tuple[str, ...]


def pretrained_recipe(name: str, weights: str = "hub", overrides: Sequence[str] = ()) -> Recipe:
    """How the published weights of a model predict: its own recipe without what SegMed adds to SAM.

    Args:
        name: A model of `FAMILIES` whose weights are published, such as sam-vit-b or medsam.
        weights: hub, hf:owner/name, a folder or a file, as `model.encoder_weights`.
        overrides: `a.b=c` each, of `model` and `preprocess`, or the threshold or post-processing.

    Returns:
        The recipe, for `make_pretrained`.

    Raises:
        ConfigError: Another model, or a setting of what is not in the weights or of a training.

    Example:
        >>> pretrained_recipe("medsam", overrides=["preprocess.channels=[1,1,1]"]).model.sam.promptless_tokens
        0
    """
    if not is_published(name):
        known = ", ".join(each for each in FAMILIES if is_published(each))
        raise ConfigError(f"{name}: no weights of the whole model are published. Choose one of: {known}.")
    row = FAMILIES[name]
    settings = {
        "model.name": name,
        "model.encoder_weights": weights,
        **AS_PUBLISHED,
        "model.sam.multimask": not row.boxes_alone,
    }
    begun = load_recipe(row.recipe, settings=settings)
    recipe = load_recipe(row.recipe, overrides, settings=settings)
    _require_as_published(recipe, begun)
    if recipe.model.encoder_weights == "none":
        raise ConfigError("--encoder-weights none: random weights predict nothing. Give hub, a file or a folder.")
    return recipe


def make_pretrained(recipe: Recipe, out: Path, *, data: DecodedDataset | None = None) -> PretrainedRun:
    """Write the run folder of published weights: the weights and the config, as nothing else belongs to it.

    Args:
        recipe: What `pretrained_recipe` gave.
        out: Where to; a new or empty folder.
        data: Decides which channels are read, the label's name and what is black and white, as for a training. Without
            it the first three channels are read, and intensities are scaled by those of each volume.

    Returns:
        The folder, its config, and what to tell the user.

    Raises:
        ConfigError: The folder holds files, or the sizes of network and preprocessing differ.
        DataError: Images that lack a channel, or symbolic links on the way.
        ModelError: Weights that cannot be had, do not fit, or are of another preprocessing.

    Example:
        make_pretrained(pretrained_recipe("medsam", "medsam.safetensors"), Path("runs/medsam-published"))
    """
    require_folder(out)
    refuse_links(out)
    if holds_files(out):
        raise ConfigError(f"{out}: already holds files. Choose an empty or new folder.")
    reads_all = recipe.preprocess.channels is None
    if data is not None:
        recipe = fit_recipe(recipe, data)
    side = (recipe.model.sam or SamConfig()).size
    if recipe.preprocess.size != (side, side):
        raise ConfigError(
            f"model.sam.size is {side}, and preprocess.size {recipe.preprocess.size}. Set preprocess.size to "
            f"[{side}, {side}]."
        )
    model = build_model(recipe.model)
    contract = require_promptable(model).contract
    _require_contract(recipe, contract)
    weights = Path(recipe.model.encoder_weights).expanduser()
    shared = for_sharing(recipe).model
    told = {"weights": shared.encoder_weights, "sha256": sha256_of(weights) if weights.is_file() else None}
    config = RunConfig(
        model=shared,
        preprocess=recipe.preprocess,
        labels=LabelMap() if data is None else data.dataset.labels,
        threshold=recipe.threshold,
        in_colour=data is not None and data.in_colour,
        labels_by_headers=data is not None and data.dataset.labels_by_headers,
        training=TrainingFacts(
            as_published=True,
            mask_prompts=not FAMILIES[recipe.model.name].boxes_alone,
            others={"published": told, "contract": contract, "commit": commit(), "versions": versions()},
        ),
        prediction=recipe.prediction,
    )
    with emptied_on_failure(out):
        save_run(out, model.eval(), config)
    notes = (
        *weights_notes(recipe.model.name, recipe.model.encoder_weights),
        *_contract_notes(recipe, contract),
        range_note(recipe.preprocess),
        repeated_note(recipe) if reads_all else None,
    )
    return PretrainedRun(out, config, tuple(filter(None, notes)))


def require_same_pretrained(run: Path, recipe: Recipe, data: DecodedDataset) -> None:
    """Raise `ConfigError` where a run of published weights was made by other settings than these."""
    found, _ = load_config(run)
    fitted = fit_recipe(recipe, data)
    wanted = RunConfig(for_sharing(fitted).model, fitted.preprocess, data.dataset.labels, fitted.threshold)
    if (found.model, found.preprocess, found.threshold) != (wanted.model, wanted.preprocess, wanted.threshold):
        raise ConfigError(f"{run}: was made with other settings. Remove it, or give the same.")


def _require_as_published(recipe: Recipe, begun: Recipe) -> None:
    """Raise `ConfigError` for settings of what published weights do not have, or of a training."""
    for field in fields(Recipe):
        if field.name not in PREDICTING and getattr(recipe, field.name) != getattr(begun, field.name):
            raise ConfigError(
                f"--set {field.name}: is of a training, and published weights are taken as they are. Set keys of "
                f"{', '.join(PREDICTING)} alone."
            )
    if recipe.prediction.tta != "none":
        raise ConfigError(
            "--set prediction.tta: published weights have no test-time augmentation, as each mirror image could choose "
            "another mask. Leave it out."
        )
    for key, plain in {"neighbours": 0, "spacing": None}.items():
        if getattr(recipe.preprocess, key) != plain:
            raise ConfigError(
                f"--set preprocess.{key}: published weights read single slices, stretched or padded to one size. Leave "
                "it out."
            )
    now, before = ({f"model.{key}": value for key, value in _flat(each.model).items()} for each in (recipe, begun))
    changed = [key for key in now if key not in FREE and now[key] != before[key]]
    if changed:
        raise ConfigError(
            f"--set {changed[0]}: is not in published weights as they are. Leave it out, or train with it by "
            f"`segmed train {FAMILIES[begun.model.name].recipe}`."
        )


def _flat(model: ModelConfig) -> dict[str, object]:
    """A model's settings, those of `sam` as `sam.key`."""
    values = config_to_mapping(model)
    return {**{f"sam.{key}": value for key, value in (values.pop("sam") or {}).items()}, **values}


def _require_contract(recipe: Recipe, contract: str | None) -> None:
    """Raise `ModelError` for weights that were trained on images prepared as another model's were."""
    own = FAMILIES[recipe.model.name].contract
    if contract is None or own is None or contract == own.name:
        return
    fitting = [name for name, row in FAMILIES.items() if row.contract is not None and row.contract.name == contract]
    raise ModelError(
        f"{recipe.model.encoder_weights}: holds weights of {contract_named(contract).title}, whose images were "
        f"prepared otherwise than those of {recipe.model.name}. Choose {' or '.join(fitting)}."
    )


def _contract_notes(recipe: Recipe, contract: str | None) -> Iterator[str]:
    """What to say where nothing tells how the weights' images were prepared, or the settings have it otherwise."""
    own, side = FAMILIES[recipe.model.name].contract, (recipe.model.sam or SamConfig()).size
    if own is None:
        return
    if side != own.side:
        yield f"{own.title} was trained on images of {own.side} px, and reads {side} px here: expect worse masks."
    if different := differences(own.preprocess, recipe.preprocess):
        told = ", preprocess.".join(different)
        yield f"{own.title} was trained on images of preprocess.{told}; here it is otherwise."
    if contract is None:
        yield f"Nothing tells how the images of these weights were prepared. Taken for {own.title}'s."
