"""What the metrics are called in tables, how they are grouped, and the conventions behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from segmed.evaluation.compare import Comparison
from segmed.evaluation.result import MetricValue
from segmed.metrics.readings import BATCH_SIZES

TITLES = {
    "dice": "Dice",
    "dice_median": "Dice, median",
    "iou": "IoU",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
    "volume_bias": "Volume bias",
    "volume_error": "Volume error",
    "missed": "Missed",
    "hd95": "HD95",
    "hd95_median": "HD95, median",
    "nsd_1px": "NSD 1 px",
    "nsd_2px": "NSD 2 px",
    "one_sided_slices": "One-sided slices",
    "lesion_f1": "Lesion F1",
    "lesion_precision": "Lesion precision",
    "lesion_recall": "Lesion recall",
    "dice_positive_slices": "Slice Dice",
    "iou_positive_slices": "Slice IoU",
    "specificity_empty_slices": "Specificity",
    "dice_pooled": "Dice, pooled",
    "iou_pooled": "IoU, pooled",
    "iou_per_image_empty_one": "IoU per image, empty = 1",
    "iou_two_class_macro": "IoU, two-class macro",
    "iou_two_class_macro_per_image": "IoU, two-class macro per image",
    "iou_one_hot_micro": "IoU, one-hot micro",
    **{f"iou_batch_{size}": f"IoU, batches of {size}" for size in BATCH_SIZES},
    "ece": "ECE",
    "brier": "Brier score",
}
MAIN = (
    "dice",
    "iou",
    "hd95",
    "one_sided_slices",
    "nsd_2px",
    "lesion_f1",
    "dice_positive_slices",
    "specificity_empty_slices",
    "missed",
)
"""The columns of the first table; all others are in the table at the end."""

GROUPS = {
    "Volume": (
        "dice",
        "dice_median",
        "iou",
        "sensitivity",
        "precision",
        "volume_bias",
        "volume_error",
        "missed",
    ),
    "Surface, in the slice": ("hd95", "hd95_median", "nsd_1px", "nsd_2px", "one_sided_slices"),
    "Lesions": ("lesion_f1", "lesion_precision", "lesion_recall"),
    "Slices": ("dice_positive_slices", "iou_positive_slices", "specificity_empty_slices"),
    "Other readings of “mean IoU” and “mean Dice”": (
        "dice_pooled",
        "iou_pooled",
        "iou_per_image_empty_one",
        "iou_two_class_macro",
        "iou_two_class_macro_per_image",
        "iou_one_hot_micro",
        *(f"iou_batch_{size}" for size in BATCH_SIZES),
    ),
    "Calibration": ("ece", "brier"),
}
BY_PATIENT = (
    "The unit is the patient",
    (
        "Slices of one patient are alike, so means, intervals and tests are over patients. Intervals are 95 % "
        "percentile bootstraps that draw patients, each with all its slices."
    ),
)
BY_IMAGE = (
    "The unit is the image",
    (
        "Which images are of one patient is not known, so means, intervals and tests are over images. Intervals are "
        "95 % percentile bootstraps that draw images; where several are slices of one patient, they are too narrow."
    ),
)
CONVENTIONS = (
    (
        "Nothing there and nothing predicted",
        (
            "Overlap has no value where both masks are empty. Such volumes and slices are left out and counted, "
            "never scored 0 or 1. Slices without foreground have their own number, specificity."
        ),
    ),
    (
        "Missed and invented foreground",
        (
            "Foreground of which nothing was found has Dice, IoU and NSD 0 and, as HD95, the diagonal of the image; it "
            "is counted under Missed. Foreground predicted where there is none has Dice and NSD 0 and the same HD95."
        ),
    ),
    (
        "Distances are pixels in the slice",
        (
            "HD95 is the larger of the two directed 95th percentiles between the outlines; NSD is the share of both "
            "outlines within a tolerance of the other. A slice with foreground in only one of the two masks has no "
            "distance: its outline counts as the image's diagonal away and as out of tolerance. The share of such "
            "one-sided slices stands beside HD95, since a few of them decide it."
        ),
    ),
    (
        "“Mean IoU” has many meanings",
        (
            "The same masks score differently under each. Predicting nothing at all can reach 0.98 over one-hot "
            "classes, so compare with other work only under the same reading, and look at the floors."
        ),
    ),
)


def conventions(*, patients_known: bool) -> tuple[tuple[str, str], ...]:
    """The conventions behind the metrics, the unit of all first."""
    return (BY_PATIENT if patients_known else BY_IMAGE, *CONVENTIONS)


@dataclass(frozen=True)
class Heading:
    """How a metric is headed: its title, the unit below it, and an arrow towards better."""

    title: str
    unit: str
    arrow: str


def title_of(name: str) -> str:
    """A metric's title; unknown ones are named as they are stored, with spaces."""
    return TITLES.get(name, name.replace("_", " "))


def heading_of(name: str, metric: MetricValue) -> Heading:
    """Title, unit and arrow of a metric."""
    arrow = {True: "↑", False: "↓", None: ""}[metric.higher_is_better]
    return Heading(title_of(name), metric.unit, arrow)


def main_metrics(comparison: Comparison) -> tuple[str, ...]:
    """The metrics of the first table; all of them where an evaluation has none of the usual ones."""
    names = comparison.metric_names()
    return tuple(name for name in MAIN if name in names) or names


def grouped(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Metrics by group, in the groups' order; those of no group come last under "Further"."""
    groups = {title: tuple(name for name in members if name in names) for title, members in GROUPS.items()}
    known = {name for members in GROUPS.values() for name in members}
    groups["Further"] = tuple(name for name in names if name not in known)
    return {title: members for title, members in groups.items() if members}
