"""What a study is of, as a value that is written into its folder, so that it is continued as it was begun."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from segmed.core.errors import ConfigError
from segmed.core.files import read_json, write_json
from segmed.study.budgets import BUDGETS, Budget
from segmed.study.systems import System, chosen_systems

ProtocolName = Literal["report", "patient", "both"]
FILE = "study.json"
FORMAT = 1


@dataclass(frozen=True)
class StudySettings:
    """Protocols, budget, systems, folds, seeds, further recipe settings, groups, and rows of the user's own.

    `runs` are (name, folders of runs, one for each fold or one for all); `predictions` are (name, folder of masks).
    """

    protocol: ProtocolName
    budget: str
    systems: tuple[str, ...] = ()
    folds: int = 0
    seeds: int = 0
    changes: tuple[str, ...] = ()
    groups: str = ""
    runs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    predictions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no study can be."""
        if self.protocol not in get_args(ProtocolName):
            raise ConfigError(f"--protocol {self.protocol}: unknown. Choose report, patient or both.")
        if self.budget not in BUDGETS:
            raise ConfigError(f"--budget {self.budget}: unknown. Choose one of: {', '.join(BUDGETS)}.")
        chosen_systems(self.systems)
        names = [name for name, _ in (*self.runs, *self.predictions)]
        if len(set(names)) < len(names):
            raise ConfigError("--run and --predictions: two rows have one name. Give each its own.")

    @property
    def plan(self) -> Budget:
        """The budget, with folds and seeds as chosen."""
        budget = BUDGETS[self.budget]
        return replace(budget, folds=self.folds or budget.folds, seeds=self.seeds or budget.seeds)

    @property
    def rows(self) -> tuple[System, ...]:
        """The systems that are asked for."""
        return chosen_systems(self.systems or self.plan.systems)

    def has(self, protocol: Literal["report", "patient"]) -> bool:
        """Whether a protocol is part of the study."""
        return self.protocol in (protocol, "both")


def begin_study(out: Path, settings: StudySettings, data_hash: str, *, resume: bool) -> None:
    """Write the settings, or with `resume` make sure that the folder holds a study of the same.

    Protocol, groups and the user's own rows may change on resume; what decides trainings may not. Raises `ConfigError`.
    """
    path = out / FILE
    now = {"format": FORMAT, "data_hash": data_hash, **_plain(settings)}
    if path.is_file():
        if not resume:
            raise ConfigError(f"{out}: already holds a study. Continue it with --resume, or choose another folder.")
        before = read_json(path, what="a study's settings")
        deciding = ("format", "data_hash", "budget", "folds", "seeds", "changes")
        changed = [key for key in deciding if before.get(key) != now[key]]
        if changed:
            raise ConfigError(
                f"{out}: was begun with another {', '.join(changed)}. Continue it with the same, or choose another "
                "folder."
            )
    elif out.exists() and any(not item.name.startswith(".") for item in out.iterdir()):
        raise ConfigError(f"{out}: holds other files. Choose an empty or new folder.")
    write_json(path, now)


def _plain(settings: StudySettings) -> dict[str, Any]:
    values = asdict(settings)
    values["folds"], values["seeds"] = settings.plan.folds, settings.plan.seeds
    values["changes"] = list(settings.changes)
    return values
