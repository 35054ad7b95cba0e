"""The report in one sentence: who leads, by how much, and whether that can be told from chance."""

import dataclasses
from dataclasses import dataclass

from segmed.core.units import Unit
from segmed.evaluation.compare import PRIMARY, Comparison, Difference, Verdict, mean_dice, patient_scores
from segmed.evaluation.report import numbers
from segmed.evaluation.report.notes import notes, scored_part
from segmed.evaluation.report.tables import metric_of
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import bootstrap_ci

_TOLD = {
    Verdict.SEPARABLE: "and the difference is separable from chance",
    Verdict.NOT_SEPARABLE: "which cannot be told from chance",
    Verdict.TOO_FEW: "with too few {units} to tell that from chance",
}


@dataclass(frozen=True)
class Headline:
    """One sentence, and those that support it."""

    title: str
    standfirst: tuple[str, ...]


def headline(comparison: Comparison) -> Headline:
    """Write the headline of a comparison, or of a single system."""
    leader, *others = comparison.systems
    support = (*_against_floors(comparison), *_oracles(comparison), *notes(comparison))
    unit = comparison.unit.one
    if not comparison.patients:
        names = " and ".join(system.name for system in comparison.systems)
        return Headline(f"{names}: no {unit} has foreground, so there is no Dice to rank by.", support)
    if not others:
        title = f"{leader.name} reaches a mean {unit} Dice of {_score(comparison, leader)} on {_units(comparison)}."
        return Headline(title, support)
    second = others[0]
    test = next(t for t in comparison.tests if (t.first, t.second) == (leader.name, second.name))
    part = f" of the {told}" if (told := scored_part(leader)) else ""
    scores = (
        f"Mean {unit} Dice {_score(comparison, leader)} against {_score(comparison, second)}, on "
        f"{_units(comparison)}{part}; sign-flip test, Holm-adjusted p {_p(test.p_holm)}."
    )
    return Headline(_title(leader, second, test, comparison.unit), (scores, *support))


def _title(leader: Evaluation, second: Evaluation, test: Difference, unit: Unit) -> str:
    if numbers.number(test.difference, 3) == "0.000":
        return f"{leader.name} and {second.name} are level in mean {unit.one} Dice."
    ends = numbers.interval(test.low, test.high, 3)
    gap = f"{numbers.number(test.difference, 3)} {ends}".rstrip()
    told = _TOLD[test.verdict].format(units=unit.many)
    return f"{leader.name} leads {second.name} by {gap} in {unit.one} Dice, {told}."


def _against_floors(comparison: Comparison) -> tuple[str, ...]:
    """What the best floor says of the leader; where the floor wins, this is the finding."""
    if not comparison.floors or not comparison.patients:
        return ()
    leader, floor, test = comparison.systems[0], comparison.floors[0], comparison.floor_tests[0]
    gap = numbers.difference(test.difference, test.low, test.high)
    reaches = f"reaches {_score(comparison, floor)}"
    if mean_dice(floor, comparison.patients) >= mean_dice(leader, comparison.patients):
        return (f"No system beats the floors: {floor.name}, which learns nothing, {reaches} (difference {gap}).",)
    best = f"The best floor, {floor.name}, {reaches}; {leader.name} is"
    if test.verdict is Verdict.TOO_FEW:
        return (f"{best} above it, with too few {comparison.unit.many} to tell that from chance (difference {gap}).",)
    return (f"{best} {test.verdict.words(comparison.unit)} from it (difference {gap}).",)


def _oracles(comparison: Comparison) -> tuple[str, ...]:
    """What the best system reaches under each kind of prompts made from the reference."""
    if not comparison.oracles:
        return ()
    found = [
        f"{_score(oracle, oracle.systems[0])} under {oracle.oracle_prompts}"
        for oracle in comparison.oracles
        if oracle.patients
    ]
    return (f"Told where the foreground is, and so in a table of their own, the best reach {', '.join(found)}.",)


def _score(comparison: Comparison, evaluation: Evaluation) -> str:
    """Mean Dice over the comparison's patients: the evaluation's own number where it has no others."""
    metric = metric_of(evaluation, PRIMARY)
    if metric.n != len(comparison.patients):
        shared = bootstrap_ci(patient_scores([evaluation], comparison.patients)[0])
        metric = dataclasses.replace(metric, value=shared.value, low=shared.low, high=shared.high)
    return numbers.metric(metric)


def _units(comparison: Comparison) -> str:
    return comparison.unit.count(len(comparison.patients))


def _p(p: float) -> str:
    text = numbers.p_value(p)
    return text if text.startswith("<") else f"= {text}"
