"""`segmed predict`: masks for new images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.opening import TtaOption, parse_tta
from segmed.cli.progress import progress_bar

if TYPE_CHECKING:
    from segmed.core.image import Image, Mask


def predict(
    run: Annotated[str, typer.Argument(help="Run folder, or a hub id owner/name.")],
    input_: Annotated[Path, typer.Argument(metavar="INPUT", help="Image, folder, data set or manifest.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder for the masks.")],
    overlays: Annotated[bool, typer.Option("--overlays", help="Write each image with the mask's contour too.")] = False,
    volumes: Annotated[bool, typer.Option("--volumes", help="Each sub-folder is one volume.")] = False,
    tta: TtaOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Slices at a time.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write the masks a trained model predicts."""
    from segmed.inference import load
    from segmed.inference.files import find_inputs, predict_files

    inputs = find_inputs(input_, volumes=volumes)
    predictor = load(run, device=device, tta=parse_tta(tta))
    with progress_bar("predicting") as progress:
        outcome = predict_files(
            predictor, inputs, out, batch_size=batch_size, draw=write_overlay if overlays else None, progress=progress
        )
    typer.echo(f"{len(outcome.written)} masks in {out}")
    for _, reason in outcome.failures:
        typer.secho(f"skipped: {reason}", fg="red", err=True)
    if outcome.failures:
        raise typer.Exit(2)


def write_overlay(path: Path, image: "Image", mask: "Mask") -> None:
    """Write an image with its mask's contour as PNG."""
    from segmed.core.files import written_aside
    from segmed.evaluation.overlays import overlay, png_bytes

    with written_aside(path) as temporary:
        temporary.write_bytes(png_bytes(overlay(image.array, None, mask.array, scale=2, thickness=2)))
