"""`segmed convert`: a checkpoint of SAM, MedSAM, SAM 2 or an encoder in any of its formats in; safetensors out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from segmed.cli.messages import say
from segmed.cli.options import OverwriteOption
from segmed.core.files import require_new


def _known_contract(name: str | None) -> str | None:
    """The name of a contract of `FAMILIES`; any other is a usage error."""
    if name is not None:
        from segmed.models.families import contracts

        if name not in contracts():
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, contracts()))}.")
    return name


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth, .safetensors, transformers folder, or SegMed run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, ending in .safetensors.")],
    contract: Annotated[
        str | None,
        typer.Option(
            help="Preprocessing, where the checkpoint does not tell: sam, sam2, medsam or medsam2.",
            callback=_known_contract,
        ),
    ] = None,
    layout: Annotated[
        Literal["transformers", "segment-anything"] | None,
        typer.Option(help="Whose names the weights get; transformers' where it is left out."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="The checkpoint is this dense encoder's, such as resnet18 or tu-...")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert a checkpoint of SAM, MedSAM or SAM 2, once.

    With --encoder, one of a dense model's encoder: a state dict of timm, torchvision, segmentation_models_pytorch or
    EfficientNet-PyTorch.
    """
    if encoder is not None and (contract is not None or layout is not None):
        given = "--contract" if contract is not None else "--layout"
        raise typer.BadParameter(f"{given} is of SAM's checkpoints, not of an encoder's (--encoder). Leave one out.")
    require_new(*((out,) if encoder is not None else (out, out.with_suffix(".json"))), overwrite=overwrite)
    if encoder is not None:
        _convert_encoder(checkpoint, out, encoder)
        return
    from segmed.models.convert import convert as run

    done = run(checkpoint, out, contract=contract, layout=layout or "transformers")
    found = done.architecture
    say(f"{checkpoint}: {found.words} at {found.size} px ({done.format})", err=True)
    say(f"preprocessing: {done.contract}'s ({done.why})", err=True)
    if done.left_out:
        say(f"left out, as SAM has no place for it: {', '.join(done.left_out)}", err=True)
    say(done.weights)


def _convert_encoder(checkpoint: Path, out: Path, encoder: str) -> None:
    from segmed.models.dense import build_encoder
    from segmed.models.encoder_weights import convert_encoder

    left_out = convert_encoder(checkpoint, out, build_encoder(encoder), name=encoder)
    say(f"{checkpoint}: {encoder}; left out, as an encoder has no place for them: {left_out} tensors", err=True)
    say(out)
