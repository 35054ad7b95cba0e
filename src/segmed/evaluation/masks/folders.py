"""Evaluate masks of any other tool: a folder of predictions against references, matched by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segmed.core.errors import DataError, SplitError
from segmed.core.labels import LabelMap
from segmed.core.records import Record, by_volume
from segmed.core.split import PartName, Split
from segmed.data.cutting import read_cut_mask
from segmed.data.decoded import DecodedDataset
from segmed.data.layouts.mask_reading import read_record_mask
from segmed.data.listing import Findings, grouped, in_order, natural_key
from segmed.data.names import composed, is_hidden, made_of
from segmed.data.sources import holds_pairs, layout_of, open_dataset
from segmed.data.splits import patients_known, require_fit
from segmed.evaluation.context import Context
from segmed.evaluation.evaluate import evaluate
from segmed.evaluation.masks.files import CaseFiles, case_files, matched
from segmed.evaluation.part import Masks, Probabilities, records_of, split_facts, volumes
from segmed.evaluation.provenance import Provenance
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import RESAMPLES
from segmed.evaluation.volume import PatientVolume
from segmed.io import read_mask
from segmed.io.formats import MASK_SUFFIXES


@dataclass(frozen=True)
class Pairs:
    """References with their patient, and the prediction of each slice. `unused` predictions have no reference.

    `patients_known` is False where nothing told which files belong to one patient: each then counts as one, and
    intervals are too narrow if several are slices of the same.
    """

    references: tuple[Record, ...]
    predictions: Mapping[str, Path]
    unused: tuple[Path, ...]
    patients_known: bool


def pair_folders(
    predictions: Path, references: Path, *, labels: LabelMap | None = None, patient_regex: str | None = None
) -> Pairs:
    """Match predicted masks to references by slice id, path or file name, with or without `_mask` at its end.

    `references` is a folder of masks, or any data set that `open_dataset` reads, which may tell patients too. In a
    plain folder `patient_regex` finds the patient, and a group `slice` the position, in the stem. Raises `DataError`
    naming the first reference without a prediction, and where names do not tell whose prediction a file is.
    """
    predicted = _masks_below(predictions)
    records, known = _references(references, labels or LabelMap(), patient_regex)
    chosen = _matched(predictions, predicted, records)
    used = set(chosen.values())
    return Pairs(records, chosen, tuple(path for path in predicted.values() if path not in used), known)


def evaluate_pairs(
    pairs: Pairs, labels: LabelMap, *, name: str, resamples: int = RESAMPLES, seed: int = 0
) -> Evaluation:
    """Score matched masks, patient by patient. Raises `DataError` for an unreadable file or another size."""
    context = Context(
        patients_known=pairs.patients_known,
        provenance=Provenance(others={"predictions_without_reference": len(pairs.unused)}),
    )
    return evaluate(_volumes(pairs, labels), labels, name=name, context=context, resamples=resamples, seed=seed)


def evaluate_masks(
    predictions: Path,
    decoded: DecodedDataset,
    split: Split,
    *,
    fold: int = 0,
    part: PartName = "test",
    name: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Score a folder of masks of any tool on a part of a split, so that it can be compared with runs on that part.

    Files are matched to slices as by `pair_folders`, those of volumes by their names as by `files.matched`.

    Raises `SplitError` for a split that leaks unmarked or belongs to other data, and `DataError` naming the first
    slice without a prediction, or of another size.
    """
    split = require_fit(split, decoded)
    groups = records_of(decoded, split.fold(fold).part(part))
    if not groups:
        raise SplitError(f"Fold {fold} of the split has no {part} part. Choose another part or make another split.")
    scored = [record for records in groups.values() for record in records]
    labels = decoded.dataset.labels
    of_volumes = scored[0].source is not None
    predicted = {} if of_volumes else _matched(predictions, _masks_below(predictions), scored)
    by_volume = _volume_masks(predictions, groups) if of_volumes else {}

    def read(records: Sequence[Record]) -> tuple[Masks, Probabilities | None]:
        source = records[0].source
        if source is None:
            return [read_mask(predicted[record.slice_id], labels).array for record in records], None
        grid = decoded.grid(source.name)
        assert grid is not None  # of every volume with files of its own
        whole = read_cut_mask(by_volume[source.name], grid, source, labels)
        return [whole[record.slice_index - 1] for record in records], None

    context = Context(
        part=part,
        leaking=split.leaking,
        patients_known=patients_known(split, decoded),
        data_hash=decoded.data_hash,
        split=split_facts(decoded, split, fold, part),
    )
    return evaluate(volumes(decoded, groups, read), labels, name=name, context=context, resamples=resamples, seed=seed)


def _volume_masks(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The mask of each volume by its name, the last part of which counts."""
    found = case_files(folder)
    if not found.are_volumes:
        raise DataError(f"{folder}: holds images, but the data set has volumes. Convert the masks.")
    last = {name: PurePosixPath(name).name for name in names}
    wanted = CaseFiles(folder, dict.fromkeys(last.values(), folder), are_volumes=True)
    if len(wanted.files) < len(last):
        raise DataError(f"{folder}: volumes of the data set share names, which masks are matched by. Rename them.")
    matches, _ = matched(wanted, found)
    for name, own in last.items():
        if own not in matches:
            raise DataError(
                f"{folder}: no mask of {name}. Add {own}.nii.gz or the like: a missing one is not left out."
            )
    return {name: matches[own] for name, own in last.items()}


def _matched(folder: Path, predicted: Mapping[str, Path], records: Sequence[Record]) -> dict[str, Path]:
    """The prediction of each slice: the file named as the slice, else one below the same folders, else as its image."""
    by_stem: dict[str, list[Path]] = {}
    for name, path in predicted.items():
        by_stem.setdefault(PurePosixPath(name).name, []).append(path)
    owner: dict[Path, str] = {}
    for record in records:
        names = composed(record.slice_id), *_path_names(record, predicted), _stem_of(record)
        files = next((found for name in names if (found := _named(name, predicted, by_stem))), [])
        if not files:
            raise DataError(
                f"{folder}: no prediction for slice {record.slice_id} (reference {record.mask}). Add "
                f"{_stem_of(record)}.png or the like: a missing prediction is not left out."
            )
        if len(files) > 1:
            raise DataError(f"{files[1]}: a second mask of slice {record.slice_id}, besides {files[0]}. Keep one.")
        if files[0] in owner:
            raise DataError(
                f"{files[0]}: matches slice {owner[files[0]]} and slice {record.slice_id}. Name them by slice id."
            )
        owner[files[0]] = record.slice_id
    return {slice_id: path for path, slice_id in owner.items()}


def _named(name: str, predicted: Mapping[str, Path], by_stem: Mapping[str, list[Path]]) -> list[Path]:
    """Files of a name: a path is one file, a bare name may be in several folders."""
    return [predicted[name]] if "/" in name and name in predicted else by_stem.get(name, [])


def _path_names(record: Record, predicted: Mapping[str, Path]) -> list[str]:
    """The image's path without its suffix, as far as predictions lie in folders of the same names; longest first."""
    parts = (*map(composed, record.image.parts[:-1]), _stem_of(record))
    names = ["/".join(parts[start:]) for start in range(len(parts) - 1)]
    return [name for name in names if name in predicted]


def _volumes(pairs: Pairs, labels: LabelMap) -> Iterator[PatientVolume]:
    for volume, records in by_volume(pairs.references).items():
        ordered = sorted(records, key=lambda record: record.slice_index)
        masks = [mask for record in ordered if (mask := read_record_mask(record, labels)) is not None]
        yield PatientVolume(
            patient=records[0].patient,
            volume=volume,
            slice_ids=tuple(record.slice_id for record in ordered),
            reference=[mask.array for mask in masks],
            prediction=[read_mask(pairs.predictions[record.slice_id], labels).array for record in ordered],
            slice_indices=tuple(record.slice_index for record in ordered),
        )


def _references(path: Path, labels: LabelMap, patient_regex: str | None) -> tuple[tuple[Record, ...], bool]:
    if not path.exists():
        raise DataError(f"{path}: does not exist; expected a folder of reference masks or a data set. Check the path.")
    layout = layout_of(path)
    if path.is_file() or layout == "folder" or holds_pairs(path, layout):
        dataset = open_dataset(path, labels=labels, patient_regex=patient_regex)
        without = [record for record in dataset.records if record.mask is None]
        if without:
            raise DataError(
                f"{path}: slice {without[0].slice_id} has no reference mask. Add it, or leave the slice out."
            )
        return dataset.records, dataset.patients_known
    stems = [(mask.stem.removesuffix("_mask"), mask) for mask in _masks_below(path).values()]
    records = [Record(stem, stem, 1, mask, mask) for stem, mask in stems]
    by_id = {record.slice_id: record for record in records}
    if len(by_id) < len(records):
        first = next(record for record in records if record is not by_id[record.slice_id])
        raise DataError(
            f"{by_id[first.slice_id].mask}: a second mask of slice {first.slice_id}, besides {first.mask}. Keep one."
        )
    if patient_regex is not None:
        findings = Findings()
        records = grouped(records, patient_regex, findings)
        for finding in findings.found:
            raise DataError(f"{finding.where}: {finding.message}")
    return in_order(records), patient_regex is not None


def _masks_below(folder: Path) -> dict[str, Path]:
    """Mask files by path without suffix; not overlays, nor an image with its `_mask` beside it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; expected masks ending in {', '.join(MASK_SUFFIXES)}.")
    files = [path for path in _visible(folder) if path.suffix.lower() in MASK_SUFFIXES]
    images = {image for mask, image in made_of(files).items() if mask.stem.endswith("_mask")}
    found: dict[str, Path] = {}
    for path in sorted((path for path in files if path not in images), key=lambda path: natural_key(str(path))):
        name = composed(path.relative_to(folder).with_suffix("").as_posix().removesuffix("_mask"))
        if name in found:
            raise DataError(f"{path}: a second mask of slice {name}, besides {found[name]}. Keep one.")
        found[name] = path
    if not found:
        raise DataError(f"{folder}: holds no masks; expected files ending in {', '.join(MASK_SUFFIXES)}.")
    return found


def _visible(folder: Path) -> Sequence[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.stem.endswith("_overlay") and not is_hidden(path, folder)
    ]


def _stem_of(record: Record) -> str:
    """The name of a slice's image, under which `segmed predict` writes its prediction."""
    return composed(record.image.stem.removesuffix("_mask"))
