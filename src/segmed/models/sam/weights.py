"""Pre-trained weights of the SAM family: found by name, brought to the model's size, and checked name by name."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ModelError
from segmed.core.reading import read_json
from segmed.layers.weight_files import of_another_type, require_finite
from segmed.models.families import FAMILIES, MEDSAM, SAM, contracts
from segmed.models.hub import PREFIX, fetched, hub_id
from segmed.models.sam.checkpoint_formats import Source, Tensors, architecture_of, read_source
from segmed.models.sam.contract import contract_by_name
from segmed.models.sam.key_mapping import ADDED, OURS, Rows, renamed_all

PROCESSOR = "preprocessor_config.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretrained:
    """Weights to start from, and the preprocessing that belongs to them, if known."""

    source: Source
    contract: str | None
    why: str
    """What tells the contract."""
    place: str


def find_weights(wanted: str, model: str) -> Pretrained:
    """The weights that `ModelConfig.encoder_weights` names for a model of the family.

    Raises `ModelError` for unknown names and weights out of reach, with what to do.
    """
    own, file = FAMILIES[model].hub, FAMILIES[model].file
    if wanted == "hub" and own is None:
        raise ModelError(f"{model} has no weights on the hub. Give a file, a folder, or none for random weights.")
    name = own if wanted == "hub" else hub_id(wanted)
    if name is not None:
        folder = _downloaded(name, model, file if name == own else None)
        return read_pretrained(folder, name)
    path = Path(wanted).expanduser()
    if not path.exists():
        there = f"hub ({own}), " if own is not None else ""
        raise ModelError(
            f"{model} has no weights {wanted!r}, and there is no such file or folder. Give {there}another "
            f"model of the hub as {PREFIX}owner/name, a file made by `segmed convert`, a folder of transformers, or "
            "none for random weights."
        )
    return read_pretrained(path, path)


def read_pretrained(path: Path, place: str | Path) -> Pretrained:
    """Read weights and tell their contract from the file made beside them, their format, processor or name.

    The copy of MedSAM on the hub ships SAM's processor by mistake: then the name decides, and a warning says so.
    """
    source = read_source(path)
    contract, why = _contract(path, place, source)
    return Pretrained(source, contract, why, str(place))


def fit_weights(tensors: Tensors, model: nn.Module, place: str, *, names: Rows = OURS) -> None:
    """Put weights under transformers' names into a `PromptableSam`, with positions brought to its size.

    `names` are beginnings of names in transformers and in the model. What SegMed adds to SAM stays as it is. Raises
    `ModelError` that lists all that is missing, unexpected or misshapen, and for weights that are not finite.
    """
    own = model.state_dict()
    found = with_positions_of(own, renamed_all(tensors, names))
    problems = misfits(found, own)
    if problems:
        raise ModelError(f"{place}: these weights do not fit the model; {problems}. Use the model they were made for.")
    require_finite(found, place)
    model.load_state_dict(found, strict=False)


def misfits(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What is missing, unexpected or of another shape, in words; empty where all is well."""
    needed = {name for name in own if not name.startswith(ADDED) and ".lora_" not in name}
    groups = {
        "missing": sorted(needed - found.keys()),
        "unexpected": sorted(found.keys() - own.keys()),
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(own[name].shape)}"
            for name in sorted(found.keys() & own.keys())
            if found[name].shape != own[name].shape
        ],
        "of another type": of_another_type(own, found),
    }
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names)


def require_same_architecture(pretrained: Pretrained, vit: Any, channels: int, model: str) -> None:
    """Raise `ModelError` where weights are of another image encoder than the model's, naming the right model."""
    if pretrained.source.second:
        raise ModelError(f"{pretrained.place}: these weights are SAM 2's, not those of {model}. Use --model sam2-tiny.")
    found = architecture_of(pretrained.source.tensors, pretrained.place)
    if found.vit != vit:
        right = f"--model {found.model}" if found.model else f"model.sam.vit={_plain(found.vit)}"
        raise ModelError(f"{pretrained.place}: these weights are not those of {model}. Use {right}.")
    if found.channels != channels:
        raise ModelError(
            f"{pretrained.place}: reads {found.channels} channels, the model {channels}. Set model.channels to "
            f"{found.channels} and preprocess.channels to as many; one sequence can be named several times."
        )


def resized_position(position: Float[Tensor, "1 g g c"], cells: int) -> Float[Tensor, "1 h h c"]:
    """Absolute positions for another grid: bicubic, averaged where the grid gets coarser; unchanged for the same."""
    if position.shape[1] == cells:
        return position
    moved = functional.interpolate(
        position.permute(0, 3, 1, 2).float(), (cells, cells), mode="bicubic", align_corners=False, antialias=True
    )
    return moved.permute(0, 2, 3, 1).contiguous().to(position.dtype)


def resized_relative(relative: Float[Tensor, "n c"], length: int) -> Float[Tensor, "m c"]:
    """Relative positions of global attention for another reach, linear, as SAM's code does at run time."""
    if len(relative) == length:
        return relative
    moved = functional.interpolate(relative.T[None].float(), length, mode="linear", align_corners=False)
    return moved[0].T.contiguous().to(relative.dtype)


def with_positions_of(own: Mapping[str, Tensor], found: Tensors) -> Tensors:
    """Weights with a ViT's positions brought to the size of `own`; windows keep their reach, so that only global layers
    change. What is of another shape otherwise stays so."""
    found = dict(found)
    for name, tensor in found.items():
        wanted = own.get(name)
        if wanted is None or not name.endswith((".pos_embed", ".rel_pos_h", ".rel_pos_w")):
            continue
        if tensor.shape == wanted.shape:  # also SAM 2's positions, which are stretched where they are used
            continue
        if tensor.ndim != wanted.ndim or tensor.shape[-1] != wanted.shape[-1]:
            continue  # of another network: listed by who asked
        is_absolute = name.endswith(".pos_embed")
        found[name] = (
            resized_position(tensor, wanted.shape[1]) if is_absolute else resized_relative(tensor, len(wanted))
        )
    return found


@dataclass(frozen=True)
class _Processor:
    """What is read of transformers' settings of a processor."""

    do_normalize: bool = True


def _contract(path: Path, place: str | Path, source: Source) -> tuple[str | None, str]:
    note = path.with_suffix(".json")
    if path.is_file() and note.is_file():
        said = read_json(note, object, what="what `segmed convert` wrote", error=ModelError)
        contract = said.get("contract") if isinstance(said, dict) else None
        if isinstance(contract, str) and contract in contracts():
            return contract, f"says {note.name}"
    named = contract_by_name(place) or contract_by_name(path)
    processor = path / PROCESSOR
    if processor.is_file():
        shipped = (SAM if _normalises(processor) else MEDSAM).name
        if named == MEDSAM.name and shipped == SAM.name:
            log.warning(
                "%s is MedSAM with SAM's preprocessing beside it (ImageNet statistics), which MedSAM was not trained "
                "on. MedSAM's own is used: percentile clip, 0 to 1, stretched to the square, bicubic.", place,
            )  # fmt: skip
            return MEDSAM.name, f"MedSAM by its name; SAM's {PROCESSOR} beside it is a known mistake"
        return shipped, f"says {PROCESSOR}"
    if source.trained_by_medsam:
        return MEDSAM.name, "the format is that of MedSAM's training script"
    return named, "by the name" if named else "nothing tells"


def _normalises(processor: Path) -> bool:
    return read_json(processor, _Processor, what="a processor's settings", error=ModelError).do_normalize


def _downloaded(name: str, model: str, file: str | None) -> Path:
    """The model's folder, or `file`, in the hub's cache, fetched once; raises `ModelError` with the way by hand."""
    beside = ["config.json", PROCESSOR]
    try:
        if file is not None:
            return fetched(name, files=[file]) / file
        folder = fetched(name, files=["model*.safetensors", *beside])
        if not list(folder.glob("model*.safetensors")):
            folder = fetched(name, files=["pytorch_model*.bin", *beside])
    except OSError as error:
        raise ModelError(
            f"The weights {name} of {model} are not here and the hub cannot be reached. On a machine that is connected "
            f"run `hf download {name} --local-dir {name.rpartition('/')[2]}`, copy the folder here and pass it as "
            "--encoder-weights FOLDER; or start from random weights with --encoder-weights none."
        ) from error
    return folder


def _plain(vit: Any) -> str:
    from segmed.core.config import config_to_mapping

    return str({key: value for key, value in config_to_mapping(vit).items() if value is not None}).replace("'", "")


def meta_state(build: Any) -> dict[str, Tensor]:
    """The state of a model that `build()` makes, shapes alone, without memory for its weights."""
    with torch.device("meta"):
        state: dict[str, Tensor] = build().state_dict()
    return state
