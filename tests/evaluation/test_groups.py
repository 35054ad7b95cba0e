"""Groups have sizes and intervals, unknowns stay apart, and both equity-scaled scores are those of the papers."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import report_samples as samples

from segmed.core.errors import ConfigError, DataError
from segmed.evaluation.compare import compare
from segmed.evaluation.groups import GroupColumn, group_of, group_table, parse_groups, write_group_csv

DICE = (0.9, 0.7, 0.6, 0.6, 0.1)
SEX = {"P0": {"sex": "f"}, "P1": {"sex": "f"}, "P2": {"sex": "m"}, "P3": {"sex": "m"}, "P4": {"sex": "-1"}}


def table(**options: object):
    return group_table(samples.evaluation("a", DICE), GroupColumn(("sex",)), SEX, resamples=200, **options)


def test_groups_have_their_patients_and_means_and_the_unknown_come_last() -> None:
    rows = {group.group: (group.n, round(group.score.value, 6)) for group in table().groups}
    assert rows == {"f": (2, 0.8), "m": (2, 0.6), "unknown": (1, 0.1)}
    assert list(rows)[-1] == "unknown"


def test_equity_scaled_scores_take_the_deviation_and_the_sum_of_distances() -> None:
    found = table()
    overall = np.mean(DICE[:4])
    assert found.overall.score.value == pytest.approx(overall)
    assert found.equity_std.value == pytest.approx(overall / (1 + np.std([0.8, 0.6], ddof=1)))
    assert found.equity_sum.value == pytest.approx(overall / (1 + abs(0.8 - overall) + abs(0.6 - overall)))
    assert found.gap.value == pytest.approx(0.2)
    assert found.worst == "m"
    assert found.equity_std.low <= found.equity_std.value <= found.equity_std.high


def test_a_group_of_one_has_no_interval_and_one_group_no_equity() -> None:
    assert math.isnan(table().groups[-1].score.low)
    alike = group_table(samples.evaluation("a", DICE), GroupColumn(("site",)), {"P0": {"site": "A"}}, resamples=100)
    assert math.isnan(alike.equity_std.value)
    assert math.isnan(alike.gap.value)


def test_systems_that_are_compared_have_groups_of_the_same_patients() -> None:
    """P4 has no foreground: where nothing is predicted its Dice is undefined, where something is, 0."""
    sex = {f"P{number}": {"sex": "f"} for number in range(5)}
    clean, alarm = samples.evaluation("a", (*DICE[:4], math.nan)), samples.evaluation("b", (*DICE[:4], 0.0))
    both = [
        group_table(each, GroupColumn(("sex",)), sex, patients=compare([clean, alarm]).patients, resamples=100)
        for each in (clean, alarm)
    ]
    assert [table.groups[0].n for table in both] == [4, 4]
    assert both[0].groups[0].score == both[1].groups[0].score


@pytest.mark.parametrize("edges", ["nan", "40:inf", "-inf:40"])
def test_edges_of_bands_are_finite(edges: str) -> None:
    with pytest.raises(ConfigError, match="edges are numbers"):
        parse_groups(f"age:{edges}")


def test_a_numeric_column_is_cut_into_bands() -> None:
    ages = {f"P{number}": {"age": str(20 + 5 * number)} for number in range(12)}
    own = group_of(GroupColumn(("age",), (40.0, 60.0)), ages, list(ages))
    assert (own["P3"], own["P4"], own["P8"]) == ("below 40", "40 to below 60", "60 and above")
    thirds = group_of(GroupColumn(("age",)), ages, list(ages))
    assert sorted(list(thirds.values()).count(band) for band in set(thirds.values())) == [4, 4, 4]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (GroupColumn(("x",), (40.0, 99.0)), ("99", "7", "", "41", "7"), ["below 40", "40 to below 99", "99 and above"]),
        (GroupColumn(("x",)), ("10", "9", "-3", "2.5", "10"), ["-3", "2.5", "9", "10"]),
        (GroupColumn(("x",)), ("b", "below par", "10 mg", "9 mg", "b"), ["9 mg", "10 mg", "b", "below par"]),
        (GroupColumn(("x", "y")), ("10", "9", "", "10", "9"), ["9 × p", "9 × q", "10 × p", "10 × q"]),
    ],
)
def test_groups_are_in_the_order_of_their_values(
    column: GroupColumn, values: tuple[str, ...], expected: list[str]
) -> None:
    facts = {f"P{n}": {"x": x, "y": y} for n, (x, y) in enumerate(zip(values, "pqpqp", strict=True))}
    found = group_table(samples.evaluation("a", DICE), column, facts, resamples=100)
    assert [group.group for group in found.groups] == [*expected, *(["unknown"] if "" in values else [])]


def test_columns_can_cross() -> None:
    both = {"P0": {"sex": "f", "site": "A"}, "P1": {"sex": "f"}}
    assert group_of(GroupColumn(("sex", "site")), both, ["P0", "P1"]) == {"P0": "f × A", "P1": "unknown"}


@pytest.mark.parametrize(
    ("values", "unknown"), [(("-1", "12", "-1.0", "40"), ["P0", "P2"]), (("-1", "-2.25", "0.5", "-1"), [])]
)
def test_minus_one_is_unknown_unless_other_values_are_negative_too(values: tuple[str, ...], unknown: list[str]) -> None:
    facts = {f"P{number}": {"x": value} for number, value in enumerate(values)}
    found = group_of(GroupColumn(("x",), (-0.5,)), facts, list(facts))
    assert [patient for patient, group in found.items() if group == "unknown"] == unknown


def test_an_unknown_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"Nothing that is scored has a value of 'race'. Columns of this data: sex"):
        group_of(GroupColumn(("race",)), SEX, list(SEX))


def test_the_option_names_columns_crossings_and_edges() -> None:
    assert parse_groups("sex, sex+site,age:40:60") == (
        GroupColumn(("sex",)), GroupColumn(("sex", "site")), GroupColumn(("age",), (40.0, 60.0)),
    )  # fmt: skip
    for wrong in ("age:60:40", "age:x", "sex+site:4", ","):
        with pytest.raises(ConfigError, match="--groups"):
            parse_groups(wrong)


def test_the_table_is_written_with_every_group_and_summary(tmp_path: Path) -> None:
    write_group_csv(tmp_path / "groups.csv", [table()])
    rows = list(csv.DictReader((tmp_path / "groups.csv").read_text().splitlines()))
    assert [row["row"] for row in rows] == [
        "f", "m", "unknown", "all", "equity-scaled (std)", "equity-scaled (sum)", "largest gap",
    ]  # fmt: skip
    assert rows[2]["low"] == ""
