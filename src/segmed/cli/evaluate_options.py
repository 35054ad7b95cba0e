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


BATCH_SIZE = 8
"""Slices that a run is asked about at a time, where nothing else is said."""


@dataclass(frozen=True)
class EvaluateOptions:
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


def refuse_conflicts(options: EvaluateOptions) -> None:
    """Raise `ConfigError` for the first options that do not go together."""
    conflict = next(_conflicts(options), None)
    if conflict is not None:
        raise ConfigError(conflict)


def _conflicts(options: EvaluateOptions) -> Iterator[str]:
    if options.degrade is not None and (options.run is None or options.prompts is not None or options.columns):
        yield "--degrade makes the images of a run's evaluation worse; name the run, and no --prompts or --groups."
    if options.columns and options.prompts is not None:
        yield "--groups scores a run as it is; leave out --prompts, or evaluate twice."
    yield from _conflicts_of_masks(options) if options.of_masks else _conflicts_of_run(options)


def _conflicts_of_masks(options: EvaluateOptions) -> Iterator[str]:
    if options.predictions is not None:
        strange: dict[str, object] = {"--cascade": options.cascade, "--tta": options.tta}
        strange |= {"--uncertainty": None if options.uncertainty == 1 else options.uncertainty}
        strange |= {"--batch-size": None if options.batch_size == BATCH_SIZE else options.batch_size}
        strange |= {"--device": None if options.device == "auto" else options.device}
        if options.references is not None:
            strange |= {"--split": options.split, "--fold": options.fold}
            strange |= {"--part": None if options.part == "test" else options.part}
            strange |= {"--no-floors": None if options.floors else True}
        if given := [option for option, value in strange.items() if value is not None]:
            masks_from = "--predictions" if options.references is None else "--predictions with --references"
            yield f"{', '.join(given)}: does not apply to {masks_from}. Leave it out."
    if options.columns and options.data is None:
        yield "--groups: columns come from a data set. Name it with --data."
    of_run = options.run is not None or options.prompts is not None
    one_kind_of_references = (options.references is None) != (options.data is None)
    if of_run or options.predictions is None or options.out is None or not one_kind_of_references:
        yield (
            "Masks are scored with --predictions FOLDER -o OUT and either --references FOLDER, or --data and --split "
            "to be compared with runs; and without a run."
        )
    if options.data is not None and options.split is None:
        yield "--data says where the references are; name the slices or volumes with --split too."
    if options.each_image_is_a_patient and options.references is None:
        yield "--each-image-is-a-patient is for --references; a split says itself whether patients are known."


def _conflicts_of_run(options: EvaluateOptions) -> Iterator[str]:
    if options.each_image_is_a_patient:
        yield "--each-image-is-a-patient is for --references; a split says itself whether patients are known."
    if options.columns and options.data is None:
        yield "--groups: columns come from a data set. Name it with --data."
    if options.cascade is not None and "cascade" not in (options.prompts or ""):
        yield "--cascade is for the kind of that name: add it, as in --prompts gt,cascade,none."
    if options.uncertainty > 1 and options.prompts is None:
        yield "--uncertainty moves boxes: name kinds of prompts with --prompts, such as gt,jitter:5."
    if options.run is None or options.data is None:
        yield "Name a run and its data: segmed evaluate RUN --data FOLDER. See segmed evaluate --help."
    if options.part == "train":
        yield "--part train: a run is not scored on what it was trained on. Choose test or validation."
