"""Convert checkpoints of SAM, MedSAM and SAM 2, once, to safetensors with what is known about them beside."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
from segmed.models.sam.sam2_key_mapping import OURS as SECOND
from segmed.models.sam.vit import bare_vit
from segmed.models.sam.weights import Pretrained, meta_state, misfits, read_pretrained
from segmed.models.sam2.build import bare_sam2
from segmed.models.sam2.network import PromptableSam2
from segmed.models.sam2.weights import HieraArchitecture, shape_of
from segmed.models.sam_config import SamConfig
from segmed.version import __version__

FORMAT = 1
Layout = Literal["transformers", "segment-anything"]


@dataclass(frozen=True)
class Converted:
    """What was recognised and written."""

    weights: Path
    note: Path
    architecture: Architecture | HieraArchitecture
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
    second = found.source.second
    architecture = _architecture(found.source, str(checkpoint))
    if second and layout != "transformers":
        raise ModelError(
            f"{checkpoint}: is SAM 2's, whose own code also wants the parts that carry masks through a video. Write it "
            "with --layout transformers."
        )
    names = SECOND if second else OURS
    problems = misfits(renamed_all(tensors, names), meta_state(lambda: _plain(architecture)))
    if problems:
        raise ModelError(
            f"{checkpoint}: recognised as {architecture.words} at {architecture.size} px, but not whole; {problems}. "
            "Get it again."
        )
    require_finite(tensors, str(checkpoint))
    chosen = contract_named(contract).name if contract else found.contract
    if chosen is None:
        raise ModelError(
            f"{checkpoint}: the file does not say which preprocessing its weights were trained with. Add "
            "--contract sam (ImageNet statistics, longest side, padded), sam2 (the same, stretched), medsam (0 to 1, "
            "stretched) or medsam2 (0 to 1, then ImageNet statistics)."
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
    if not isinstance(run.model, PromptableSam) or run.config.model.name == "sam-tiny":
        raise ModelError(
            f"{folder}: is a run of {run.config.model.name}, which is no SAM. Give a run of sam-vit, medsam or sam2."
        )
    second = isinstance(run.model, PromptableSam2)
    state = merged_state(run.model.state_dict())
    added = sorted({name.split(".")[0] for name in state if name.startswith(ADDED)})
    own = {name: each for name, each in state.items() if not name.startswith(ADDED)}
    tensors = renamed_all(own, SECOND if second else OURS, back=True)
    preprocess = run.config.preprocess
    fitting = [name for name, each in contracts().items() if not differences(each.preprocess, preprocess)]
    source = Source(tensors, f"run of SegMed ({run.config.model.name})", trained_by_medsam=False, second=second)
    return Pretrained(source, fitting[0] if fitting else None, "says the run", str(folder)), tuple(added)


def _architecture(source: Source, place: str) -> Architecture | HieraArchitecture:
    if source.second:
        return HieraArchitecture(shape_of(source.tensors, place))
    return architecture_of(source.tensors, place)


def _plain(architecture: Architecture | HieraArchitecture) -> PromptableSam:
    """The model of this architecture without what SegMed adds."""
    plain = SamConfig(size=architecture.size, box_map=False, promptless_tokens=0, presence=False)
    if isinstance(architecture, HieraArchitecture):
        config = replace(plain, hiera=architecture.hiera)
        return bare_sam2(ModelConfig(name="sam2-tiny", channels=architecture.channels, sam=config))
    config = replace(plain, vit=architecture.vit)
    return bare_vit(ModelConfig(name="sam-vit-b", channels=architecture.channels, sam=config))


def _write(out: Path, tensors: Tensors, layout: Layout) -> None:
    if layout == "segment-anything":
        written: Mapping[str, Tensor] = renamed_all(tensors, SEGMENT_ANYTHING, back=True)
    else:
        written = {**tensors, TWIN: tensors[GAUSSIAN].clone()}
    with written_aside(out) as temporary:
        save_file({name: each.contiguous() for name, each in written.items()}, temporary, metadata={"format": "pt"})


def _family(architecture: Architecture | HieraArchitecture, contract: str) -> str | None:
    """The family with this image encoder and this preprocessing, else the first with this image encoder."""
    for name, row in FAMILIES.items():
        same = (
            row.vit == architecture.vit if isinstance(architecture, Architecture) else row.hiera == architecture.hiera
        )
        fits = architecture.model is not None and same
        if fits and row.contract is not None and row.contract.name == contract:
            return name
    return architecture.model


def _note(
    checkpoint: Path,
    architecture: Architecture | HieraArchitecture,
    contract: str,
    why: str,
    form: str,
    layout: Layout,
) -> dict[str, Any]:
    encoder = (
        {"hiera": asdict(architecture.shape)}
        if isinstance(architecture, HieraArchitecture)
        else {"vit": config_to_mapping(architecture.vit)}
    )
    return {
        "format": FORMAT,
        "segmed": __version__,
        "model": _family(architecture, contract),
        **encoder,
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
