"""`segmed filters`: the learned filter of a run as a picture and its curve as CSV."""

from pathlib import Path
from typing import Annotated

import typer

from segmed.cli.messages import say
from segmed.cli.options import OverwriteOption, folder_option
from segmed.core.errors import ModelError
from segmed.core.files import require_new


def filters(
    run: Annotated[Path, typer.Argument(help="Run folder of a model with a learned filter.")],
    out: Annotated[Path, folder_option("Folder for filter.png and filter.csv.")],
    image: Annotated[Path | None, typer.Argument(help="An image to show before and after the filter.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Show a run's learned filter, and what it does to an image."""
    from segmed.cli.inputs import require_spacing
    from segmed.evaluation.filters import filter_figure, write_filter_curve, write_filter_picture
    from segmed.inference.filters import filter_image, filter_response, learned_filter
    from segmed.io import read_image

    require_new(out / "filter.png", out / "filter.csv", overwrite=overwrite)
    learned = learned_filter(run)
    if learned is None:
        raise ModelError(f"{run}: has no learned filter. Train one with `segmed train --gafl radial`.")
    given = None if image is None else read_image(image)
    if image is not None and given is not None:
        require_spacing(learned.preprocess, given, image, call="segmed.inference.filters.filter_image")
    views = None if given is None else filter_image(learned, given.array, given.geometry.spacing)
    response = filter_response(learned, views)
    title = (
        f"{run.resolve().name}: {learned.config.mode}, {learned.config.parametrisation}, on the {learned.config.place}"
    )
    write_filter_picture(filter_figure(learned, response, views, title=title), out / "filter.png")
    write_filter_curve(response, learned.inputs, out / "filter.csv")
    say(out / "filter.png")
    say(out / "filter.csv")
