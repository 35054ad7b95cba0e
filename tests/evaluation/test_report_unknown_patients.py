"""A report of unknown patients says so wherever it would say LEAKING, and calls no image a patient."""

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from report_samples import Pictures, evaluation, patient_row

from segmed.cli.evaluation_table import notes, show_groups, size_of
from segmed.core.units import IMAGE
from segmed.data.degrade import parse_degradations
from segmed.evaluation.compare import compare
from segmed.evaluation.groups import GroupColumn, group_table, unit_of_tables, write_group_csv
from segmed.evaluation.provenance import Bootstrap, Provenance
from segmed.evaluation.report import write_report
from segmed.evaluation.report.metrics import BY_IMAGE
from segmed.evaluation.report.page import UNKNOWN_TEXT, unknown_text
from segmed.evaluation.report.robustness import write_robustness
from segmed.evaluation.robustness import degraded_rows
from segmed.evaluation.split_facts import SplitFacts
from segmed.evaluation.volume_metrics import Space

GOOD, POOR = (0.9, 0.85, 0.88, 0.8, 0.91), (0.7, 0.86, 0.6, 0.75, 0.5)
MARK = "PATIENTS UNKNOWN"
BOOTSTRAP = Provenance(bootstrap=Bootstrap(100, "image"))
IMAGE_SPLIT = SplitFacts(strategy="image")


def unknown(name: str, dice: tuple[float, ...], **changes: object):
    one = evaluation(name, dice, patients_known=False, provenance=BOOTSTRAP, split=IMAGE_SPLIT, **changes)
    worded = {key: dataclasses.replace(each, description="Of images.") for key, each in one.metrics.items()}
    return dataclasses.replace(one, metrics=worded)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    nothing = unknown("nothing", (0.0,) * 5, kind="floor")
    write_report([unknown("good", GOOD), unknown("poor", POOR), nothing], out=folder, decoded=Pictures())
    return folder


def test_every_caption_has_the_mark_and_the_banner_stands_first(pages):
    html = (pages / "report.html").read_text(encoding="utf-8")
    assert html.index('<div class="banner"') < html.index("<h1")
    captions = re.findall(r'<p class="caption">.*?</p>|<figcaption>.*?</figcaption>', html, flags=re.DOTALL)
    assert len(captions) >= 8
    assert [caption for caption in captions if MARK not in caption] == []
    headings = re.findall(r"^## .*", (pages / "comparison.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings
    assert all(heading.startswith(f"## {MARK}: ") for heading in headings)
    with (pages / "comparison.csv").open(encoding="utf-8") as file:
        assert {row["split"] for row in csv.DictReader(file)} == {MARK}


def test_no_image_is_called_a_patient(pages):
    html = (pages / "report.html").read_text(encoding="utf-8").split("</style>", 1)[1]
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    markdown = " ".join((pages / "comparison.md").read_text(encoding="utf-8").split())
    for told in (text, markdown):
        for known in (UNKNOWN_TEXT, BY_IMAGE[1], MARK):
            told = told.replace(known, "")
        assert re.findall(r".{30}[Pp]atient.{30}", told) == []
        assert "no leak" not in told


def test_a_report_of_known_patients_has_no_mark(tmp_path):
    html = write_report([evaluation("good", GOOD)], out=tmp_path).read_text(encoding="utf-8")
    assert MARK not in html
    assert "by patient, no leak" in html


def test_one_result_of_unknown_patients_marks_the_comparison_and_is_named(tmp_path):
    page = write_report([evaluation("sure", GOOD), unknown("unsure", POOR)], out=tmp_path).read_text(encoding="utf-8")
    assert "This concerns unsure." in page
    assert compare([evaluation("sure", GOOD), unknown("unsure", POOR)]).unit == IMAGE


def test_the_table_of_the_terminal_counts_images_and_has_intervals_over_them():
    result = unknown("good", GOOD, patients=tuple(patient_row(f"P{i}", d) for i, d in enumerate(GOOD)))
    assert size_of(result) == "5 images"
    assert "resamples of images." in notes(result, [])[0]
    assert not [note for note in notes(result, []) if "atient" in note]


def test_tables_of_groups_and_of_degraded_images_count_images(tmp_path, capsys):
    sites = {f"P{number}": {"site": "AB"[number % 2]} for number in range(5)}
    tables = [group_table(unknown("good", GOOD), GroupColumn(("site",)), sites, resamples=100)]
    show_groups(tables)
    shown = capsys.readouterr().out
    assert "site: mean image Dice" in shown
    assert "Images" in shown
    assert "atient" not in shown
    write_group_csv(tmp_path / "groups.csv", tables)
    rows = list(csv.DictReader((tmp_path / "groups.csv").read_text().splitlines()))
    assert [row["images"] for row in rows[:3]] == ["3", "2", "5"]
    (worse,) = parse_degradations("lowpass:0.5")
    comparison = compare([unknown("good", GOOD)])
    write_robustness(degraded_rows(comparison, {"good": {worse: unknown("good", POOR)}}), tmp_path / "robustness.csv")
    (row,) = csv.DictReader((tmp_path / "robustness.csv").read_text().splitlines())
    assert row["images"] == "5"
    assert "patients" not in row


def test_one_table_of_unknown_patients_is_enough_to_count_images(tmp_path):
    sites = {f"P{number}": {"site": "AB"[number % 2]} for number in range(5)}
    both = [
        group_table(one, GroupColumn(("site",)), sites, resamples=100)
        for one in (evaluation("sure", GOOD), unknown("unsure", POOR))
    ]
    assert [unit_of_tables(some).many for some in (both[:1], both)] == ["patients", "images"]


def test_of_volumes_the_banner_speaks_of_volumes_and_of_no_slice() -> None:
    volumes = [dataclasses.replace(unknown(name, GOOD), space=Space("mm", (1.0,))) for name in ("ours", "theirs")]
    text = unknown_text(volumes)
    assert text.startswith("Nobody said which volumes are of one patient")
    assert "slice" not in text.lower()
    assert unknown_text([*volumes, evaluation("known", GOOD)]).endswith("This concerns ours, theirs.")
    assert unknown_text([unknown("slices", GOOD)]) == UNKNOWN_TEXT


def test_masks_without_a_split_are_scored_on_no_part_of_one(tmp_path: Path) -> None:
    loose = [
        dataclasses.replace(evaluation(name, dice), split=SplitFacts()) for name, dice in (("a", GOOD), ("b", POOR))
    ]
    split = [evaluation(name, dice) for name, dice in (("a", GOOD), ("b", POOR))]
    told = [
        write_report(some, out=tmp_path / str(n)).read_text(encoding="utf-8") for n, some in enumerate((loose, split))
    ]
    assert ["test part" in html for html in told] == [False, True]
    assert "Scores with 95 % bootstrap intervals" in told[0]
