"""`segmed features`: a picture of what FeatUp does to a run's features."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import say
from segmed.cli.options import DeviceOption, OverwriteOption
from segmed.core.errors import ConfigError


def features(
    run: Annotated[str, typer.Argument(help="Run folder, or a hub model hf:owner/name, of a model with FeatUp.")],
    image: Annotated[Path, typer.Argument(help="One image file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture: .png, .pdf, .svg or .jpg.")],
    implicit: Annotated[
        bool, typer.Option("--implicit", help="Also fit FeatUp's implicit variant to this image. Slow.")
    ] = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Draw a run's features before and after FeatUp.

    Four panels: the image, the low-resolution features, the same upsampled by bilinear interpolation, and by FeatUp.
    Colours are three principal components of the low-resolution features, the same for all panels. --implicit adds a
    fifth, fitted to this image alone, for runs that encode a smaller image.
    """
    from segmed.cli.inputs import require_spacing
    from segmed.cli.progress import progress_bar
    from segmed.core.files import require_new, written_aside
    from segmed.inference import Predictor, load
    from segmed.inference.features import draw_features, feature_panels
    from segmed.io import read_image
    from segmed.io.figures import picture_format, save_figure

    picture_format(out)
    require_new(out, overwrite=overwrite)
    predictor = load(run, device=device)
    if not isinstance(predictor, Predictor):
        raise ConfigError(f"{run}: several networks, whose features are their own. Name one of its runs.")
    given = read_image(image)
    require_spacing(predictor.config.preprocess, given, image, call="segmed.inference.features.feature_panels")
    if implicit:
        from segmed.training.implicit import fit_implicit

        with progress_bar("fitting") as progress:
            panels = feature_panels(
                predictor,
                given.array,
                lambda model, read: fit_implicit(model, read, progress=progress),
                spacing=given.geometry.spacing,
            )
    else:
        panels = feature_panels(predictor, given.array, spacing=given.geometry.spacing)
    with written_aside(out) as temporary:
        save_figure(draw_features(panels, Path(run).name), temporary, dpi=110)
    say(out)
