"""The report's small parts: how numbers are written, learning curves read, metrics grouped and figures cleaned."""

import math
from dataclasses import replace

import pytest
from report_samples import evaluation, floor

from segmed.evaluation.compare import compare
from segmed.evaluation.metric import MetricValue
from segmed.evaluation.metrics import METRICS
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.report import figures, numbers, svg
from segmed.evaluation.report.history import read_history
from segmed.evaluation.report.metrics import grouped
from segmed.evaluation.report.tables import agreement, metric_groups, provenance, scores


def metric(value: float, low: float, high: float, unit: str = "") -> MetricValue:
    return MetricValue(value, low, high, 10, 0, unit, "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (metric(0.8234, 0.789, 0.851), "0.823 [0.79, 0.85]"),
        (metric(12.34, 9.87, 15.01, "px"), "12.3 [9.9, 15.0]"),
        (metric(2.0, 0.0, 4.0, "patients"), "2 [0, 4]"),
        (metric(-0.0664, -0.094, -0.0312), "−0.066 [−0.09, −0.03]"),
        (metric(0.5, math.nan, math.nan), "0.500"),
        (metric(math.nan, math.nan, math.nan), "–"),
    ],
)
def test_a_metric_is_written_with_its_interval(value, text):
    assert numbers.metric(value) == text


def test_a_difference_carries_its_sign_and_zero_has_none():
    assert numbers.difference(0.0211, -0.008, 0.034) == "+0.021 [−0.008, +0.034]"
    assert numbers.number(-0.0001, 3, signed=True) == "0.000"


def test_p_values_below_a_thousandth_are_not_spelt_out():
    assert [numbers.p_value(p) for p in (0.0002, 0.0123, math.nan)] == ["< 0.001", "0.012", "–"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(7500, "2 h 05 min"), (200, "3 min 20 s"), (41.2, "41 s"), (3.24, "3.2 s"), (None, "–")]
)
def test_durations_have_their_two_largest_units(seconds, text):
    assert numbers.duration(seconds) == text


def test_history_joins_rows_of_training_and_validation_and_averages_steps(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,train/loss,validation/loss\n0,1,1.0,\n0,2,0.5,\n0,2,,0.8\n1,3,0.25,nan\n,4,9,9\n1,4,oops,0.7\n",
        encoding="utf-8",
    )
    history = read_history(tmp_path)
    assert history["train/loss"] == ((0.0, 0.75), (1.0, 0.25))
    assert history["validation/loss"] == ((0.0, 0.8), (1.0, 0.7))


def test_a_run_without_metrics_has_no_history(tmp_path):
    assert read_history(tmp_path) == {}
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    assert read_history(tmp_path) == {}


def test_no_two_metrics_share_a_name_or_a_title():
    assert len({metric.name for metric in METRICS}) == len({metric.title for metric in METRICS}) == len(METRICS)


def test_metrics_are_grouped_and_unknown_ones_come_last():
    assert grouped(["new_score", "dice"]) == {"Volume": ("dice",), "Further": ("new_score",)}


def test_the_best_of_a_column_is_marked_unless_all_are_equal():
    table = scores(compare([evaluation("a", (0.9, 0.8)), evaluation("b", (0.5, 0.6))]))
    assert [[cell.best for cell in row.cells] for row in table.systems] == [[True, False, False], [False, False, False]]


def test_a_number_that_rests_on_fewer_patients_says_so_and_then_none_is_best():
    comparison = compare([evaluation("a", (0.9, math.nan)), evaluation("b", (0.5, 0.6)), floor("c", (0.1, math.nan))])
    dice = {row.name: row.cells[0] for row in (*scores(comparison).systems, *scores(comparison).floors)}
    assert {name: cell.n for name, cell in dice.items()} == {"a": "n = 1 + 1", "b": "", "c": "n = 1 + 1"}
    assert not any(cell.best for cell in dice.values())
    line = metric_groups(comparison)[0].rows[0]
    assert line.n == "2"
    assert [cell.n for cell in line.cells] == ["n = 1 + 1", "", "n = 1 + 1"]


def with_distances(name: str, distances: tuple[float, ...]):
    """Patients with the same Dice, whose shared distances are given; NaN where the label was missed."""
    sample = evaluation(name, (0.9,) * len(distances))
    defined = [value for value in distances if not math.isnan(value)]
    shared = MetricValue(sum(defined) / len(defined), math.nan, math.nan, len(defined), 1, "px", "Distance", False)
    rows = [
        replace(row, scores={**row.scores, "hd95_shared": value})
        for row, value in zip(sample.patients, distances, strict=True)
    ]
    return replace(sample, metrics={**sample.metrics, "hd95_shared": shared}, patients=tuple(rows))


def test_a_mean_that_leaves_out_the_patient_who_was_missed_is_not_best():
    missed_the_hard_one = with_distances("a", (1.0, 2.0, math.nan))
    missed_an_easy_one = with_distances("b", (math.nan, 2.0, 5.0))
    table = scores(compare([missed_the_hard_one, missed_an_easy_one]), ["hd95_shared"])
    assert not any(row.cells[0].best for row in table.systems)
    of_the_same = scores(compare([missed_the_hard_one, with_distances("b", (2.0, 2.0, math.nan))]), ["hd95_shared"])
    assert {row.name: row.cells[0].best for row in of_the_same.systems} == {"a": True, "b": False}


def test_systems_are_not_ranked_by_a_metric_of_other_patients_of_each():
    systems = [
        with_distances(name, tuple(map(float, values)))
        for name, values in (("a", (1, 2, 3)), ("b", (2, 3, 4)), ("c", (5, 6, 7)))
    ]
    systems = [
        replace(
            each,
            patients=tuple(replace(row, scores={**row.scores, "dice": 0.9 - 0.1 * place}) for row in each.patients),
        )
        for place, each in enumerate(systems)
    ]
    assert ("HD95, shared slices", "1.00") in agreement(compare(systems))
    missing = replace(systems[2].patients[0], scores={**systems[2].patients[0].scores, "hd95_shared": math.nan})
    systems[2] = replace(systems[2], patients=(missing, *systems[2].patients[1:]))
    assert "HD95, shared slices" not in dict(agreement(compare(systems)))


def test_numbers_that_rest_on_equally_much_say_it_once():
    table = scores(compare([evaluation("a", (0.9, math.nan)), evaluation("b", (0.5, math.nan))]))
    assert not table.uneven
    assert table.systems[0].cells[0].best


def test_the_share_of_one_sided_slices_stands_beside_hd95_in_the_first_table():
    sample = evaluation("a", (0.9,))
    one_sided = MetricValue(0.1, 0.0, 0.2, 9, 0, "", "Share of slices", higher_is_better=False)
    both = replace(sample, metrics={"one_sided_slices": one_sided, **sample.metrics})
    titles = [column.title for column in scores(compare([both])).columns]
    assert titles.index("One-sided slices") == titles.index("HD95 with penalty") + 1


def test_metrics_that_rank_three_systems_as_dice_does_agree_by_kendalls_tau():
    def system(name, dice, hd95, missed):
        sample = evaluation(name, (dice,) * 6)
        lower = {"hd95": hd95, "missed": missed}
        changed = {key: replace(sample.metrics["hd95"], value=value) for key, value in lower.items()}
        return replace(sample, metrics={**sample.metrics, **changed})

    systems = [system("a", 0.9, 3.0, 0.0), system("b", 0.8, 5.0, 2.0), system("c", 0.7, 9.0, 1.0)]
    assert agreement(compare(systems)) == (("Missed", "0.33"), ("HD95 with penalty", "1.00"))
    assert agreement(compare(systems[:2])) == ()


def test_a_figure_takes_colours_and_font_from_the_page_and_holds_no_address():
    strip = figures.Strip("a $x_1$ <b>", (0.5, 0.6, math.nan), 0.55, 0.5, 0.6, 0)
    picture = str(figures.strip_plot([strip], 350, axis="Dice"))
    assert "var(--series-0)" in picture
    assert "http" not in picture
    assert "font-family" not in picture
    assert "a $x_1$ &lt;b&gt;" in picture
    assert [colour for colour in (svg.INK, svg.MUTED, svg.RULE, *svg.SERIES) if colour in picture] == []


def test_a_name_in_letters_that_the_drawing_font_lacks_is_kept():
    strip = figures.Strip("腫瘍 模型", (0.5,), 0.5, math.nan, math.nan, None)
    assert "腫瘍 模型 (floor)" in str(figures.strip_plot([strip], 350, axis="Dice"))


def test_long_names_are_shortened_in_the_middle():
    assert figures.shortened("deeplabv3plus-b5", 11) == "deepl…us-b5"
    assert figures.shortened("unet", 11) == "unet"


def test_a_fact_that_all_systems_share_is_printed_once():
    members = [
        evaluation("a", (0.9,), provenance=Provenance(others={"seed": 1})),
        evaluation("b", (0.8,), provenance=Provenance(others={"seed": 2})),
    ]
    facts = dict(provenance(members))
    assert facts["split: strategy"] == ("patient",)
    assert facts["seed"] == ("1", "2")
