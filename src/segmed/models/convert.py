"""Convert checkpoints of SAM and MedSAM, once, to safetensors with what is known about them beside."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor

from segmed.core.config import config_to_mapping
from segmed.core.errors import ModelError
from segmed.core.files import sha256_of, write_json, written_aside
from segmed.layers.lora import merged_state
from segmed.layers.weight_files import require_finite
from segmed.models.checkpoint import is_run, load_run
from segmed.models.config import ModelConfig
from segmed.models.families import FAMILIES, contract_named, contracts
from segmed.models.sam.checkpoint_formats import Architecture, Source, Tensors, architecture_of
from segmed.models.sam.contract import contract_of, differences
from segmed.models.sam.key_mapping import ADDED, GAUSSIAN, OURS, SEGMENT_ANYTHING, TWIN, renamed_all
from segmed.models.sam.network import PromptableSam
from segmed.models.sam.vit import bare_vit
from segmed.models.sam.weights import Pretrained, meta_state, misfits, read_pretrained
from segmed.models.sam_config import SamConfig
from segmed.version import __version__

FORMAT = 1
Layout = Literal["transformers", "segment-anything"]


@dataclass(frozen=True)
class Converted:
    """What was recognised and written."""

    weights: Path
    note: Path
    architecture: Architecture
    format: str
    contract: str
    why: str
    left_out: tuple[str, ...]
    """Parts of a SegMed run for which SAM has no place."""


def convert(checkpoint: Path, out: Path, *, contract: str | None = None, layout: Layout = "transformers") -> Converted:
    """Write `checkpoint` as `out` (.safetensors), and what it is as JSON beside it.

    A checkpoint is a file or folder of any format in `segmed.models.sam.checkpoint_formats`, or a SegMed run. Raises
    `ModelError` for weights that are no SAM, not whole, not finite or of unknown preprocessing.
    """
    if out.suffix != ".safetensors":
        raise ModelError(f"{out}: weights are written as safetensors. Name the file {out.with_suffix('.safetensors')}.")
    if not checkpoint.exists():
        raise ModelError(f"{checkpoint}: there is no such file or folder. Check the path.")
    found, left_out = _read(checkpoint)
    tensors = found.source.tensors
    architecture = architecture_of(tensors, str(checkpoint))
    problems = misfits(renamed_all(tensors, OURS), meta_state(lambda: _plain_sam(architecture)))
    if problems:
        raise ModelError(
            f"{checkpoint}: recognised as {_named(architecture)}, but not whole; {problems}. Get it again."
        )
    require_finite(tensors, str(checkpoint))
    chosen = contract_named(contract).name if contract else found.contract
    if chosen is None:
        raise ModelError(
            f"{checkpoint}: the file does not say which preprocessing its weights were trained with. Add "
            "--contract sam (ImageNet statistics, longest side, padded) or --contract medsam (0 to 1, stretched)."
        )
    why = found.why if contract is None else "as asked"
    _write(out, tensors, layout)
    note = out.with_suffix(".json")
    write_json(note, _note(checkpoint, architecture, chosen, why, found.source.format, layout))
    return Converted(out, note, architecture, found.source.format, chosen, why, left_out)


def _read(checkpoint: Path) -> tuple[Pretrained, tuple[str, ...]]:
    if is_run(checkpoint):
        return _read_run(checkpoint)
    return read_pretrained(checkpoint, checkpoint), ()


def _read_run(folder: Path) -> tuple[Pretrained, tuple[str, ...]]:
    """A run of the family as SAM's weights: updates are merged, and what SegMed adds is left out by name."""
    run = load_run(folder)
    if not isinstance(run.model, PromptableSam) or run.model.stride != 16:
        raise ModelError(
            f"{folder}: is a run of {run.config.model.name}, which is no SAM. Give a run of sam-vit or medsam."
        )
    state = merged_state(run.model.state_dict())
    added = sorted({name.split(".")[0] for name in state if name.startswith(ADDED)})
    tensors = renamed_all({name: each for name, each in state.items() if not name.startswith(ADDED)}, OURS, back=True)
    preprocess = run.config.preprocess
    fitting = [name for name, each in contracts().items() if not differences(each.preprocess, preprocess)]
    source = Source(tensors, f"run of SegMed ({run.config.model.name})", trained_by_medsam=False)
    return Pretrained(source, fitting[0] if fitting else None, "says the run", str(folder)), tuple(added)


def _plain_sam(architecture: Architecture) -> PromptableSam:
    plain = SamConfig(size=architecture.size, vit=architecture.vit, box_map=False, promptless_tokens=0, presence=False)
    return bare_vit(ModelConfig(name="sam-vit-b", channels=architecture.channels, sam=plain))


def _named(architecture: Architecture) -> str:
    return f"{architecture.model or 'a ViT of other dimensions'} at {architecture.size} px"


def _write(out: Path, tensors: Tensors, layout: Layout) -> None:
    if layout == "segment-anything":
        written: Mapping[str, Tensor] = renamed_all(tensors, SEGMENT_ANYTHING, back=True)
    else:
        written = {**tensors, TWIN: tensors[GAUSSIAN].clone()}
    with written_aside(out) as temporary:
        save_file({name: each.contiguous() for name, each in written.items()}, temporary, metadata={"format": "pt"})


def _family(architecture: Architecture, contract: str) -> str | None:
    """The family with this ViT and this preprocessing, else the first with this ViT."""
    for name, row in FAMILIES.items():
        if row.vit == architecture.vit and row.contract is not None and row.contract.name == contract:
            return name
    return architecture.model


def _note(
    checkpoint: Path, architecture: Architecture, contract: str, why: str, form: str, layout: Layout
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "segmed": __version__,
        "model": _family(architecture, contract),
        "vit": config_to_mapping(architecture.vit),
        "size": architecture.size,
        "channels": architecture.channels,
        "layout": layout,
        "contract": contract,
        "contract_from": why,
        "preprocess": config_to_mapping(contract_of(contract, architecture.size)),
        "source": {
            "name": checkpoint.name,
            "form": form,
            "sha256": sha256_of(checkpoint) if checkpoint.is_file() else None,
        },
    }
