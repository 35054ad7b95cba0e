"""The page: what the templates print, gathered section by section, and the printing itself."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from segmed.core.errors import DataError
from segmed.core.pseudonyms import Pseudonyms, without_places
from segmed.core.reading import read_json
from segmed.core.wording import plural
from segmed.evaluation.compare import PRIMARY, Comparison, can_be_ranked
from segmed.evaluation.groups import GroupTable
from segmed.evaluation.overlays import PREDICTION_COLOUR, REFERENCE_COLOUR, Colour
from segmed.evaluation.report import figures, tables
from segmed.evaluation.report.features import feature_pictures
from segmed.evaluation.report.filters import filter_pictures
from segmed.evaluation.report.group_rows import group_sections
from segmed.evaluation.report.headline import headline
from segmed.evaluation.report.history import Points, read_history
from segmed.evaluation.report.metrics import conventions
from segmed.evaluation.report.notes import oracle_text, scored_part, training_note
from segmed.evaluation.report.oracle import oracle_sections
from segmed.evaluation.report.patients import (
    Names,
    Pictures,
    References,
    anchors_of,
    first_picture,
    names_of,
    patient_lines,
    patient_units,
    picture_rows,
)
from segmed.evaluation.report.robustness import robustness
from segmed.evaluation.report.viewer import LIMIT, VolumePictures, script, script_hash, volume_views
from segmed.evaluation.result import LEAKING, PATIENTS_UNKNOWN, TRAINING_UNKNOWN, Evaluation
from segmed.evaluation.robustness import Degraded
from segmed.evaluation.rows import CaseRow, SliceRow
from segmed.evaluation.split_facts import SplitFacts
from segmed.models.checkpoint import CONFIG, RECIPE
from segmed.version import __version__

RUN_FILES = (CONFIG, RECIPE)
MOST_PICTURED = 4
"""Only so many leading systems get pictures, which keeps the file small enough to mail."""
LEAKING_TEXT = (
    "Slices of the same patients were used for training and for testing. These numbers show how well patients are "
    "remembered, not how well a new patient is segmented. Do not set them beside results of a split by patient."
)
UNKNOWN_TEXT = (
    "Nobody said which images are of one patient, so each counts by itself. Slices of one patient may be in training "
    "and in the test, where scores flatter, and intervals are over images, too narrow where several are of one patient."
)
UNKNOWN_VOLUMES_TEXT = (
    "Nobody said which volumes are of one patient, so each counts by itself. Intervals are over volumes, too narrow "
    "where several are of one patient; and what was trained on some volumes of a patient may be tested on others."
)
SECTIONS = (
    ("results", "Results", "scores"),
    ("tests", "Paired tests", "has_tests"),
    ("ranking", "Ranking", "ranks"),
    ("groups", "Groups", "groups"),
    ("patients", "Patients", "strips"),
    ("robustness", "Degraded images", "robustness"),
    ("training", "Training", "curves"),
    ("calibration", "Calibration", "calibration"),
    ("filters", "Learned filters", "filters"),
    ("features", "Features", "features"),
    ("oracle", "Oracles", "has_oracle"),
    ("worst-first", "Worst first", "patient_lines"),
    ("metrics", "All numbers", "metric_groups"),
    ("provenance", "Provenance", "provenance"),
)
"""Anchor, title, and the value that must not be empty for the section to be there."""

Sections = dict[str, Any]


class Numbering:
    """Numbers tables, or figures, in the order in which they are printed."""

    def __init__(self) -> None:
        """Start at 1."""
        self._known: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        """The number of `name`; the next one where it is new."""
        return self._known.setdefault(name, len(self._known) + 1)


@dataclass(frozen=True)
class Picture:
    """A figure at its two widths."""

    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Curve:
    """A figure of learning curves with its caption."""

    name: str
    picture: Markup
    text: str


@dataclass(frozen=True)
class KeyEntry:
    """A line of a key: whose, in which colour and with which dashes."""

    name: str
    place: int
    dash: str


@dataclass(frozen=True)
class RankRow:
    """How often a system takes each rank, as (number, text)."""

    name: str
    shares: tuple[tuple[float, str], ...]


def build_page(
    comparison: Comparison,
    *,
    pictures: Pictures | None,
    runs: Mapping[str, Path],
    written: datetime,
    pseudonyms: Pseudonyms | None = None,
    channel: int | None = None,
    groups: Sequence[GroupTable] = (),
    degraded: Sequence[Degraded] = (),
    volumes: VolumePictures | None = None,
    references: References | None = None,
) -> Sections:
    """Gather what the templates print. Raises `DataError` where there are only floors."""
    if not comparison.systems:
        raise DataError("There are only floors. Name at least one run or folder of predictions that was evaluated.")
    page = {
        **_front(comparison, written),
        **_results(comparison),
        "groups": group_sections(groups),
        **_patients(comparison, names_of(_rows(comparison.systems[0]), pseudonyms)),
        **_robustness(comparison, degraded),
        **_training(comparison.systems, runs),
        **_calibration(comparison.systems),
        "filters": filter_pictures(comparison.systems, runs, pictures),
        "features": feature_pictures(comparison.systems, runs, pictures),
        **oracle_sections(comparison),
        **_cases(comparison.systems, pictures, pseudonyms, volumes, references, channel=channel),
        **_about(comparison, runs, shared=pseudonyms is not None),
    }
    titles = {"patients": comparison.unit.many.capitalize()}
    contents = [(anchor, titles.get(anchor, title)) for anchor, title, value in SECTIONS if page[value]]
    return {**page, "contents": contents, "table": Numbering(), "figure": Numbering()}


def render(page: Sections, *, package: str = "segmed.evaluation.report", template: str = "report.html.j2") -> str:
    """The page as HTML: every text escaped, undefined names refused. Another package's templates may use ours."""
    return _templates_of(package).get_template(template).render(page=page).lstrip()


@functools.cache
def _templates_of(package: str) -> Any:
    """Jinja's environment of a package's templates, made once, since it keeps what it has compiled."""
    import jinja2

    packages = dict.fromkeys((package, "segmed.evaluation.report"))
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _front(comparison: Comparison, written: datetime) -> Sections:
    leader = comparison.systems[0]
    patients = len(leader.by_patient(PRIMARY))
    parts = len({row.case for row in leader.cases} if leader.space else {row.slice_id for row in leader.slices})
    facts = [part] if (part := scored_part(leader)) else []
    facts += [comparison.unit.count(patients)]
    facts += [plural(parts, "case" if leader.space else "slice")] if comparison.patients_known else []
    facts += [f"data {leader.data_hash[:12]}"] if leader.data_hash else []
    return {
        "headline": headline(comparison),
        "banners": _banners(comparison),
        "facts": " · ".join(facts),
        "part": part,
        "unit": comparison.unit,
        "leader": leader.name,
        "system_names": [system.name for system in comparison.systems],
        "all_names": [evaluation.name for evaluation in comparison.evaluations],
        "written": f"{written:%Y-%m-%d %H:%M} UTC",
        "version": __version__,
    }


def _banners(comparison: Comparison) -> list[tuple[str, str]]:
    """Marks that stand at the page's head with their text, and in every caption."""
    part = comparison.evaluations[0].part
    marks = [(LEAKING, leaking_text(comparison.all_evaluations))] if comparison.leaking else []
    if not comparison.patients_known:
        marks.append((PATIENTS_UNKNOWN, unknown_text(comparison.all_evaluations)))
    if training := training_note(comparison.all_evaluations):
        marks.append((TRAINING_UNKNOWN, training.removeprefix(f"{TRAINING_UNKNOWN}: ")))
    if comparison.oracle_prompts:
        marks.append(("ORACLE", oracle_text(comparison.oracle_prompts)))
    return marks + ([(f"{part.upper()} PART", "These scores flatter and are no test.")] if part != "test" else [])


def leaking_text(evaluations: Sequence[Evaluation]) -> str:
    """What leaked, how far (where the split's facts say so), and whose result is concerned if not all are."""
    leaks = [evaluation for evaluation in evaluations if evaluation.leaking]
    sentences = [LEAKING_TEXT]
    facts = leaks[0].split if leaks else SplitFacts()
    if facts.patients_also_in_train is not None and facts.units is not None:
        sentences.append(f"{facts.patients_also_in_train} of {facts.units} patients were in training too.")
    if facts.share_with_train_neighbour is not None:
        sentences.append(f"{100 * facts.share_with_train_neighbour:.0f} % of slices have a neighbour there.")
    if len(leaks) < len(evaluations):
        sentences.append(f"This concerns {', '.join(evaluation.name for evaluation in leaks)}.")
    return " ".join(sentences)


def unknown_text(evaluations: Sequence[Evaluation]) -> str:
    """What is not known where nobody said which images are of one patient, and whose result is concerned if not all."""
    concerned = [evaluation for evaluation in evaluations if not evaluation.patients_known]
    volumes = all(evaluation.space is not None for evaluation in concerned)
    text = UNKNOWN_VOLUMES_TEXT if volumes else UNKNOWN_TEXT
    if len(concerned) == len(evaluations):
        return text
    return f"{text} This concerns {', '.join(evaluation.name for evaluation in concerned)}."


def _results(comparison: Comparison) -> Sections:
    ranks = [
        RankRow(system.name, tuple((float(share), f"{100 * share:.0f} %") for share in shares))
        for system, shares in zip(comparison.systems, comparison.rank_shares, strict=True)
    ]
    return {
        "scores": tables.scores(comparison),
        "label_scores": tables.label_scores(comparison),
        "costs": tables.costs(comparison),
        "tests": tables.pair_lines(comparison.tests, comparison.unit),
        "label_tests": tables.pair_lines(comparison.label_tests, comparison.unit),
        "floor_tests": tables.pair_lines(comparison.floor_tests, comparison.unit),
        "has_tests": bool(comparison.tests or comparison.floor_tests),
        "agreement": tables.agreement(comparison),
        "ranks": ranks if len(ranks) > 1 and can_be_ranked(comparison) else [],
    }


def _patients(comparison: Comparison, shown: Names) -> Sections:
    places: list[int | None] = list(range(len(comparison.systems)))
    places += [None] * len(comparison.floors)
    strips = [strip_of(comparison, e, place, shown) for e, place in zip(comparison.evaluations, places, strict=True)]
    axis = f"{comparison.unit.one} Dice"
    widths = (figures.WIDE, figures.NARROW)
    several = len(comparison.systems) > 1
    return {
        "strips": Picture(*(figures.strip_plot(strips, width, axis=axis) for width in widths)),
        **(duel(comparison, comparison.systems[1].name, shown) if several else {"duel": None, "rival": ""}),
    }


def duel(comparison: Comparison, rival: str, shown: Names) -> Sections:
    """The leader's patients against those of another system, by its name; `shown` has what is printed for patients."""
    names = [system.name for system in comparison.systems]
    place = names.index(rival)
    first, second = (strip_of(comparison, comparison.systems[each], each, shown) for each in (0, place))
    widths = (figures.WIDE, figures.NARROW)
    return {
        "duel": Picture(
            *(figures.pair_plot(first, second, width, axis=f"{comparison.unit.one} Dice") for width in widths)
        ),
        "rival": rival,
    }


def strip_of(comparison: Comparison, evaluation: Evaluation, place: int | None, shown: Names) -> figures.Strip:
    """An evaluation's patients as a strip whose dots lead to the table; `place` is its rank, None for a floor."""
    metric, dice = tables.metric_of(evaluation, PRIMARY), evaluation.by_patient(PRIMARY)
    anchors = anchors_of(comparison.systems[0])
    dots = tuple((anchor, shown.patients[patient]) for patient, anchor in anchors.items())
    values = tuple(dice[patient] for patient in anchors)
    return figures.Strip(evaluation.name, values, metric.value, metric.low, metric.high, place, dots)


def _robustness(comparison: Comparison, degraded: Sequence[Degraded]) -> Sections:
    key = _key((result.system for result in degraded), _places(comparison.systems))
    return {"robustness": robustness(comparison, degraded), "robustness_key": key}


def _training(systems: Sequence[Evaluation], runs: Mapping[str, Path]) -> Sections:
    places = _places(systems)
    histories = {name: read_history(runs[name]) for name in places if name in runs}

    def column(name: str) -> dict[str, Points]:
        return {run: history[name] for run, history in histories.items() if name in history}

    dice, loss, train = column("validation/dice"), column("validation/loss"), column("train/loss")
    curves = []
    if dice:
        picture = figures.curves(dice, places, figures.HALF, label="Dice", name="curve-dice")
        curves.append(Curve("curve-dice", picture, "Dice on the validation part after each epoch."))
    if loss or train:
        picture = figures.curves(loss, places, figures.HALF, label="loss", name="curve-loss", other=train)
        curves.append(Curve("curve-loss", picture, "Loss on the validation part; faint, on the training part."))
    return {"curves": curves, "curve_key": _key([*dice, *loss, *train], places)}


def _calibration(systems: Sequence[Evaluation]) -> Sections:
    places = _places(systems)
    known = {system.name: system.calibration for system in systems if system.calibration is not None}
    picture = figures.calibration_plot(known, places, figures.NARROW) if known else None
    return {"calibration": picture, "calibration_key": _key(known, places)}


def _rows(evaluation: Evaluation) -> Sequence[CaseRow] | Sequence[SliceRow]:
    """What an evaluation scored: cases, which are volumes, or slices."""
    return evaluation.cases if evaluation.space else evaluation.slices


def _cases(
    systems: Sequence[Evaluation],
    pictures: Pictures | None,
    pseudonyms: Pseudonyms | None,
    volumes: VolumePictures | None,
    references: References | None,
    *,
    channel: int | None,
) -> Sections:
    shown = names_of(_rows(systems[0]), pseudonyms)
    whole = systems[0].space is not None
    pictured = systems[:MOST_PICTURED]
    rows = [] if whole else picture_rows(pictured, pictures, shown, channel=channel, references=references)
    return {
        "volumes": volume_views(systems, volumes, shown, most=MOST_PICTURED) if whole else [],
        "volume_limit": LIMIT // 2**20,
        "script": Markup(script()) if whole else "",
        "script_hash": script_hash(),
        "has_references": volumes is not None if whole else pictures is not None or references is not None,
        "patient_units": patient_units(systems[0]),
        "pictures": rows,
        "first_picture": first_picture(rows),
        "patient_lines": patient_lines(systems, shown),
        "has_images": pictures is not None,
        "reference_colour": _hex(REFERENCE_COLOUR),
        "prediction_colour": _hex(PREDICTION_COLOUR),
    }


def _about(comparison: Comparison, runs: Mapping[str, Path], *, shared: bool) -> Sections:
    files = [
        (system.name, file, _file_text(runs[system.name] / file, shared=shared))
        for system in comparison.systems
        for file in RUN_FILES
        if system.name in runs and (runs[system.name] / file).is_file()
    ]
    return {
        "metric_groups": tables.metric_groups(comparison),
        "conventions": conventions(patients_known=comparison.patients_known, space=comparison.evaluations[0].space),
        "provenance": tables.provenance(comparison.systems, shared=shared),
        "files": files,
    }


def _file_text(path: Path, *, shared: bool) -> str:
    """A file of a run for the page; where that is to be `shared`, without folders and digests of patients."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not shared:
        return text
    if path.name == CONFIG:
        values = read_json(path, dict[str, Any], what="a run's config", remedy="Restore it, or leave its folder out.")
        text = json.dumps({key: value for key, value in values.items() if key != "seen"}, indent=2)
    return without_places(text)


def _places(systems: Sequence[Evaluation]) -> dict[str, int]:
    return {system.name: place for place, system in enumerate(systems)}


def _key(names: Iterable[str], places: Mapping[str, int]) -> list[KeyEntry]:
    wanted = sorted(set(names), key=lambda name: places[name])
    return [KeyEntry(name, places[name], figures.dash(places[name])) for name in wanted]


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
