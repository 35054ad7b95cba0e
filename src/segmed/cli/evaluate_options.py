"""The options of `segmed evaluate` as one value, and which of them exclude each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segmed.core.errors import ConfigError

if TYPE_CHECKING:
    from segmed.core.split import PartName
    from segmed.evaluation.groups import GroupColumn
    from segmed.models.prediction import Tta


@dataclass(frozen=True)
class Asked:
    """All that the command line said; `columns` are those of `--groups`, and None is an option that was not given."""

    run: str | None
    data: Path | None
    split: Path | None
    fold: int | None
    part: "PartName"
    predictions: Path | None
    references: Path | None
    labels: str | None
    patient_regex: str | None
    each_image_is_a_patient: bool
    degrade: str | None
    out: Path | None
    name: str | None
    columns: "tuple[GroupColumn, ...]"
    floors: bool
    prompts: str | None
    cascade: Path | None
    uncertainty: int
    resamples: int
    seed: int
    tta: "Tta | None"
    batch_size: int
    device: str

    @property
    def of_masks(self) -> bool:
        """Whether masks of any tool are scored, and no run."""
        return self.predictions is not None or self.references is not None

    @property
    def bootstrap(self) -> dict[str, int]:
        """Resamples and seed, as evaluations take them."""
        return {"resamples": self.resamples, "seed": self.seed}


def refuse_conflicts(asked: Asked) -> None:
    """Raise `ConfigError` for the first options that do not go together."""
    conflict = next(_conflicts(asked), None)
    if conflict is not None:
        raise ConfigError(conflict)


def _conflicts(asked: Asked) -> Iterator[str]:
    if asked.degrade is not None and (asked.run is None or asked.prompts is not None or asked.columns):
        yield "--degrade makes the images of a run's evaluation worse; name the run, and no --prompts or --groups."
    if asked.columns and asked.prompts is not None:
        yield "--groups scores a run as it is; leave out --prompts, or evaluate twice."
    yield from _conflicts_of_masks(asked) if asked.of_masks else _conflicts_of_run(asked)


def _conflicts_of_masks(asked: Asked) -> Iterator[str]:
    if asked.predictions is not None:
        strange: dict[str, object] = {"--cascade": asked.cascade, "--tta": asked.tta}
        strange |= {"--uncertainty": None if asked.uncertainty == 1 else asked.uncertainty}
        strange |= {"--split": asked.split, "--fold": asked.fold} if asked.references is not None else {}
        if given := [option for option, value in strange.items() if value is not None]:
            masks_from = "--predictions" if asked.references is None else "--predictions with --references"
            yield f"{', '.join(given)}: does not apply to {masks_from}. Leave it out."
    if asked.columns and asked.data is None:
        yield "--groups: columns come from a data set. Name it with --data."
    of_run = asked.run is not None or asked.prompts is not None
    one_kind_of_references = (asked.references is None) != (asked.data is None)
    if of_run or asked.predictions is None or asked.out is None or not one_kind_of_references:
        yield (
            "Masks are scored with --predictions FOLDER -o OUT and either --references FOLDER, or --data and --split "
            "to be compared with runs; and without a run."
        )
    if asked.data is not None and asked.split is None:
        yield "--data says where the references are; name the cases with --split too."
    if asked.each_image_is_a_patient and asked.references is None:
        yield "--each-image-is-a-patient is for --references; a split says itself whether patients are known."


def _conflicts_of_run(asked: Asked) -> Iterator[str]:
    if asked.each_image_is_a_patient:
        yield "--each-image-is-a-patient is for --references; a split says itself whether patients are known."
    if asked.columns and asked.data is None:
        yield "--groups: columns come from a data set. Name it with --data."
    if asked.cascade is not None and "cascade" not in (asked.prompts or ""):
        yield "--cascade is for the kind of that name: add it, as in --prompts gt,cascade,none."
    if asked.uncertainty > 1 and asked.prompts is None:
        yield "--uncertainty moves boxes: name kinds of prompts with --prompts, such as gt,jitter:5."
    if asked.run is None or asked.data is None:
        yield "Name a run and its data: segmed evaluate RUN --data FOLDER. See segmed evaluate --help."
    if asked.part == "train":
        yield "--part train: a run is not scored on what it was trained on. Choose test or validation."
