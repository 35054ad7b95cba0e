"""Results of prompts from the reference are compared among themselves, and say ORACLE wherever they are shown."""

import csv
from pathlib import Path
from typing import Any

import pytest
from report_samples import evaluation, floor

from segmed.evaluation.compare import compare
from segmed.evaluation.find import find_evaluations
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.report import write_report
from segmed.evaluation.report.headline import headline
from segmed.evaluation.result import Evaluation
from segmed.evaluation.rows import BoxRow
from segmed.prompts.kinds import PromptKind

OF_BOXES: dict[str, Any] = {"oracle": True, "provenance": Provenance(system="filled box")}
NONE, EXACT = PromptKind("none"), PromptKind("gt")
HIGH, LOW = (0.9, 0.95, 0.92, 0.97), (0.6, 0.7, 0.65, 0.72)


def told(name: str, dice: tuple[float, ...], kind: str, **changes: Any) -> Evaluation:
    facts = {"prompts": PromptKind.from_text(kind), "oracle": True, "provenance": Provenance(system=name)}
    return evaluation(f"{name} ({kind})", dice, **facts, **changes)


def several() -> list[Evaluation]:
    rows = (BoxRow("P0_0", "P0", 0, 0.4, 0.5, 0.5, 0.2, 0.3), BoxRow("P0_1", "P0", 0, 0.9, 0.8, 0.5, 0.6, 0.7))
    return [
        told("sam", HIGH, "gt", boxes=rows),
        told("sam", LOW, "jitter:20"),
        told("sam", HIGH, "gt x8"),
        evaluation("sam (none)", LOW, prompts=NONE),
        evaluation("unet", (0.7, 0.72, 0.71, 0.75)),
        floor("filled box (gt)", (0.7, 0.7, 0.7, 0.7), prompts=EXACT, **OF_BOXES),
        floor(
            "filled box (jitter:20)",
            (0.4, 0.3, 0.3, 0.4),
            prompts=PromptKind("jitter:20"),
            **OF_BOXES,
        ),
        floor("predict nothing", (0.0, 0.0, 0.0, 0.0)),
    ]


def names(evaluations: tuple[Evaluation, ...]) -> list[str]:
    return [each.name for each in evaluations]


def test_an_oracle_is_not_ranked_beside_automatic_systems_however_good() -> None:
    comparison = compare(several())
    assert names(comparison.systems) == ["unet", "sam (none)"]
    assert names(comparison.floors) == ["predict nothing"]
    assert [(test.first, test.second) for test in comparison.tests] == [("unet", "sam (none)")]
    assert headline(comparison).title.startswith("unet leads sam (none)")
    assert comparison.oracle_prompts is None


def test_each_kind_of_prompts_is_compared_by_itself_with_its_own_floors() -> None:
    gt, jitter = compare(several()).oracles
    assert (gt.oracle_prompts, jitter.oracle_prompts) == ("gt", "jitter:20")
    assert names(gt.systems) == ["sam (gt)", "sam (gt x8)"]
    assert names(gt.floors) == ["filled box (gt)"]
    assert [(test.first, test.second) for test in jitter.floor_tests] == [("sam (jitter:20)", "filled box (jitter:20)")]


def test_oracles_alone_make_a_comparison_that_says_so() -> None:
    comparison = compare([told("sam", LOW, "gt"), told("medsam", HIGH, "gt"), told("sam", LOW, "loose")])
    assert comparison.oracle_prompts == "gt"
    assert names(comparison.systems) == ["medsam (gt)", "sam (gt)"]
    assert [oracle.oracle_prompts for oracle in comparison.oracles] == ["loose"]
    assert any(sentence.startswith("ORACLE: ") for sentence in headline(comparison).standfirst)


def test_a_leaking_oracle_makes_the_comparison_leaking() -> None:
    assert compare([evaluation("unet", LOW), told("sam", HIGH, "gt", leaking=True)]).leaking


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages")
    write_report(several(), out=out)
    return out


def test_the_page_keeps_oracles_in_a_marked_table_of_their_own(pages: Path) -> None:
    html = (pages / "report.html").read_text()
    main, _, rest = html.partition('<section id="oracle">')
    oracle, _, after = rest.partition("</section>")
    assert "sam (gt)" not in main + after
    assert "ORACLE" not in main + after
    assert "unet" not in oracle
    assert oracle.count('<span class="tag">ORACLE</span>') == 5  # two tables, the curve, two reliability plots
    assert "IoU of masks against IoU of boxes" in oracle
    assert "x8 averages as many boxes around each" in oracle
    assert "Told where the foreground is, and so in a table of their own, the best reach 0.935" in main


def test_a_page_of_oracles_alone_says_so_on_top_and_in_every_caption(tmp_path: Path) -> None:
    html = write_report([told("sam", LOW, "gt")], out=tmp_path).read_text()
    assert "<title>ORACLE: sam (gt) reaches" in html
    assert "<strong>ORACLE.</strong> The prompts (gt) were made from the reference" in html
    assert html.count("<figcaption") + html.count('class="caption"') == html.count('<span class="tag">ORACLE</span>')


def test_without_oracles_the_page_has_no_such_section(tmp_path: Path) -> None:
    html = write_report([evaluation("unet", LOW)], out=tmp_path).read_text()
    assert 'id="oracle"' not in html
    assert "ORACLE" not in html


def test_plain_tables_mark_oracles_too(pages: Path) -> None:
    with (pages / "comparison.csv").open() as file:
        marks = {row["name"]: (row["prompts"], row["oracle"]) for row in csv.DictReader(file)}
    assert marks["sam (gt)"] == ("gt", "ORACLE")
    assert marks["sam (none)"] == ("none", "")
    assert marks["unet"] == ("", "")
    parts = (pages / "comparison.md").read_text().split("\n## ")
    assert not any("(gt)" in part for part in parts if "ORACLE" not in part.splitlines()[0])
    assert any(part.startswith("ORACLE, prompts gt: scores") and "filled box (gt)" in part for part in parts)


def saved(run: Path, *evaluations: Evaluation) -> Path:
    (run / "evaluation-test").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    for each in evaluations:
        folder = run / "evaluation-test" / (f"prompts/{each.prompts}" if each.prompts else "")
        each.save(folder)
    return run


@pytest.mark.parametrize("part", ["", "evaluation-test"])
def test_evaluations_under_prompts_are_found_with_their_run(tmp_path: Path, part: str) -> None:
    run = saved(tmp_path / "run", told("sam", HIGH, "gt"), evaluation("sam (none)", LOW, prompts=NONE))
    floor("filled box (gt)", LOW, prompts=EXACT, **OF_BOXES).save(run / "evaluation-test/prompts/gt/floors/filled")
    found = find_evaluations([run / part])
    assert names(found.evaluations) == ["sam (none)", "sam (gt)", "filled box (gt)"]
    assert found.runs == {"sam (none)": run}


def test_the_usual_evaluation_stands_for_the_equal_one_without_prompts(tmp_path: Path) -> None:
    own = {"provenance": Provenance(run="runs/sam")}
    run = saved(tmp_path / "run", evaluation("sam", LOW, **own), evaluation("sam (none)", LOW, prompts=NONE, **own))
    found = find_evaluations([run])
    assert names(found.evaluations) == ["sam"]
    assert found.runs == {"sam": run}
