"""The report in one sentence: who leads, by how much, and whether that can be told from chance."""

import math
from dataclasses import dataclass

from segmed.evaluation.compare import PRIMARY, Comparison, Difference, mean_dice
from segmed.evaluation.report import numbers
from segmed.evaluation.report.tables import metric_of
from segmed.evaluation.result import Evaluation


@dataclass(frozen=True)
class Headline:
    """One sentence, and those that support it."""

    title: str
    standfirst: tuple[str, ...]


def headline(comparison: Comparison) -> Headline:
    """Write the headline of a comparison, or of a single system."""
    leader = comparison.systems[0]
    floors = _against_floors(comparison)
    if len(comparison.systems) == 1:
        title = f"{leader.name} reaches a mean patient Dice of {_score(leader)} on {_patients(leader)}."
        return Headline(title, floors)
    second = comparison.systems[1]
    test = next(t for t in comparison.tests if (t.first, t.second) == (leader.name, second.name))
    support = (
        f"Mean patient Dice {_score(leader)} against {_score(second)}, on {_patients(leader)} of the "
        f"{leader.part} part; sign-flip test, Holm-adjusted p {_p(test.p_holm)}."
    )
    return Headline(_title(leader, second, test), (support, *floors))


def _title(leader: Evaluation, second: Evaluation, test: Difference) -> str:
    if not math.isfinite(test.difference):
        return f"{leader.name} and {second.name} have no patient in common on which both have a Dice."
    if numbers.number(test.difference, 3) == "0.000":
        return f"{leader.name} and {second.name} are level in mean patient Dice."
    ends = numbers.interval(test.low, test.high, 3)
    verdict = "and the difference is separable from chance" if test.separable else "which cannot be told from chance"
    return (
        f"{leader.name} leads {second.name} by {numbers.number(test.difference, 3)} {ends} in patient Dice, {verdict}."
    )


def _against_floors(comparison: Comparison) -> tuple[str, ...]:
    """What the best floor says of the leader; where the floor wins, this is the finding."""
    if not comparison.floors:
        return ()
    leader, floor, test = comparison.systems[0], comparison.floors[0], comparison.floor_tests[0]
    if not math.isfinite(test.difference):
        return ()
    gap = numbers.difference(test.difference, test.low, test.high)
    if mean_dice(floor) >= mean_dice(leader):
        return (
            (
                f"No system beats the floors: {floor.name}, which learns nothing, reaches {_score(floor)} "
                f"(difference {gap})."
            ),
        )
    verdict = "separable from it" if test.separable else "not separable from it"
    return (f"The best floor, {floor.name}, reaches {_score(floor)}; {leader.name} is {verdict} (difference {gap}).",)


def _score(evaluation: Evaluation) -> str:
    return numbers.metric(metric_of(evaluation, PRIMARY))


def _patients(evaluation: Evaluation) -> str:
    patients = len(evaluation.by_patient(PRIMARY))
    return f"{patients} patient{'s' if patients != 1 else ''}"


def _p(p: float) -> str:
    text = numbers.p_value(p)
    return text if text.startswith("<") else f"= {text}"
