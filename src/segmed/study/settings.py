"""What a study is of, as a value that is written into its folder, so that it is continued as it was begun."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator

from segmed.core.errors import ConfigError
from segmed.core.files import require_folder, write_json
from segmed.core.former_names import present_choice
from segmed.core.pseudonyms import shareable
from segmed.core.reading import read_json
from segmed.core.stacking import Plane
from segmed.inference.loading import configs_in
from segmed.models.checkpoint import found_from, relative_to
from segmed.models.hub import PREFIX
from segmed.study.budgets import BUDGETS, Budget
from segmed.study.systems import CASCADE_FROM, OTHERS, SYSTEMS, System, chosen_systems, trained_system

ProtocolName = Literal["reproduction", "patient", "both"]
FILE = "study.json"
FORMAT = 1
SHOWN = ("labels", "patient_regex", "each_image_is_a_patient", "plane", "pictures", "anonymise", "channel")
"""Settings that studies begun before them have not written down."""


def safe_name(name: str) -> str:
    """A row's name as that of a folder; no two rows may share it."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return safe if safe.strip(".") else "_" + safe


@dataclass(frozen=True)
class StudySettings:
    """Protocols, budget, systems, folds, seeds, further recipe settings, groups, rows of the user's own, and the page.

    `runs` are (name, folders of runs, one for each fold or one for all); `predictions` are (name, folder of masks).
    `labels`, `patient_regex`, `each_image_is_a_patient` and `plane` are how the data was read. `pictures` of patients,
    ids as hashes (`anonymise`) and the `channel` that is shown are the page's.

    Example:
        >>> settings = StudySettings("patient", "cpu", systems=("unet", "sam-tiny-cascade"), seeds=2)
        >>> [system.name for system in settings.rows], settings.plan.folds, settings.plan.seeds
        (['unet', 'sam-tiny-cascade'], 3, 2)
    """

    protocol: Annotated[ProtocolName, BeforeValidator(present_choice)]
    budget: str
    systems: tuple[Annotated[str, BeforeValidator(present_choice)], ...] = ()
    folds: int = 0
    seeds: int = 0
    changes: tuple[str, ...] = ()
    groups: str = ""
    runs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    predictions: tuple[tuple[str, str], ...] = ()
    labels: str = ""
    patient_regex: str = ""
    each_image_is_a_patient: bool = False
    plane: Plane = "acquired"
    pictures: bool = True
    anonymise: bool = False
    channel: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no study can be."""
        if self.protocol not in get_args(ProtocolName):
            raise ConfigError(f"--protocol {self.protocol}: unknown. Choose reproduction, patient or both.")
        if self.budget not in BUDGETS:
            raise ConfigError(f"--budget {self.budget}: unknown. Choose one of: {', '.join(BUDGETS)}.")
        chosen_systems(self.systems)
        for change in self.changes:
            key = change.partition("=")[0]
            row, colon, _ = key.partition(":")
            if key.rpartition(":")[2].strip() == "preprocess.plane":
                raise ConfigError(f"--set {change}: all rows see the same slices. Say --plane.")
            if key.rpartition(":")[2].strip() == "seed":
                raise ConfigError(
                    f"--set {change}: every row is trained with the seeds 0, 1, … Say how many with --seeds."
                )
            if colon and (other := chosen_systems([row])[0].trained_as):
                raise ConfigError(f"--set {change}: {row} tests the network of {other}. Write {other}: instead.")
        names = [safe_name(name) for name, _ in (*self.runs, *self.predictions)]
        if len(set(names)) < len(names):
            raise ConfigError("--run and --predictions: two rows have one name, or nearly. Give each its own.")

    @property
    def plan(self) -> Budget:
        """The budget, with folds and seeds as chosen."""
        budget = BUDGETS[self.budget]
        return replace(budget, folds=self.folds or budget.folds, seeds=self.seeds or budget.seeds)

    @property
    def asked(self) -> tuple[System, ...]:
        """The systems that are asked for, in the order of `SYSTEMS` whatever that of `--systems`: so parts agree."""
        chosen = chosen_systems(self.systems or self.plan.systems)
        return tuple(row for row in SYSTEMS.values() if row in chosen)

    @property
    def rows(self) -> tuple[System, ...]:
        """The rows of the table by patient: those asked for, cascades last.

        The row that cascades start from is added where nobody asked for it, for this table alone.
        """
        rows = self.asked
        cascades = [row for row in rows if row.given == OTHERS]
        if cascades and SYSTEMS[CASCADE_FROM] not in rows:
            rows = (SYSTEMS[CASCADE_FROM], *rows)
        return (*(row for row in rows if row not in cascades), *cascades)

    @property
    def not_asked(self) -> tuple[System, ...]:
        """The budget's rows that are not among those asked for."""
        return tuple(row for row in chosen_systems(self.plan.systems) if row not in self.rows)

    def command(self, data: Path, out: Path) -> str:
        """The line for a shell that begins this study; folders below the current one are named from there."""
        options: dict[str, Sequence[str]] = {
            "--protocol": [self.protocol],
            "--budget": [self.budget],
            "--systems": [",".join(self.systems)],
            "--folds": [str(self.plan.folds)],
            "--seeds": [str(self.plan.seeds)],
            "--set": [_with_place(change, shareable) for change in self.changes],
            "--groups": [self.groups],
            "--run": [f"{name}={','.join(map(shareable, folders))}" for name, folders in self.runs],
            "--predictions": [f"{name}={shareable(folder)}" for name, folder in self.predictions],
            "--labels": [self.labels],
            "--patient-regex": [self.patient_regex],
            "--plane": ["" if self.plane == "acquired" else self.plane],
            "--channel": ["" if self.channel is None else str(self.channel)],
        }
        words = ["segmed", "study", shareable(data), "--out", shareable(out)]
        words += [word for option, values in options.items() for value in values if value for word in (option, value)]
        words += ["--each-image-is-a-patient"] if self.each_image_is_a_patient else []
        words += [] if self.pictures else ["--no-pictures"]
        return shlex.join([*words, *(["--anonymise"] if self.anonymise else [])])

    def has(self, protocol: Literal["reproduction", "patient"]) -> bool:
        """Whether a protocol is part of the study."""
        return self.protocol in (protocol, "both")


LOCK = ".lock"
"""The file of the folder that a process holds while it changes what the study is of."""


def is_study(out: Path) -> bool:
    """Whether the folder holds a study."""
    return (out / FILE).is_file()


def load_settings(out: Path) -> StudySettings:
    """What the study in the folder is of. Raises `ConfigError` where there is none."""
    return _read(out).settings(out)


@dataclass(frozen=True)
class _Stored(StudySettings):
    """What `study.json` holds."""

    format: int = FORMAT
    data_hash: str = ""

    @property
    def deciding(self) -> dict[str, object]:
        """What decides trainings and may not change, by the name that a message calls it."""
        return {
            "format": self.format,
            "data_hash": self.data_hash,
            "budget": self.budget,
            "folds": self.plan.folds,
            "changes": self.changes,
        }

    def settings(self, out: Path) -> StudySettings:
        """The settings alone, with the folders of own rows in full, which lead from the study's folder in the file."""
        values = {each.name: getattr(self, each.name) for each in fields(StudySettings)}
        return _with_folders(StudySettings(**values), lambda folder: str(found_from(out, folder).resolve()))


def _read(out: Path) -> _Stored:
    remedy = "Begin the study in another folder."
    return read_json(out / FILE, _Stored, what="a study's settings", remedy=remedy, error=ConfigError)


def settled(out: Path, settings: StudySettings, data_hash: str, *, resume: bool) -> StudySettings:
    """What the folder's study is of with these settings; `save_settings` writes it once all of it has proved possible.

    On resume, protocols, systems, seeds and the user's own rows are added to those that the study has, a row of the
    same name takes the place of the older; groups change where any are given. What decides trainings may not change.
    Raises `ConfigError` for that, for a folder that holds something else, and for own rows that are not there.
    """
    path = out / FILE
    settings = _with_own_rows(settings, load_settings(out) if resume and path.is_file() else None)
    now = _stored(out, settings, data_hash)
    require_folder(out)
    if path.is_file():
        if not resume:
            raise ConfigError(f"{out}: already holds a study. Continue it with --resume, or choose another folder.")
        before = _read(out)
        known = replace(_stored(out, before.settings(out), before.data_hash), format=before.format)
        decided = zip(known.deciding.items(), now.deciding.values(), strict=True)
        if changed := [name for (name, old), new in decided if old != new]:
            raise ConfigError(
                f"{out}: was begun with another {', '.join(changed)}. Continue it with the same, or choose another "
                "folder."
            )
        joined = _joined(load_settings(out), settings)
        _require_rows(joined)
        return joined
    if out.is_dir() and any(each.name != LOCK for each in out.iterdir()):
        raise ConfigError(f"{out}: holds other files. Choose an empty or new folder.")
    _require_rows(settings)
    return settings


def _require_rows(settings: StudySettings) -> None:
    """Raise `ConfigError` for a setting of a row that the study has not, which would change nothing."""
    rows = {trained_system(row).name for row in settings.rows}
    for change in settings.changes:
        row, colon, _ = change.partition("=")[0].partition(":")
        if colon and row not in rows:
            raise ConfigError(f"--set {change}: the study has no row {row}. Add it with --systems, or leave this out.")


def save_settings(out: Path, settings: StudySettings, data_hash: str) -> None:
    """Write the settings into the study's folder."""
    write_json(out / FILE, asdict(_stored(out, settings, data_hash)))


def _joined(before: StudySettings, settings: StudySettings) -> StudySettings:
    systems = {row.name for row in (*before.asked, *settings.asked)}
    runs, predictions = dict(settings.runs), dict(settings.predictions)
    return replace(
        settings,
        protocol=settings.protocol if before.protocol == settings.protocol else "both",
        systems=tuple(name for name in SYSTEMS if name in systems),
        seeds=max(before.plan.seeds, settings.plan.seeds),
        groups=settings.groups or before.groups,
        runs=tuple((dict(item for item in before.runs if item[0] not in predictions) | runs).items()),
        predictions=tuple((dict(item for item in before.predictions if item[0] not in runs) | predictions).items()),
    )


def _with_own_rows(settings: StudySettings, before: StudySettings | None) -> StudySettings:
    """The settings with the folders of own rows in full, so that they are found from everywhere.

    New ones must be there, which is better known now than after the trainings.
    """
    known = {*before.runs, *before.predictions} if before else set()
    settings = _with_folders(settings, lambda folder: str(Path(folder).resolve()))
    for name, folders in settings.runs:
        for folder in folders if (name, folders) not in known else ():
            if not configs_in(Path(folder)):
                raise ConfigError(f"--run {name}: {folder} is not the folder of a run. Check the path.")
    for row in settings.predictions:
        if row not in known and not Path(row[1]).is_dir():
            raise ConfigError(f"--predictions {row[0]}: there is no folder {row[1]}. Check the path.")
    return settings


def _with_folders(settings: StudySettings, changed: Callable[[str], str]) -> StudySettings:
    return replace(
        settings,
        runs=tuple((name, tuple(map(changed, folders))) for name, folders in settings.runs),
        predictions=tuple((name, changed(folder)) for name, folder in settings.predictions),
        changes=tuple(_with_place(change, changed) for change in settings.changes),
    )


PLACES = ("model.encoder_weights", "start", "prompting.proposals.folder")
"""Keys of recipes whose values may be files or folders."""


def _with_place(change: str, changed: Callable[[str], str]) -> str:
    """A setting `[ROW:]key=value` with its value changed where it is a file or folder, as its signs tell."""
    key, equals, value = change.partition("=")
    is_place = key.rpartition(":")[2].strip() in PLACES and not value.startswith(PREFIX)
    if not (is_place and (os.sep in value or "/" in value or Path(value).exists())):
        return change
    return f"{key}{equals}{changed(value.strip())}"


def _stored(out: Path, settings: StudySettings, data_hash: str) -> _Stored:
    """What `study.json` holds: folders lead from there, so that it names no home and may be moved with them."""
    named = _with_folders(settings, lambda folder: relative_to(out, Path(folder)))
    values = {each.name: getattr(named, each.name) for each in fields(StudySettings)}
    return replace(_Stored(**values, data_hash=data_hash), folds=settings.plan.folds, seeds=settings.plan.seeds)
