"""The report's pictures of features before and after FeatUp, for the runs that have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmed.evaluation.filters import png_of
from segmed.evaluation.report.patients import Pictures, data_address, example_slice
from segmed.evaluation.result import Evaluation
from segmed.inference import Predictor, load
from segmed.inference.features import draw_features, feature_panels
from segmed.models.checkpoint import CONFIG, load_config
from segmed.models.config import ModelConfig


@dataclass(frozen=True)
class FeaturePicture:
    """A run's features as a data address, and the share of their variance that the colours show."""

    system: str
    place: int
    source: str
    kept: float


def feature_pictures(
    systems: Sequence[Evaluation], runs: Mapping[str, Path], pictures: Pictures | None
) -> tuple[FeaturePicture, ...]:
    """A picture per run with FeatUp, on the largest slice of the leader's median patient; none without images.

    Controls of FeatUp raise nothing by the image and are not drawn.
    """
    found = []
    for place, system in enumerate(systems):
        if pictures is None or system.name not in runs or not _has_featup(runs[system.name]):
            continue
        predictor = load(runs[system.name], device="cpu")
        if not isinstance(predictor, Predictor):
            continue
        slice_id = example_slice(systems[0])
        panels = feature_panels(predictor, pictures.image(slice_id), spacing=pictures.spacing(slice_id))
        picture = png_of(draw_features(panels, system.name))
        found.append(FeaturePicture(system.name, place, data_address(picture), panels.kept))
    return tuple(found)


def _has_featup(run: Path) -> bool:
    """Whether the folder is a finished run whose network upsamples features by the image."""
    return (run / CONFIG).is_file() and _raises_by_image(load_config(run)[0].model)


def _raises_by_image(model: ModelConfig) -> bool:
    sam = model.sam
    in_sam = sam is not None and (sam.featup == "jbu" or (sam.encode_at is not None and sam.encode_upsampler == "jbu"))
    return model.upsampler == "jbu" or in_sam
