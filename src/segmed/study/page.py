"""The study's page: the two tables first, then the story in pictures, provenance last; and the tables as files."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from segmed.core.errors import SegmedError
from segmed.core.files import sha256_of, write_text
from segmed.core.provenance import commit, machine, versions
from segmed.core.pseudonyms import without_places
from segmed.core.records import SliceDataset
from segmed.core.wording import plural
from segmed.data.imported import own_splits
from segmed.data.keys import pseudonyms_of
from segmed.evaluation.compare import Comparison, compare
from segmed.evaluation.groups import write_group_csv
from segmed.evaluation.report.files import write_csv, write_markdown
from segmed.evaluation.report.notes import training_note
from segmed.evaluation.report.oracle import quality_figure
from segmed.evaluation.report.page import LEAKING_TEXT, build_page, duel, render
from segmed.evaluation.report.patients import names_of
from segmed.evaluation.robustness import degraded_rows
from segmed.evaluation.statistics import RESAMPLES
from segmed.models.families import FAMILIES
from segmed.reproduction import tables as reproduction_tables
from segmed.reproduction import variant_fit
from segmed.reproduction.published import PUBLISHED, is_lgg
from segmed.study import tables
from segmed.study.results import Results, collect
from segmed.study.run import Study
from segmed.study.subgroups import group_tables
from segmed.study.systems import SYSTEMS, trained_system

PAGE = "study.html"
NOTE_ON_MASKS = (
    "Of {names} there are only masks: nothing tells whether what made them had seen these patients, or on whom it was "
    "tuned."
)
NOTE_ON_THRESHOLDS = (
    "Of {names} the epoch was chosen on validation patients with boxes of the reference, the threshold then on the "
    "same patients without a prompt, as in the test."
)
CONTENTS = (
    ("patient", "By patient", "has_patient"),
    ("boxes", "Given boxes", "boxes_alone"),
    ("reproduction", "As in the paper", "reproduction"),
    ("tests", "Paired tests", "has_tests"),
    ("ranking", "Ranking", "ranks"),
    ("groups", "Groups", "groups"),
    ("robustness", "Degraded images", "robustness"),
    ("institutions", "Institutions", "institutions"),
    ("patients", "Patients", "strips"),
    ("training", "Training", "curves"),
    ("calibration", "Calibration", "calibration"),
    ("filters", "Learned filters", "filters"),
    ("features", "Features", "features"),
    ("worst-first", "Worst first", "patient_lines"),
    ("absent", "Not here", "not_here"),
    ("metrics", "All numbers", "metric_groups"),
    ("provenance", "Provenance", "provenance"),
)


class NothingYetError(SegmedError):
    """There is nothing to make a page of yet."""


def write_page(study: Study, *, resamples: int = RESAMPLES) -> Path:
    """Write `study.html` and `tables/` from what is done, as the study's settings want them; returns the page's path.
    Nothing is trained.

    Raises `NothingYetError` where no row is whole yet.
    """
    results = collect(study, resamples=resamples)
    shown = study.settings
    main = _main(results)
    lgg = is_lgg(study.data.dataset.patients)
    pseudonyms = pseudonyms_of(study.data.dataset) if shown.anonymise else None
    names = names_of(study.data.dataset.records, pseudonyms)
    tables_of_groups, no_groups = group_tables(study, results.ranked, resamples=resamples)
    images_alone = None
    if results.reproduction:
        images_alone = reproduction_tables.reproduction_table(results.reproduction, results.reproduction_floors)
    told = (
        reproduction_tables.reproduction_table(results.reproduction_boxes, results.reproduction_box_floors)
        if results.reproduction_boxes
        else None
    )
    page = build_page(
        main,
        pictures=study.data if shown.pictures else None,
        runs=results.runs if results.ranked else _reproduction_runs(study, results),
        written=datetime.now(UTC),
        pseudonyms=pseudonyms,
        channel=shown.channel,
        groups=tables_of_groups,
        degraded=degraded_rows(main, results.degraded),
    )
    if not shown.pictures:
        page["pictures"] = []
    page |= {
        "has_patient": bool(results.ranked),
        "boxes_alone": bool(results.given_boxes) and not results.ranked,
        "memory_of_process": any(each.cost.peak_memory_mib is None for each in results.ranked),
        "reproduction": images_alone or told,
        "reproduction_alone": images_alone,
        "reproduction_told": told,
        "reproduction_own": any(not row.variant for row in results.reproduction),
        "reproduction_words": variant_fit.sentences(results.reproduction, results.reproduction_floors, lgg=lgg),
        "leaking_text": LEAKING_TEXT,
        "published": PUBLISHED if lgg else (),
        "seeds": tables.seed_table(results.ranked),
        "boxes": tables.box_table(results.given_boxes, results.box_floors) if results.given_boxes else None,
        "institutions": tables.institution_table(results) if results.institutions else None,
        "not_asked": [row.title for row in study.settings.not_asked],
        "absent": [replace(each, reason=without_places(names.in_text(each.reason))) for each in results.absent],
        "notes": _notes(results),
        "one_seed": study.settings.plan.seeds == 1,
        "no_groups": no_groups,
        "study_facts": _facts(study),
    }
    page["not_here"] = [*page["absent"], *page["not_asked"]]
    page["quality"], page["quality_key"] = quality_figure(results.given_boxes)
    if rival := _best_baseline(main):
        page |= duel(main, rival, names)
    titles = {"patient": f"By {main.unit.one}", "patients": main.unit.many.capitalize()}
    page["contents"] = [(anchor, titles.get(anchor, title)) for anchor, title, value in CONTENTS if page[value]]
    folder = study.out / "tables"
    tables.write_tables(folder, main if results.ranked else None, results, names)
    if results.ranked:
        write_csv(main, folder / "patient.csv")
        write_markdown(main, folder / "patient.md")
    if tables_of_groups:
        write_group_csv(folder / "groups.csv", tables_of_groups)
    path = study.out / PAGE
    html = render(page, package="segmed.study", template="study.html.j2")
    write_text(path, html)
    return path


def _main(results: Results) -> Comparison:
    """What ranking, tests and pictures are of: the rows by patient, or the paper's where there are no others."""
    if results.ranked:
        return compare([*results.ranked, *results.floors])
    for rows, floors in (
        (results.reproduction, results.reproduction_floors),
        (results.reproduction_boxes, results.reproduction_box_floors),
    ):
        if rows:
            return compare([*(row.evaluation for row in rows), *floors])
    if results.given_boxes:  # only oracles: the page says so on top, and ranks each kind of prompts by itself
        return compare([*results.given_boxes, *results.box_floors])
    reasons = "; ".join(f"{row.title}: {row.reason}" for row in results.absent[:3])
    raise NothingYetError(f"No row of the study is whole yet ({reasons}). Continue it with --resume.")


def _notes(results: Results) -> list[str]:
    """What a reader of the tables by patient must know of some of their rows."""
    reproduced = (row.evaluation for row in (*results.reproduction, *results.reproduction_boxes))
    shown = (*results.ranked, *results.given_boxes, *reproduced)
    notes = [*contamination_notes({each.name for each in shown}), *filter(None, [training_note(shown)])]
    unprompted = {row.title for row in SYSTEMS.values() if row.recipe and row.given == "image alone"}
    if names := [each.name for each in results.ranked if each.name in unprompted]:
        notes.append(NOTE_ON_THRESHOLDS.format(names="; ".join(names)))
    if results.unchecked:
        notes.append(NOTE_ON_MASKS.format(names=", ".join(results.unchecked)))
    return notes


def contamination_notes(names: Collection[str]) -> list[str]:
    """Patients that the published weights under rows of the study, by title, may have seen."""
    recipes = {trained_system(row).recipe for row in SYSTEMS.values() if row.title in names}
    return [row.contamination for row in FAMILIES.values() if row.recipe in recipes and row.contamination is not None]


def _best_baseline(comparison: Comparison) -> str:
    """The best of the paper's baselines that does not lead; the others are measured against it."""
    baselines = {system.title for system in SYSTEMS.values() if system.baseline}
    return next((system.name for system in comparison.systems[1:] if system.name in baselines), "")


def _reproduction_runs(study: Study, results: Results) -> dict[str, Path]:
    names = {
        f"{row.name}--{row.variant}": row.evaluation.name
        for row in (*results.reproduction, *results.reproduction_boxes)
    }
    return {names[job.row]: job.folder(study.out) for job in study.jobs if job.row in names}


def _has_tiny(study: Study) -> bool:
    return any(trained_system(row).recipe == "sam-tiny" for row in study.settings.rows)


def _size(dataset: SliceDataset) -> str:
    return dataset.unit.count(len(dataset.patients))


def _facts(study: Study) -> list[tuple[str, str]]:
    """What is needed to make the study again."""
    plan = study.settings.plan
    facts = {
        "command": study.settings.command(study.data.dataset.path, study.out),
        "data": f"{study.data.dataset.name}, {_size(study.data.dataset)}, hash {study.data.data_hash}",
        **({"splits of the data, not used": ", ".join(own)} if (own := own_splits(study.data.dataset)) else {}),
        "budget": f"{plan.name}: {plural(plan.folds, 'fold')}, {plural(plan.seeds, 'seed')}",
        "settings of dense networks": ", ".join(plan.common),
        **({"of decoders with widths": ", ".join(plan.slim)} if plan.slim else {}),
        "by patient": ", ".join(plan.patient),
        "as in the paper": ", ".join(plan.reproduction),
        **({"settings of sam-tiny": ", ".join(plan.tiny)} if _has_tiny(study) else {}),
        **{f"split {name}": f"SHA-256 {sha256_of(study.out / 'splits' / f'{name}.json')}" for name in study.splits},
        "commit": commit() or "installed package",
        "machine of this page": machine(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    return list(facts.items())
