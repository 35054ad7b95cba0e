"""`segmed features`: a picture of what FeatUp does to a run's features."""

from pathlib import Path
from typing import Annotated

import typer


def features(
    run: Annotated[str, typer.Argument(help="Run folder, or a hub id owner/name, of a model with FeatUp.")],
    image: Annotated[Path, typer.Argument(help="One image file.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="PNG file to write.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Draw a run's features before and after FeatUp.

    Four panels: the image, the low-resolution features, the same raised by bilinear interpolation, and by FeatUp.
    Colours are three principal components of the low-resolution features, the same for all panels.
    """
    from segmed.core.files import written_aside
    from segmed.inference import load
    from segmed.inference.features import draw_features, feature_panels
    from segmed.io import read_image

    predictor = load(run, device=device)
    panels = feature_panels(predictor, read_image(image).array)
    with written_aside(out) as temporary:
        draw_features(panels, Path(run).name).savefig(temporary, dpi=110, format="png")
    typer.echo(str(out))
