"""What the paper's numbers may have meant: every variant of IoU from one set of predictions, and which fits."""

from collections.abc import Sequence
from dataclasses import dataclass

from segmed.core.wording import plural
from segmed.evaluation.report import numbers
from segmed.evaluation.report.metrics import title_of
from segmed.evaluation.result import Evaluation
from segmed.reproduction.published import INTERPOLATION_ON_LGG, PAPER_LOSS, REPORTED, TO_BEAT
from segmed.reproduction.rows import ReproductionRow

IOU_VARIANTS = (
    "iou_pooled",
    "iou_per_image_empty_one",
    "iou_positive_slices",
    "iou_two_class_macro",
    "iou_two_class_macro_per_image",
    "iou_batch_16",
    "iou_one_hot_micro",
)


OTHER_DATA = (
    "The paper's figures are of LGG and these rows are of other data, so they stand in the table and are "
    "not to be compared."
)


@dataclass(frozen=True)
class Fit:
    """How far a variant is from the paper's figures, in the mean over baselines; `excluded`: why it cannot be.

    `nothing` is what predicting nothing scores, and `below` are the paper's baselines that scored less than that.
    """

    iou_variant: str
    distance: float
    systems: int
    nothing: float = 0.0
    below: tuple[str, ...] = ()
    excluded: str = ""


def fits(rows: Sequence[ReproductionRow], floors: Sequence[Evaluation]) -> tuple[Fit, ...]:
    """Each variant against the paper's figures for the rows trained with its double sigmoid, nearest first.

    A variant under which predicting nothing beats all of the paper's figures cannot be what the paper computed.
    """
    known = [row for row in rows if row.variant == "double-sigmoid" and row.reported is not None]
    published = {each.title: each.iou for each in REPORTED.values() if each.baseline}
    floor = next((floor for floor in floors if floor.name == "predict nothing"), None)
    found = []
    for iou_variant in IOU_VARIANTS if known else ():
        gaps = [abs(row.evaluation.metrics[iou_variant].value - row.reported.iou) for row in known if row.reported]
        nothing = floor.metrics[iou_variant].value if floor is not None else 0.0
        below = tuple(title for title, iou in published.items() if iou < nothing)
        excluded = f"predicting nothing scores {numbers.number(nothing, 3)}" if len(below) == len(published) else ""
        found.append(Fit(iou_variant, sum(gaps) / len(gaps), len(gaps), nothing, below, excluded))
    return tuple(sorted(found, key=lambda fit: (bool(fit.excluded), fit.distance)))


def sentences(rows: Sequence[ReproductionRow], floors: Sequence[Evaluation], *, lgg: bool = True) -> tuple[str, ...]:
    """What the table says, in words: the loss, the variant that fits, what copying neighbours gets, what is beaten.

    On other data than LGG nothing is set against the paper's figures.
    """
    if not lgg:
        return tuple(sentence for sentence in (OTHER_DATA, _floor_sentence(floors, lgg=False)) if sentence)
    said = [_loss_sentence(rows), _fit_sentence(fits(rows, floors)), _floor_sentence(floors), *_beaten(rows)]
    return tuple(sentence for sentence in said if sentence)


def _loss_sentence(rows: Sequence[ReproductionRow]) -> str:
    losses = [
        row.validation_loss for row in rows if row.variant == "double-sigmoid" and row.validation_loss is not None
    ]
    if not losses:
        return ""
    centre, width = PAPER_LOSS
    low, high = min(losses), max(losses)
    within = all(abs(loss - centre) <= width + 0.0005 for loss in losses)
    place = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return (
        f"With sigmoid applied twice the validation loss ends at {place}, {'within' if within else 'outside'} "
        f"{centre:.2f} ± {width:.2f}. A perfect mask scores 1.66 on LGG and an empty one 1.67: that loss says next to "
        "nothing."
    )


def _fit_sentence(found: Sequence[Fit]) -> str:
    possible = [fit for fit in found if not fit.excluded]
    if not possible:
        return ""
    best = possible[0]
    out = [fit for fit in found if fit.excluded]
    text = (
        f"Of the variants of IoU, “{title_of(best.iou_variant)}” is nearest to the paper's figures, "
        f"{best.distance:.3f} away in the mean over {plural(best.systems, 'baseline')}"
    )
    if len(possible) > 1:
        text += f"; next is “{title_of(possible[1].iou_variant)}”, {possible[1].distance:.3f} away"
    if best.below:
        text += (
            f". Under it predicting nothing scores {numbers.number(best.nothing, 3)}, more than the paper has for "
            f"{' and '.join(best.below)}, so it does not explain all of its figures"
        )
    if out:
        names = ", ".join(f"“{title_of(fit.iou_variant)}” ({fit.excluded})" for fit in out)
        text += f". It cannot be {names}"
    return text + "."


def _floor_sentence(floors: Sequence[Evaluation], *, lgg: bool = True) -> str:
    floor = next((each for each in floors if each.name == "neighbour interpolation"), None)
    if floor is None:
        return ""
    share = floor.split.share_with_train_neighbour
    leak = f"{100 * share:.0f} % of test slices have their neighbour in training. " if share is not None else ""
    return (
        f"{leak}Interpolating the neighbours' masks, without looking at the image, reaches a pooled IoU of "
        f"{floor.metrics['iou_pooled'].value:.3f} here"
        + (f" ({INTERPOLATION_ON_LGG:.3f} on LGG's 110 patients)." if lgg else ".")
    )


def _beaten(rows: Sequence[ReproductionRow]) -> list[str]:
    ours = [row for row in rows if row.variant != "double-sigmoid" and row.checked]
    if not ours:
        return []
    said = []
    for iou_variant, figure in TO_BEAT.items():
        best = max(ours, key=lambda row: row.evaluation.metrics[iou_variant].value)
        value = best.evaluation.metrics[iou_variant].value
        verdict = "beaten" if value > figure else f"missed by {figure - value:.3f}"
        said.append(f"{title_of(iou_variant)} above {figure:g}: {value:.3f} by {best.title}, {verdict}.")
    return said
