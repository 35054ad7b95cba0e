"""The report: self-contained, safe, honest about leaks, and equal to the numbers it was made from."""

import csv
import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from report_samples import Pictures, evaluation, floor, square

from segmed.core.errors import DataError
from segmed.core.files import write_json
from segmed.core.labels import LabelMap
from segmed.core.records import SliceDataset
from segmed.evaluation.compare import compare
from segmed.evaluation.overlays import PREDICTION_COLOUR, REFERENCE_COLOUR
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.report import write_comparison, write_report
from segmed.evaluation.report.patients import (
    chosen_patients,
    chosen_slices,
    largest_slice,
    names_of,
    picture_rows,
    worst_first,
)
from segmed.evaluation.split_facts import SplitFacts
from segmed.models.checkpoint import RunConfig
from segmed.models.config import ModelConfig
from segmed.preprocess import PreprocessConfig

GOOD = (0.9, 0.85, 0.88, 0.8, 0.91, 0.86, 0.84, 0.79)
POOR = (0.7, 0.86, 0.6, 0.75, 0.5, 0.66, 0.61, 0.59)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """Two systems and a floor, with pictures and with a run folder; written once for all tests that only read."""
    folder = tmp_path_factory.mktemp("report")
    run = folder / "run"
    run.mkdir()
    config = RunConfig(ModelConfig(name="<b>unet</b>"), PreprocessConfig(), LabelMap(), threshold=0.5)
    write_json(run / "config.json", config.to_json())
    (run / "metrics.csv").write_text(
        "epoch,step,train/loss,validation/loss,validation/dice\n0,9,0.9,,\n0,9,,0.8,0.3\n1,19,0.5,,\n1,19,,0.6,0.5\n",
        encoding="utf-8",
    )
    members = [evaluation("poor", POOR), floor("nothing", [0.0] * 8), evaluation("good", GOOD)]
    write_report(members, out=folder, decoded=Pictures(), runs={"good": run})
    return folder


@pytest.fixture(scope="module")
def html(pages) -> str:
    return (pages / "report.html").read_text(encoding="utf-8")


def words(html: str) -> str:
    """The page's text without tags, one space between words."""
    body = html.split("</style>", 1)[1]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_page_loads_nothing_from_anywhere(html):
    assert re.findall(r"https?:|//\w", re.sub(r"base64,[^\"]*", "", html)) == []
    targets = re.findall(r"(?:src|href|action|srcset|data)\s*=\s*[\"']([^\"']*)", html)
    assert targets
    assert {target for target in targets if not target.startswith(("#", "data:image/png;base64,"))} == set()
    assert re.findall(r"@import|url\((?!#)", html) == []


def test_a_strict_content_security_policy_forbids_scripts_and_network(html):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "<script" not in html


def test_ids_are_unique_and_every_reference_inside_the_page_has_its_target(html):
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)) <= {(i, "") for i in ids} | {("", i) for i in ids}


def test_the_headline_says_who_leads_by_how_much_and_whether_it_is_separable(html):
    title = re.search(r"<h1[^>]*>(.*?)</h1>", html)
    assert title is not None
    sentence = r"good leads poor by 0\.195 \[0\.\d{3}, 0\.\d{3}\] in patient Dice, and the difference is separable .*"
    assert re.fullmatch(sentence, title[1])


def test_the_first_table_holds_the_numbers_of_the_evaluations(html):
    table = words(html[: html.index("</table>")])
    mean = sum(GOOD) / 8
    assert f"good {mean:.3f} [{mean - 0.04:.2f}, {mean + 0.03:.2f}] 12.3 [9.9, 15.0] –" in table
    assert table.index("good 0.8") < table.index("poor 0.6") < table.rindex("Floors") < table.index("nothing 0.000")


def test_the_csv_holds_every_digit_and_leaves_undefined_numbers_empty(pages):
    rows = list(csv.DictReader((pages / "comparison.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["name"], row["kind"]) for row in rows] == [("good", "run"), ("poor", "run"), ("nothing", "floor")]
    assert float(rows[0]["dice"]) == sum(GOOD) / 8
    assert rows[0]["specificity_empty_slices"] == ""
    assert (rows[0]["parameters"], rows[2]["parameters"]) == ("31200000", "")


def test_the_markdown_has_scores_costs_tests_and_ranks(pages):
    text = (pages / "comparison.md").read_text(encoding="utf-8")
    assert "| good | 0.854 [0.81, 0.88] | 12.3 [9.9, 15.0] | – | 31.2 M | 12.5 | 512 | 1 h 10 min |" in text
    assert "| good − poor | +0.195 [" in text
    assert "| good | 100 % | 0 % |" in text


def test_the_two_families_of_tests_that_holm_corrects_apart_are_two_tables_in_the_markdown(pages):
    text = (pages / "comparison.md").read_text(encoding="utf-8")
    systems, floors = text.split("## Paired tests on mean patient Dice ")[1:]
    assert systems.startswith("between systems")
    assert "good − poor" in systems
    assert floors.startswith("of the leader against floors")
    assert "good − nothing" in floors
    assert "good − poor" not in floors


def test_pictures_show_reference_and_prediction_for_the_worst_the_median_and_the_best(html):
    assert html.count("data:image/png;base64,") == 6 * 2 + 1  # and the one at the page's head
    ranks = re.findall(r"<b>(worst|median|best)</b>", html)
    assert ranks == ["worst"] * 3 + ["median"] + ["best"] * 2
    for colour in (REFERENCE_COLOUR, PREDICTION_COLOUR):
        assert "#{:02x}{:02x}{:02x}".format(*colour) in html


def test_the_median_patient_is_pictured_before_any_table(html):
    first = html.index('<figure class="first"><img src="data:image/png')
    assert html.index("<h1") < first < html.index('id="results"')
    assert "Median patient of good, patient Dice 0.860; channel 2 of 3." in words(html)


def test_pictures_say_which_channel_and_what_scale_they_show(html):
    assert html.count("Shown: channel 2 of 3") == 6
    windows = {int(width) for width in re.findall(r"(?:Window|Whole slice) of \d+ × (\d+) px", html)}
    bars = {
        (float(share), int(pixels)) for share, pixels in re.findall(r'style="width: ([\d.]+)%"></span>(\d+) px', html)
    }
    assert windows
    assert all(any(abs(share - 100 * pixels / width) < 0.01 for width in windows) for share, pixels in bars)
    assert all(100 / 12 < share < 34 for share, _ in bars)


def test_every_dot_tells_its_patient_and_leads_to_the_line_of_that_patient(html):
    dots = re.findall(r'<a href="#(patient-\d)"><title>(P\d): (0\.\d{3})</title>', html)
    assert len(dots) == 2 * 3 * 8  # two widths, three systems and floors
    lines = dict(re.findall(r'<tr id="(patient-\d)"><th scope="row">(P\d)', html))
    assert all(lines[anchor] == patient for anchor, patient, _ in dots)
    assert ("patient-1", "P7", "0.790") in dots
    assert "<title>P7: 0.790 and 0.590</title>" in html


def test_hd95_with_a_penalty_in_it_is_marked_and_stands_beside_the_distance(tmp_path):
    one = evaluation("a", (0.9, 0.8))
    scores = {**one.patients[0].scores, "hd95": 135.8, "hd95_shared": 1.5}
    penalised = dataclasses.replace(one.patients[0], one_sided_slices=3, scores=scores)
    page = write_report([dataclasses.replace(one, patients=(penalised, one.patients[1]))], out=tmp_path)
    text = page.read_text(encoding="utf-8")
    assert '<td>1.5</td><td class="penalised">135.8&thinsp;†</td><td>3</td>' in text
    assert "<td>–</td><td>3.5</td><td>0</td>" in text
    assert "† is no distance" in text


@pytest.mark.parametrize(("patients", "ranked"), [(1, False), (5, False), (6, True)])
def test_the_ranking_is_called_stable_only_where_patients_can_tell(tmp_path, patients, ranked):
    members = [evaluation("a", GOOD[:patients]), evaluation("b", POOR[:patients])]
    page = write_report(members, out=tmp_path).read_text(encoding="utf-8")
    assert ("Stability of the ranking" in page) == ranked
    assert ("takes a rank" in (tmp_path / "comparison.md").read_text(encoding="utf-8")) == ranked


def test_ids_break_after_their_separators_and_not_within_words(html):
    assert "P7_<wbr>2" in html
    (rule,) = re.findall(r"^tbody th \{ font-weight.*", html, flags=re.MULTILINE)
    assert "overflow-wrap: break-word" in rule


def test_a_table_that_a_phone_cuts_says_that_it_scrolls(html):
    assert html.count('<p class="hint" aria-hidden="true">') == html.count('<div class="scroll ')


def test_learning_curves_and_the_configuration_come_from_the_run_folder(html):
    assert "Dice on the validation part after each epoch" in html
    assert "&lt;b&gt;unet&lt;/b&gt;" in html


def test_the_page_says_that_it_is_for_research_only_and_what_the_conventions_are(html):
    assert "Research use only, not a medical device." in html
    assert "Missed and invented foreground" in html


def test_hostile_ids_and_names_are_escaped_everywhere(tmp_path):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=y> $a_b$"
    one = evaluation(evil, (0.5,))
    renamed = [row.__class__(**{**vars(row), "patient": evil}) for row in one.patients]
    slices = [row.__class__(**{**vars(row), "patient": evil, "slice_id": f"{evil}{row.slice}"}) for row in one.slices]
    predictions = {row.slice_id: square(row.slice) for row in slices}
    hostile = evaluation(
        evil,
        (0.5,),
        patients=tuple(renamed),
        slices=tuple(slices),
        predictions=predictions,
        provenance=Provenance(remark=evil, others={evil: evil}),
        split=SplitFacts(others={evil: {evil: evil}}),
    )
    html = write_report([hostile, floor("floor", (0.1,), slices=tuple(slices), patients=tuple(renamed))], out=tmp_path)
    text = html.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert re.findall(r"<[^>]*\sonerror=[^>]*>", re.sub(r'"[^"]*"', '""', text)) == []


def test_the_leaking_banner_and_tags_are_there_if_and_only_if_a_result_leaks(html, tmp_path):
    assert "LEAKING" not in html
    leak_facts = SplitFacts(units=8, patients_also_in_train=7, share_with_train_neighbour=0.914)
    leak = write_report([evaluation("a", GOOD, leaking=True, split=leak_facts), evaluation("b", POOR)], out=tmp_path)
    text = leak.read_text(encoding="utf-8")
    assert text.index('<div class="banner"') < text.index("<h1")
    captions = re.findall(r'<p class="caption">.*?</p>|<figcaption>.*?</figcaption>', text, flags=re.DOTALL)
    assert len(captions) >= 8 + 6 * 2  # tables and figures, and each picture of a slice
    assert [caption for caption in captions if "LEAKING" not in caption] == []
    headings = re.findall(r"^## .*", (tmp_path / "comparison.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings
    assert all(heading.startswith("## LEAKING: ") for heading in headings)
    assert "7 of 8 patients were in training too. 91 % of slices have a neighbour there. This concerns a." in text


def test_scores_on_the_validation_part_say_in_every_caption_that_they_are_no_test(html, tmp_path):
    assert "PART" not in words(html)
    alone = write_report([evaluation("a", GOOD, part="validation")], out=tmp_path).read_text(encoding="utf-8")
    assert alone.index('<div class="banner"') < alone.index("<h1")
    captions = re.findall(r'<p class="caption">.*?</p>|<figcaption>.*?</figcaption>', alone, flags=re.DOTALL)
    assert len(captions) >= 6 + 6
    assert [caption for caption in captions if "VALIDATION PART" not in caption] == []
    sentence = "These are scores on the validation part, on which epoch and threshold were chosen, so they flatter"
    assert sentence in re.findall(r'<p class="standfirst[^>]*>(.*?)</p>', alone)[0]
    assert sentence in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_one_run_without_floors_costs_curves_or_images_still_makes_a_report(tmp_path):
    alone = floor("alone", GOOD, kind="predictions", data_hash=None, split=SplitFacts(), provenance=Provenance())
    text = write_report([alone], out=tmp_path).read_text(encoding="utf-8")
    assert "alone reaches a mean patient Dice of 0.854 [0.81, 0.88] on 8 patients." in text
    assert "Paired tests" not in text
    assert "Stability of the ranking" not in text
    assert "These are the predictions alone" in text


def test_a_floor_that_beats_the_systems_is_the_finding(tmp_path):
    text = write_report([evaluation("weak", POOR), floor("copy", GOOD)], out=tmp_path).read_text(encoding="utf-8")
    assert "No system beats the floors: copy" in text


def test_headline_page_and_tables_are_over_the_patients_that_all_can_be_ranked_on(tmp_path):
    members = [evaluation("careful", (*(0.8,) * 9, np.nan)), evaluation("alarming", (*(0.81,) * 9, 0.0))]
    text = words(write_report(members, out=tmp_path).read_text(encoding="utf-8"))
    assert "alarming leads careful by 0.010 [0.010, 0.010]" in text
    assert "Mean patient Dice 0.810 [0.81, 0.81] against 0.800 [0.76, 0.83], on 9 patients" in text
    note = "1 of 10 patients has no foreground in the reference, where Dice counts only false alarms, and is left out "
    note += "of ranking and tests; foreground is predicted there by alarming in 1."
    assert note in text
    assert note in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_a_report_on_few_patients_says_that_its_intervals_and_tests_say_little(html, tmp_path):
    few = [evaluation("a", GOOD[:4]), evaluation("b", POOR[:4]), floor("nothing", [0.0] * 4)]
    text = words(write_report(few, out=tmp_path).read_text(encoding="utf-8"))
    assert "in patient Dice, with too few patients to tell that from chance." in text
    assert "a is above it, with too few patients to tell that from chance" in text
    assert "The intervals rest on 4 patients; below 20 they are narrower than 95 % would need." in text
    assert "rest on 8 patients" in words(html)
    many = write_report([evaluation("a", GOOD * 3)], out=tmp_path).read_text(encoding="utf-8")
    assert "The intervals rest on" not in many


def test_systems_on_patients_without_any_tumour_still_make_a_report_with_nothing_to_rank(tmp_path):
    members = [evaluation("a", (math.nan, math.nan)), evaluation("b", (0.0, math.nan)), floor("c", (math.nan, 0.0))]
    page = write_report(members, out=tmp_path).read_text(encoding="utf-8")
    assert "a and b: no patient has foreground, so there is no Dice to rank by." in page
    assert "too few patients to tell" in page
    assert re.search(r"\bnan\b", words(page)) is None
    assert "Stability of the ranking" not in page
    assert re.search(r"\bnan\b", (tmp_path / "comparison.md").read_text(encoding="utf-8")) is None


def test_from_three_systems_on_page_and_markdown_say_whether_other_metrics_rank_them_alike(html, tmp_path):
    members = [evaluation(name, [value - gap for value in GOOD]) for name, gap in (("a", 0), ("b", 0.1), ("c", 0.2))]
    text = words(write_report(members, out=tmp_path).read_text(encoding="utf-8"))
    assert "Kendall's tau with Dice –" in text.replace("&#39;", "'")  # all have the same HD95
    assert "| Kendall's tau with Dice | – |" in (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "Kendall" not in html


def test_only_floors_are_refused(tmp_path):
    with pytest.raises(DataError, match="only floors"):
        write_report([floor("copy", GOOD)], out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_other_data_are_refused(tmp_path):
    other = Pictures()
    other.data_hash = "0" * 64
    with pytest.raises(DataError, match="was scored on data 5eed5eed5eed, but the data named for pictures is 00000"):
        write_report([evaluation("a", GOOD)], out=tmp_path, decoded=other)


def anonymised(out: Path, decoded: object = None) -> str:
    told = {
        "data": "/home/jo/P1/lgg",
        "run": "/home/jo/P1/run",
        "others": {"command": "segmed evaluate /home/jo/P1/run"},
    }
    member = dataclasses.replace(evaluation("a", GOOD), provenance=Provenance(**told))
    return write_report([member], out=out, decoded=decoded, anonymise=True).read_text(encoding="utf-8")


def named(page: str) -> set[str]:
    return set(re.findall(r"patient-[0-9a-f]{8}", page))


def test_anonymised_names_are_equal_in_reports_of_the_same_data_and_hide_ids_and_folders(tmp_path):
    (tmp_path / "data").mkdir()
    data = Pictures()
    data.dataset = SliceDataset("made up", tmp_path / "data", ())
    first, second = (anonymised(tmp_path / name, data) for name in ("1", "2"))
    assert len(named(first)) == 8
    assert named(first) == named(second)
    assert re.findall(r"\bP\d(?:_\d)?\b", words(first)) == []
    assert "/home" not in first
    assert "segmed evaluate run" in first


def test_a_damaged_config_of_a_run_is_named_where_ids_are_to_be_taken_out_of_it(tmp_path):
    (tmp_path / "config.json").write_text('{"seen": ')
    comparison = compare([evaluation("a", GOOD)])
    with pytest.raises(DataError, match=r"config\.json: .*expected a run's config"):
        write_comparison(comparison, out=tmp_path / "out", runs={"a": tmp_path}, anonymise=True)


def test_without_the_data_anonymised_names_are_of_one_report(tmp_path):
    first, second = (anonymised(tmp_path / name) for name in ("1", "2"))
    assert len(named(first)) == len(named(second)) == 8
    assert not named(first) & named(second)


def test_patients_are_listed_worst_first_and_those_without_a_value_last():
    sample = evaluation("a", (0.9, np.nan, 0.2, 0.5))
    assert worst_first(sample) == ["P2", "P3", "P0", "P1"]


@pytest.mark.parametrize(
    ("dice", "words"),
    [
        ((0.5,), ["worst"]),
        ((0.5, 0.6, 0.7, 0.8), ["worst", "worst", "worst", "best"]),
        (tuple(0.1 * i for i in range(9)), ["worst"] * 3 + ["median"] + ["best"] * 2),
    ],
)
def test_each_pictured_patient_is_chosen_once(dice, words):
    assert list(chosen_patients(evaluation("a", dice)).values()) == words


def test_the_pictured_slice_is_the_one_with_the_most_foreground():
    assert largest_slice(evaluation("a", (0.5,)), "P0") == "P0_2"


def test_the_worst_patients_are_pictured_where_most_pixels_are_wrong_too():
    sample = evaluation("a", (0.5,))
    wrong = dataclasses.replace(sample.slices[0], fp=500)
    sample = dataclasses.replace(sample, slices=(wrong, *sample.slices[1:]))
    assert chosen_slices(sample, "P0", "worst") == {"P0_2": "most foreground", "P0_0": "most wrong pixels"}
    assert chosen_slices(sample, "P0", "median") == {"P0_2": "most foreground"}


def test_references_named_otherwise_than_slices_leave_pictures_to_the_data():
    sample = evaluation("a", (0.5,))
    shown, others = names_of(sample.slices, None), {"elsewhere": square(1)}
    with_data = picture_rows([sample], Pictures(), shown, references=others)
    assert with_data == picture_rows([sample], Pictures(), shown)
    without = picture_rows([sample], None, shown, references=others)
    assert without == picture_rows([sample], None, shown)
    assert without != picture_rows([sample], None, shown, references={"P0_2": square(2)})
