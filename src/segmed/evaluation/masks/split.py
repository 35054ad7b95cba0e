"""Masks of any tools on a part of a split: the references that belong to it, and the floors on the same cases."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from segmed.core.errors import DataError, SplitError
from segmed.core.progress import Progress, tracked
from segmed.core.records import Record
from segmed.core.split import PARTS, Partition, PartName, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.names import composed
from segmed.data.splits import patients_known, require_fit
from segmed.evaluation.context import Context
from segmed.evaluation.floors import Floor, floors_of
from segmed.evaluation.masks.files import CaseFiles, matched
from segmed.evaluation.masks.references import References
from segmed.evaluation.masks.score import score_masks
from segmed.evaluation.masks.slice_files import numbers_of, write_slices
from segmed.evaluation.part import records_of, split_facts
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import RESAMPLES


@dataclass(frozen=True)
class LeftOut:
    """A reference that is not scored, and the part of the split that its case is of; None where the data has none."""

    file: Path
    part: PartName | None


@dataclass(frozen=True)
class ScoredPart:
    """A part of a split whose cases have references.

    Args:
        references: Those of the part, with the patients of the data.
        groups: The slices of each case: all of a volume in order, or the slice itself.
        context: What is known of any masks that are scored on it.
        left_out: References of cases that are not of the part.
    """

    decoded: DecodedDataset
    split: Split
    fold: int
    part: PartName
    references: References
    groups: Mapping[str, Sequence[Record]]
    context: Context
    left_out: tuple[LeftOut, ...]


def part_of(
    references: References, decoded: DecodedDataset, split: Split, *, fold: int = 0, part: PartName = "test"
) -> ScoredPart:
    """The references of a part, matched to the data's volumes (or images of one slice) by name.

    Slices are then called as in the data, so that evaluated runs stand beside them and the data has their pictures.

    Raises:
        SplitError: The split is not of the data, or has no such part.
        DataError: A case of the part has no reference.
    """
    split = require_fit(split, decoded)
    records = records_of(decoded, split.fold(fold).part(part))
    if not records:
        raise SplitError(f"Fold {fold} of the split has no {part} part. Choose another part or make another split.")
    named = _by_name(records, decoded, volumes=references.files.are_volumes)
    wanted = CaseFiles(decoded.dataset.root, {name: some[0].image for name, some in named.items()}, True)
    files, _ = matched(wanted, references.files)
    if lacking := [name for name in named if name not in files]:
        raise DataError(
            f"{references.files.folder}: no reference of {lacking[0]}, which is of the {part} part. Add it."
        )
    case_of = {path: case for case, path in references.files.files.items()}
    told = {case_of[files[name]]: some for name, some in named.items()}
    called = {case if references.files.are_volumes else some[0].slice_id: case for case, some in told.items()}
    groups = {case: told[name] for case, name in called.items()}
    known = patients_known(split, decoded)
    by_data = known or not (references.files.are_volumes or references.patients_known)
    own = replace(
        references,
        files=replace(
            references.files, files={case: references.files.files[name] for case, name in called.items()}, called=called
        ),
        patients={
            case: some[0].patient if by_data else references.patients[called[case]] for case, some in groups.items()
        },
        positions={case: some[0].slice_index for case, some in groups.items()},
        volumes={case: some[0].volume for case, some in groups.items()} if by_data else {},
        patients_known=known or references.patients_known,
    )
    context = Context(
        part=part, leaking=split.leaking, data_hash=decoded.data_hash, split=split_facts(decoded, split, fold, part)
    )
    left_out = tuple(_left_out(references, decoded, split.fold(fold), set(told)))
    return ScoredPart(decoded, split, fold, part, own, groups, context, left_out)


def score_floors(
    scored: ScoredPart, scratch: Path, *, resamples: int = RESAMPLES, seed: int = 0, progress: Progress | None = None
) -> list[Evaluation]:
    """Score the baselines that learn nothing on the cases of a part, as masks of tools are.

    Args:
        scored: The part.
        scratch: An empty folder for their masks, from which the results read them until they are saved.
        resamples: Bootstrap resamples for the intervals over patients.
        seed: Draws them.
        progress: Called with the floors that are done and all.
    """
    floors = floors_of(scored.decoded, scored.split, scored.fold, scored.part)
    places = [(floor, scratch / str(number)) for number, floor in enumerate(floors)]
    return [_scored(scored, floor, place, resamples, seed) for floor, place in tracked(places, progress)]


def _left_out(references: References, decoded: DecodedDataset, fold: Partition, told: Set[str]) -> Iterator[LeftOut]:
    """The references of other parts and of no case at all."""
    parts: dict[str, PartName] = {}
    for part in PARTS:
        records = records_of(decoded, fold.part(part))
        parts |= dict.fromkeys((name for name, _ in _named(records, volumes=references.files.are_volumes)), part)
    cases = CaseFiles(decoded.dataset.root, dict.fromkeys(parts, decoded.dataset.root), True)
    of_file = {file: parts[name] for name, file in matched(cases, references.files)[0].items()}
    for case, file in references.files.files.items():
        if case not in told:
            yield LeftOut(file, of_file.get(file))


def _scored(scored: ScoredPart, floor: Floor, folder: Path, resamples: int, seed: int) -> Evaluation:
    folder.mkdir()
    files = {}
    for number, (case, records) in enumerate(scored.groups.items()):
        masks = {record.slice_id: mask for record, mask in zip(records, floor.predict(records), strict=True)}
        as_volume = scored.references.files.are_volumes
        files[case] = write_slices(folder / str(number), masks, records, scored.decoded, as_volume=as_volume)
    context = replace(scored.context, kind="floor", provenance=floor.provenance(scored.decoded))
    return score_masks(
        files, scored.references, name=floor.name, labels=numbers_of(scored.decoded), context=context,
        resamples=resamples, seed=seed,
    )  # fmt: skip


def _by_name(
    records: Mapping[str, Sequence[Record]], decoded: DecodedDataset, *, volumes: bool
) -> dict[str, Sequence[Record]]:
    """The slices of each volume, or each slice, by the last part of its name."""
    of_volumes = next(iter(records.values()))[0].source is not None
    if of_volumes != volumes:
        kinds = [("images of slices", "volumes")[each] for each in (volumes, of_volumes)]
        raise DataError(f"The references are {kinds[0]}, but {decoded.dataset.root} holds {kinds[1]}. Convert one.")
    named = _named(records, volumes=volumes)
    found = dict(named)
    if len(found) < len(named):
        raise DataError(f"{decoded.dataset.root}: cases of the part share names, which masks are matched by. Rename.")
    return found


def _named(records: Mapping[str, Sequence[Record]], *, volumes: bool) -> list[tuple[str, Sequence[Record]]]:
    if volumes:
        return [(PurePosixPath(name).name, some) for name, some in records.items()]
    return [(composed(record.image.stem), [record]) for some in records.values() for record in some]
