"""What must be known before a comparison's numbers are believed, in sentences for page, tables and terminal."""

from collections import Counter
from collections.abc import Sequence

from segmed.core.units import Unit
from segmed.core.wording import plural
from segmed.evaluation.compare import Comparison
from segmed.evaluation.result import Evaluation
from segmed.evaluation.volume_metrics import metrics_of

FEW = 20
"""Below this number bootstrap intervals over patients cover clearly less than 95 %."""


def notes(comparison: Comparison) -> tuple[str, ...]:
    """The sentences that apply to a comparison, most important first."""
    part = comparison.evaluations[0].part
    oracle = f"ORACLE: {oracle_text(comparison.oracle_prompts)}" if comparison.oracle_prompts else ""
    told = (
        oracle,
        volumes_note(comparison.all_evaluations),
        training_note(comparison.all_evaluations),
        part_note(part),
    )
    files = (*missing_notes(comparison.systems), *remark_notes(comparison.systems))
    found = (*told, *files, *never_found_notes(comparison.systems), left_out_note(comparison))
    more = (few_note(len(comparison.patients), comparison.unit), *older_notes(comparison.evaluations))
    return tuple(note for note in (*found, *more) if note)


def scored_part(evaluation: Evaluation) -> str:
    """Which part of a split was scored, as `test part`; empty where there is no split, as of masks of other tools."""
    return "" if evaluation.split.strategy is None else f"{evaluation.part} part"


def volumes_note(evaluations: Sequence[Evaluation]) -> str:
    """How patients with several volumes are scored; empty where none has more than one."""
    several = next((each for each in evaluations if each.provenance.volumes is not None), None)
    if several is None:
        return ""
    patients = several.unit.count(len({row.patient for row in several.patients}))
    return (
        f"{several.provenance.volumes} volumes of {patients}: each patient's score is the mean over its volumes, "
        "and intervals and tests are over patients."
    )


def missing_notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """A sentence for each evaluation that lacks masks of some cases."""
    return tuple(
        f"{each.name} has no mask of {plural(len(each.missing), 'case')}, scored as empty: Dice and NSD 0, HD95 the "
        "penalty, wherever the reference has the label."
        for each in evaluations
        if each.missing
    )


def remark_notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """What was done to masks before they were scored, once where it is of all evaluations."""
    said: dict[str, list[str]] = {}
    for each in evaluations:
        for remark in each.remarks:
            said.setdefault(remark, []).append(each.name)
    return tuple(
        remark if len(names) == len(evaluations) > 1 else f"{', '.join(names)}: {remark}"
        for remark, names in said.items()
    )


def training_note(evaluations: Sequence[Evaluation]) -> str:
    """Whose training patients cannot be compared with these, so that a leak would not be seen; empty where all can."""
    names = [evaluation.name for evaluation in evaluations if not evaluation.training_known]
    if not names:
        return ""
    return (
        f"TRAINING UNKNOWN: whether {' or '.join(names)} was trained on these patients is not known, as the run names "
        "them with another key than this data has, or not at all."
    )


def never_found_notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """A sentence for each evaluation and label of which not one pixel was found in any patient that has it."""
    return tuple(
        f"{evaluation.name} never found {label}: not one pixel in any of the {evaluation.unit.count(having)} with it."
        for evaluation in evaluations
        for label, having in never_found(evaluation).items()
    )


def never_found(evaluation: Evaluation) -> dict[str, int]:
    """The labels of which nothing was found, with how many patients have them in the reference."""
    labels = dict.fromkeys(row.label for row in evaluation.patients)
    having = {
        label: [row for row in evaluation.patients if row.label == label and row.reference_px] for label in labels
    }
    return {label: len(rows) for label, rows in having.items() if rows and all(row.missed for row in rows)}


def older_notes(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Who was evaluated before some metric existed, and which; it has no value there."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for evaluation in evaluations:
        names = tuple(
            each.title
            for each in metrics_of(evaluation.space)
            if not each.of_probabilities and each.name not in evaluation.metrics
        )
        if names:
            lacking.setdefault(names, []).append(evaluation.name)
    return tuple(
        f"{', '.join(names)} of {', '.join(whose)}: not measured, since the evaluation was stored before SegMed had "
        "them. Run `segmed evaluate` again for them."
        for names, whose in lacking.items()
    )


def oracle_text(kind: str) -> str:
    """Why scores under prompts made from the reference are no scores of an automatic method."""
    return (
        f"The prompts ({kind}) were made from the reference, which tells where the foreground is and which "
        "slices have any. Read these numbers beside the floors under the same prompts, never beside those of an "
        "automatic method."
    )


def part_note(part: str) -> str:
    """Why scores of another part than the test part are no test; empty for the test part."""
    if part == "test":
        return ""
    why = {
        "validation": ", on which epoch and threshold were chosen, so they flatter",
        "train": ", which the models were fitted to, so they flatter",
    }
    return f"These are scores on the {part} part{why.get(part, '')}; compare runs on the test part."


def left_out_note(comparison: Comparison) -> str:
    """How many have no foreground and are out of ranking and tests, and who predicts foreground there."""
    number = len(comparison.left_out)
    if not number:
        return ""
    alarms = Counter(name for names in comparison.left_out.values() for name in names)
    named = [f"{e.name} in {alarms[e.name]}" for e in comparison.evaluations if alarms[e.name]]
    total = number + len(comparison.patients)
    return (
        f"{number} of {total} {comparison.unit.many} {'has' if number == 1 else 'have'} no foreground in the "
        f"reference, where Dice counts only false alarms, and {'is' if number == 1 else 'are'} left out of ranking and "
        f"tests; foreground is predicted there by {', '.join(named) or 'none'}."
    )


def few_note(number: int, unit: Unit) -> str:
    """A warning of intervals from few patients, or images; empty where there are enough."""
    if number >= FEW or number == 0:
        return ""
    return f"The intervals rest on {unit.count(number)}; below {FEW} they are narrower than 95 % would need."
