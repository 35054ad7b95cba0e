"""How metrics are headed and grouped in tables, and the conventions behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

from segmed.evaluation.compare import Comparison
from segmed.evaluation.metric import Group, MetricValue
from segmed.evaluation.metrics import METRICS
from segmed.evaluation.volume_metrics import Space, metric_named, metrics_of

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
            "distance: in “HD95 with penalty” its outline counts as the image's diagonal away, and in NSD as out of "
            "tolerance. So these mostly count one-sided slices, whose share stands beside them. The numbers over "
            "shared slices are distances alone, over the slices that both masks mark; where there are none they have "
            "no value, so read them beside what was missed."
        ),
    ),
    (
        "“Mean IoU” has many meanings",
        (
            "The same masks score differently under each. Predicting nothing at all can reach 0.98 over one-hot "
            "classes, so compare with other work only under the same variant, and look at the floors."
        ),
    ),
)


VOLUME_CONVENTIONS = (
    (
        "A patient's volumes",
        "Scores are of a volume; a patient with several counts once, with the mean over its volumes.",
    ),
    (
        "Nothing there and nothing predicted",
        "Scores have no value where both masks are empty. Such volumes are left out and counted.",
    ),
    (
        "Missed and invented foreground",
        (
            "Where only one mask has the label, Dice, IoU and NSD are 0 and HD95 is the diagonal of the volume, a "
            "penalty and no distance. A case without a mask file is scored as an empty mask. The numbers called found "
            "are over the cases in which both masks have the label, so read them beside what was missed."
        ),
    ),
)


def conventions(*, patients_known: bool, space: Space | None = None) -> tuple[tuple[str, str], ...]:
    """The conventions behind the metrics, the unit of all first; those of volumes where there is a space."""
    unit = BY_PATIENT if patients_known else BY_IMAGE
    if space is None:
        return (unit, *CONVENTIONS)
    text = (
        f"Distances run in three dimensions between the centres of surface voxels, in {space.unit}. HD95 is the larger "
        "of the two directed 95th percentiles; NSD is the share of both surfaces within a tolerance of the other, "
        "counted in voxels. Both equal MONAI's."
    )
    return (unit, *VOLUME_CONVENTIONS, (f"Distances are {space.unit} in the volume", text))


@dataclass(frozen=True)
class Heading:
    """How a metric is headed: its title, the unit below it, and an arrow towards better."""

    title: str
    unit: str
    arrow: str


def title_of(name: str) -> str:
    """A metric's title; unknown ones, as of a newer version, are named as they are stored, with spaces."""
    metric = metric_named(name)
    return metric.title if metric is not None else name.replace("_", " ")


def heading_of(name: str, metric: MetricValue) -> Heading:
    """Title, unit and arrow of a metric."""
    arrow = {True: "↑", False: "↓", None: ""}[metric.higher_is_better]
    return Heading(title_of(name), metric.unit, arrow)


def main_metrics(comparison: Comparison) -> tuple[str, ...]:
    """The metrics of the first table; all of them where an evaluation has none of the usual ones."""
    names, space = comparison.metric_names(), comparison.evaluations[0].space
    return tuple(metric.name for metric in metrics_of(space) if metric.main and metric.name in names) or names


def grouped(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Metrics by group, in the groups' order; those of no group come last under "Further"."""
    found = {name: metric for name in names if (metric := metric_named(name)) is not None}
    order = dict.fromkeys((*(metric.name for metric in METRICS if metric.name in found), *found))
    known = {group.value: tuple(name for name in order if found[name].group is group) for group in Group}
    known["Further"] = tuple(name for name in names if name not in found)
    return {title: members for title, members in known.items() if members}
