"""Figures of the paper, and published numbers on LGG: set beside the tables, never ranked with them."""

from collections.abc import Iterable
from dataclasses import dataclass

from segmed.data.layouts.lgg import are_of_tcga


@dataclass(frozen=True)
class Reported:
    """What the paper has of a network: an IoU, and the last losses on training and validation part."""

    title: str
    iou: float
    losses: tuple[float, float] | None = None
    epochs: int = 7
    baseline: bool = True
    """Whether it is one of the dense networks, which the paper compares."""


REPORTED = {
    "deeplabv3plus": Reported("DeepLabV3+", 0.8741, (1.6634, 1.6662)),
    "unet": Reported("U-Net", 0.8517, (1.6691, 1.6712)),
    "unetplusplus": Reported("U-Net++", 0.8268, (1.6730, 1.6750)),
    "deeplabv3": Reported("DeepLabV3", 0.7986, (1.6646, 1.6700)),
    "pan": Reported("PAN", 0.7970, (1.6656, 1.6683)),
    "sam-reproduction": Reported("SAM, decoder only, focal loss", 0.644, epochs=5, baseline=False),
}
"""In the order of the paper's table, by the names of the study's rows."""


@dataclass(frozen=True)
class PublishedResult:
    """One published result."""

    who: str
    what: str
    value: str
    protocol: str


PUBLISHED = (
    PublishedResult(
        "Buda, Saha and Mazurowski 2019", "U-Net, FLAIR and neighbouring slices", "mean 0.82, median 0.85",
        "volumetric Dice by patient, 22-fold cross-validation over 110 patients, largest component",
    ),
    PublishedResult(
        "the same authors' project page", "revised U-Net", "mean 0.836, median 0.873",
        "volumetric Dice by patient, 22-fold cross-validation; not peer-reviewed",
    ),
    PublishedResult(
        "two expert readers, same page", "one against the other", "0.84 ± 0.02",
        "Dice; systems above about 0.88 should be searched for leaks first",
    ),
)  # fmt: skip

INTERPOLATION_ON_LGG = 0.698
"""Pooled IoU of interpolating neighbours' masks without the image, on 110 patients split by slice as in the paper."""
PAPER_LOSS = (1.66, 0.01)
"""Where the double sigmoid makes the loss settle on LGG, and how near."""
TO_BEAT = {"iou_pooled": 0.874, "iou_positive_slices": 0.75, "iou_per_image_empty_one": 0.92}
"""What beats every figure of the paper under each variant that can be computed."""


def is_lgg(patients: Iterable[str]) -> bool:
    """Whether these are patients of TCGA-LGG by their ids, which is what all of the above is about."""
    return are_of_tcga(patients)
