"""Tables that `segmed data` prints."""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.table import Table

from segmed.cli.messages import console
from segmed.core.split import PARTS, Partition, Split
from segmed.core.wording import plural
from segmed.data.check import CheckReport
from segmed.data.decoded import DecodedDataset
from segmed.data.facts import Facts
from segmed.data.listing import Finding
from segmed.data.splits import leak_figures

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def print_check(report: CheckReport, *, most: int | None) -> None:
    """Print facts and findings; of each kind of finding at most `most`, or all for None."""
    shown = console()
    shown.print(_facts_table(report.facts))
    if report.findings:
        shown.print(_findings_table(report, most))
    counts = [(word, sum(f.severity == word for f in report.findings)) for word in STYLES]
    shown.print(", ".join(plural(count, word) for word, count in counts) + ".")


def print_split(split: Split, decoded: DecodedDataset) -> None:
    """Print how many patients (or images), slices and positive slices each part has, and how far it leaks."""
    shown = console()
    unit = split.unit
    table = Table("part", unit.many, "slices", "positive", title=f"Split by {split.strategy}, seed {split.seed}")
    for column in table.columns[1:]:
        column.justify = "right"
    for number, fold in enumerate(split.folds):
        for part in PARTS:
            name = part if len(split.folds) == 1 else f"fold {number} {part}"
            table.add_row(name, *(str(count) for count in _part_counts(split, decoded, fold.part(part))))
    shown.print(table)
    for number, fold in enumerate(split.folds if split.patients_known else ()):  # else nothing can be said of it
        shown.print(_leak_line(decoded, number, fold))


def _facts_table(facts: Facts) -> Table:
    table = Table("fact", "value", show_header=False)
    table.columns[1].justify = "right"
    rows = [
        ("patients", f"{facts.patients:,}") if facts.patients_known else ("patients", "unknown"),
        ("slices", f"{facts.slices:,}"),
        ("slices with foreground", f"{facts.positive_slices:,}"),
        ("foreground pixels", f"{facts.foreground_pixels:,}"),
        ("constant planes, and slices with one", f"{facts.constant_planes}, {facts.slices_with_constant_plane}"),
        ("sizes", ", ".join(f"{size} ({count})" for size, count in sorted(facts.sizes.items())[:4])),
    ]
    if len(facts.label_pixels) > 1:
        rows[4:4] = [(f"pixels of {name}", f"{count:,}") for name, count in facts.label_pixels.items()]
    if facts.post_is_flair:
        rows += [
            ("patients whose post-contrast is FLAIR (third channel = second)", str(len(facts.post_is_flair))),
            ("of them, pre-contrast is FLAIR too (all channels equal)", str(len(facts.pre_and_post_are_flair))),
        ]
    if facts.institutions:
        rows.append(("patients by institution", ", ".join(f"{k} {v}" for k, v in sorted(facts.institutions.items()))))
    for name, counts in (("volumes by spacing", facts.spacings), ("volumes by orientation", facts.orientations)):
        if counts:
            rows.append((name, ", ".join(f"{value} ({count})" for value, count in sorted(counts.items())[:6])))
    for row in rows:
        table.add_row(*row)
    return table


def _findings_table(report: CheckReport, most: int | None) -> Table:
    table = Table("severity", "kind", "where", "what")
    table.columns[2].overflow = table.columns[3].overflow = "fold"
    for finding, hidden in _shortened(report.findings, most):
        where = _short(finding.where, report.root)
        message = finding.message.replace(f"{report.root}{os.sep}", "")
        table.add_row(finding.severity, finding.code, where, message, style=STYLES[finding.severity])
        if hidden:
            table.add_row("", finding.code, "", f"and {hidden} more of this kind; --all shows them.", style="dim")
    return table


def _shortened(findings: Sequence[Finding], most: int | None) -> Iterator[tuple[Finding, int]]:
    """The first findings of each kind; with the last of them, the number that is left out."""
    for _, group in groupby(findings, key=lambda finding: (finding.severity, finding.code)):
        same = list(group)
        shown = same if most is None else same[:most]
        for place, finding in enumerate(shown, start=1):
            yield finding, len(same) - len(shown) if place == len(shown) else 0


def _short(where: str, root: Path) -> str:
    """A file relative to the data set's root."""
    path = Path(where)
    return str(path.relative_to(root)) if path != root and path.is_relative_to(root) else where


def _part_counts(split: Split, decoded: DecodedDataset, slice_ids: Sequence[str]) -> tuple[int, int, int]:
    positive = sum(decoded.has_mask(slice_id) and bool(decoded.mask(slice_id).any()) for slice_id in slice_ids)
    return len({split.patient_of[slice_id] for slice_id in slice_ids}), len(slice_ids), positive


def _leak_line(decoded: DecodedDataset, number: int, fold: Partition) -> str:
    figures = leak_figures(decoded.dataset.records, fold)
    return (
        f"Fold {number}: {figures.with_train_neighbour} of {figures.test_slices} test slices "
        f"({figures.share:.1%}) have a neighbouring slice in training; {figures.patients_also_in_train} of "
        f"{figures.test_patients} test patients are in training too."
    )
