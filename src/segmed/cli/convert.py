"""`segmed convert`: a checkpoint of SAM or MedSAM in any of its forms in; safetensors and what it is, out."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth, .safetensors, transformers folder, or SegMed run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, ending in .safetensors.")],
    contract: Annotated[
        Literal["sam", "medsam"] | None, typer.Option(help="Preprocessing, where the checkpoint does not tell.")
    ] = None,
    layout: Annotated[
        Literal["transformers", "segment-anything"], typer.Option(help="Whose names the weights get.")
    ] = "transformers",
) -> None:
    """Convert a checkpoint of SAM or MedSAM, once."""
    from segmed.models.sam.convert import convert as run

    done = run(checkpoint, out, contract=contract, layout=layout)
    found = done.architecture
    kind = found.model or f"a ViT of width {found.vit.width} and depth {found.vit.depth}"
    typer.echo(f"{checkpoint}: {kind} at {found.size} px ({done.form})", err=True)
    typer.echo(f"preprocessing: {done.contract}'s ({done.why})", err=True)
    if done.left_out:
        typer.echo(f"left out, as SAM has no place for it: {', '.join(done.left_out)}", err=True)
    typer.echo(str(done.weights))
