"""The report's pictures of learned filters, for the runs that have one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmed.evaluation.filters import filter_figure, png_of
from segmed.evaluation.report.patients import Pictures, data_address, example_slice
from segmed.evaluation.result import Evaluation
from segmed.inference.filters import filter_image, filter_response, learned_filter


@dataclass(frozen=True)
class FilterPicture:
    """A run's filter as a data address, and what it is in words."""

    system: str
    place: int
    source: str
    text: str


def filter_pictures(
    systems: Sequence[Evaluation], runs: Mapping[str, Path], pictures: Pictures | None
) -> tuple[FilterPicture, ...]:
    """A picture per run with a filter, on the largest slice of the leader's median patient if images are at hand.

    A filter that follows the image is left out where there is none.
    """
    found = []
    for place, system in enumerate(systems):
        learned = learned_filter(runs[system.name]) if system.name in runs else None
        if learned is None or (pictures is None and not learned.layer.linear):
            continue
        views = None
        if pictures is not None and learned.inputs:
            slice_id = example_slice(systems[0])
            views = filter_image(learned, pictures.image(slice_id), pictures.spacing(slice_id))
        elif not learned.layer.linear:
            continue
        config = learned.config
        text = (
            f"{config.mode}, {config.parametrisation}{', adaptive' if config.adaptive else ''}, on the {config.place}"
        )
        picture = png_of(filter_figure(learned, filter_response(learned, views), views, title=text))
        found.append(FilterPicture(system.name, place, data_address(picture), text))
    return tuple(found)
