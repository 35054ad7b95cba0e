"""The plain files beside the page: `comparison.csv` with every digit, `comparison.md` to paste into a paper."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.escaping import for_markdown
from segmed.core.files import write_table, write_text
from segmed.core.units import Unit
from segmed.evaluation.compare import Comparison, Difference, can_be_ranked
from segmed.evaluation.report import numbers, tables
from segmed.evaluation.report.metrics import Heading
from segmed.evaluation.report.notes import notes
from segmed.evaluation.result import LEAKING, PATIENTS_UNKNOWN, TRAINING_UNKNOWN, Cost, Evaluation

FLOORS = "*Floors*"
COMPARISON = "comparison.csv"
"""The first file that a report writes, by whose header a folder of ours is known."""
ALWAYS = ("report.html", COMPARISON, "comparison.md")
"""The files that every report has."""
FACTS = ("name", "kind", "part", "split", "prompts", "oracle", "label")
"""What `comparison.csv` begins with."""
MEAN_OF_LABELS = "mean of labels"
"""What `comparison.csv` and `comparison.md` call the numbers of several labels together."""


PENALISED = (
    "† has penalties in it: where only one mask has the label, the diagonal of the volume stands for a distance."
)


def marks_of(evaluation: Evaluation) -> list[str]:
    """What keeps a result from being believed, in capitals; nothing where all is known and well."""
    unknown = [] if evaluation.patients_known else [PATIENTS_UNKNOWN]
    unknown += [] if evaluation.training_known else [TRAINING_UNKNOWN]
    return [LEAKING] if evaluation.leaking else unknown


def require_report_place(out: Path, names: Sequence[str] = ALWAYS) -> None:
    """Raise `DataError` where a report would replace files of these names that no earlier report wrote.

    Example:
        require_report_place(tmp_path / "new")
    """
    if _is_ours(out / COMPARISON):
        return
    for path in (out / name for name in names):
        if path.exists():
            raise DataError(
                f"{path}: is there already, and {out} holds no {COMPARISON} of `segmed compare`, so it is not of an "
                "earlier report and is not replaced. Choose another folder."
            )


def _is_ours(table: Path) -> bool:
    """Whether a table begins as `write_csv` writes it, and did in earlier versions."""
    try:
        with table.open("rb") as file:
            return file.readline().startswith(",".join(FACTS[:3]).encode() + b",")
    except OSError:
        return False


def write_csv(comparison: Comparison, path: Path) -> None:
    """A line per system and floor: every metric with its ends, in full precision, and the costs; empty if undefined.

    With several labels each system has a line for each in which `label` names it, after one of all labels.
    """
    names = tuple(dict.fromkeys(name for evaluation in comparison.all_evaluations for name in evaluation.metrics))
    costs = [field.name for field in dataclasses.fields(Cost)]
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    header = [*FACTS, *ends]
    rows: list[list[object]] = []
    for evaluation in comparison.all_evaluations:
        split = "; ".join(marks_of(evaluation))
        oracle = "ORACLE" if evaluation.oracle else ""
        facts = [evaluation.name, evaluation.kind, evaluation.part, split, str(evaluation.prompts or ""), oracle]
        together = {MEAN_OF_LABELS if evaluation.by_label else "": evaluation.metrics}
        for label, found in {**together, **evaluation.by_label}.items():
            metrics = [found.get(name, tables.NO_VALUE) for name in names]
            values = [value for metric in metrics for value in (metric.value, metric.low, metric.high)]
            rows.append([*facts, label, *values, *(getattr(evaluation.cost, cost) for cost in costs)])
    write_table(path, [*header, *costs], rows)


def write_markdown(comparison: Comparison, path: Path) -> None:
    """The tables of scores with costs, of paired tests, of ranks and of agreement between metrics, as Markdown."""
    unit = comparison.unit
    leak = f"{LEAKING}: " if comparison.leaking else ""
    leak += "" if comparison.patients_known else f"{PATIENTS_UNKNOWN}: "
    leak += "" if all(each.training_known for each in comparison.all_evaluations) else f"{TRAINING_UNKNOWN}: "
    leak += "ORACLE: " if comparison.oracle_prompts else ""
    parts = [f"## {leak}Scores on the {for_markdown(comparison.evaluations[0].part)} part\n", _score_table(comparison)]
    if comparison.labels:
        parts += [f"\nEvery number above is of all labels: the {MEAN_OF_LABELS}; of Missed, any label.\n"]
    if tables.scores(comparison).penalised:
        parts += [f"\n{PENALISED}\n"]
    for label, scores in tables.label_scores(comparison):
        parts += [f"\n## {leak}Scores of {for_markdown(label)}\n", _label_table(scores)]
    for tests, what in (
        (comparison.tests, "between systems"),
        (comparison.label_tests, "between systems, label by label"),
        (comparison.floor_tests, "of the leader against floors"),
    ):
        if tests:
            parts += [f"\n## {leak}Paired tests on mean {unit.one} Dice {what}\n", _test_table(tests, unit)]
    if len(comparison.systems) > 1 and can_be_ranked(comparison):
        parts += [
            f"\n## {leak}Share of {unit.one} bootstraps in which a system takes a rank\n",
            _rank_table(comparison),
        ]
    if agreement := tables.agreement(comparison):
        titles, taus = zip(*agreement, strict=True)
        parts += [f"\n## {leak}Agreement of metrics\n", _markdown(["", *titles], [["Kendall's tau with Dice", *taus]])]
    for oracle in comparison.oracles:
        told = f"{leak.removesuffix('ORACLE: ')}ORACLE, prompts {for_markdown(str(oracle.oracle_prompts))}"
        parts += [f"\n## {told}: scores\n", _score_table(oracle)]
        parts += [f"\n## {told}: paired tests\n", _test_table([*oracle.tests, *oracle.floor_tests], unit)]
    parts += [f"\n{for_markdown(note)}\n" for note in notes(comparison)]
    parts.append(f"\n95 % bootstrap intervals over {unit.many}. Research use only, not a medical device.\n")
    write_text(path, "\n".join(parts))


def _score_table(comparison: Comparison) -> str:
    scores = tables.scores(comparison)
    costs = [f"{title} ({unit})" if unit else title for title, unit in tables.COST_COLUMNS]
    header = ["System", *(_heading(column) for column in scores.columns), *costs]
    evaluations = {evaluation.name: evaluation for evaluation in comparison.evaluations}
    lines = [_line(row, evaluations[row.name]) for row in scores.systems]
    if scores.floors:
        lines += [[FLOORS, *[""] * (len(header) - 1)]]
        lines += [_line(row, evaluations[row.name]) for row in scores.floors]
    return _markdown(header, lines)


def _label_table(scores: tables.Scores) -> str:
    header = ["System", *(_heading(column) for column in scores.columns)]
    rows = [
        [f"{row.name} ({row.alarm})" if row.alarm else row.name, *_cell_texts(row)]
        for row in (*scores.systems, *scores.floors)
    ]
    return _markdown(header, rows)


def _line(row: tables.Row, evaluation: Evaluation) -> list[str]:
    return [row.name, *_cell_texts(row), *tables.cost_texts(evaluation)]


def _cell_texts(row: tables.Row) -> list[str]:
    return [
        " ".join(text for text in (cell.value, "†" if cell.penalised else "", cell.interval, cell.n) if text)
        for cell in row.cells
    ]


def _test_table(tests: Sequence[Difference], unit: Unit) -> str:
    header = ["Pair", "Difference", "p sign flip", "p Holm", "p Wilcoxon", unit.many.capitalize(), "Verdict"]
    lines = [
        [
            f"{line.first} − {line.second}{f', {line.label}' if line.label else ''}",
            f"{line.difference} {line.interval}".rstrip(),
            line.p,
            line.p_holm,
            line.p_wilcoxon,
            str(line.patients),
            line.verdict,
        ]
        for line in tables.pair_lines(tests, unit)
    ]
    return _markdown(header, lines)


def _rank_table(comparison: Comparison) -> str:
    header = ["System", *(f"Rank {rank}" for rank in range(1, len(comparison.systems) + 1))]
    lines = [
        [system.name, *(numbers.number(100 * float(share), 0) + " %" for share in shares)]
        for system, shares in zip(comparison.systems, comparison.rank_shares, strict=True)
    ]
    return _markdown(header, lines)


def _heading(column: Heading) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.title}{unit} {column.arrow}".rstrip()


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(header) - 1)]
    head, *rows = (
        [cell if cell == FLOORS else for_markdown(" ".join(cell.split())) for cell in row] for row in (header, *lines)
    )
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ruler, *rows))
