"""Splits that somebody else has made: a column of the data set, or lists of slices, cases or patients in a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import RootModel

from segmed.core.errors import SplitError
from segmed.core.reading import read_json
from segmed.core.records import SliceDataset
from segmed.core.split import PARTS, Partition, PartName, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.patients import require_told
from segmed.data.splits import labelled
from segmed.data.tables import read_rows

WORDS: Mapping[str, PartName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What parts are called elsewhere, in lower case."""
WHAT = (
    "a CSV file with columns slice_id, case or patient, and split; or JSON with lists train, validation and test, or "
    "a list of such folds"
)

SPLIT_FILES = ("splits_final.json",)
"""Splits that data sets bring along, by the name of the file in their folder: nnU-Net's."""

KINDS = ("slice_id", "case", "patient")
"""What names in a file may be of: the columns of a CSV file, the first of which counts."""

Lists = dict[str, list[str | int]]
Named = list[tuple[str, str]]
"""Names of slices, cases or patients, each with the word for its part."""


class _OneOrSeveral(RootModel[Lists | list[Lists]]):
    """What a file holds: the lists of one fold, or of several."""


def split_columns(dataset: SliceDataset) -> tuple[str, ...]:
    """The columns of a data set that name a part for whatever they name, and so are a split already."""
    names = [*dataset.columns, *{name for values in dataset.attributes.values() for name in values}]
    found = {name: {word.lower() for word in _by_slice_id(dataset, name).values() if word} for name in names}
    return tuple(name for name, words in found.items() if len(words) > 1 and words <= WORDS.keys())


def own_splits(dataset: SliceDataset) -> dict[str, str]:
    """The splits that a data set brings along: what `--from` takes, with what it is in words."""
    files = [name for name in SPLIT_FILES if (dataset.root / name).is_file()]
    return {name: f"its column {name!r}" for name in split_columns(dataset)} | {name: f"its {name}" for name in files}


def import_split(decoded: DecodedDataset, source: str) -> Split:
    """The split in a file, or in the column `source` of the data set; `SplitError` names what is wrong.

    A file may lie in the data set's folder. Names in it are of slices, cases or patients. Slices without a mask, and
    those that are not named, are in no part.
    A JSON list of several such lists, as nnU-Net's `splits_final.json`, gives as many folds.
    """
    require_told(decoded.dataset)
    dataset = decoded.dataset
    file = _file_named(dataset, source)
    folds = [_by_slice_id(dataset, source)] if file is None else _of_file(dataset, file)
    if not any(word for words in folds for word in words.values()):
        known = ", ".join(own_splits(dataset)) or "none"
        raise SplitError(f"--from {source}: neither a file nor a column of the data. Splits of the data: {known}.")
    patient_of = {record.slice_id: record.patient for record in labelled(dataset)}
    parts = tuple(_partition(dataset, words, source) for words in folds)
    split = Split("imported", 0, decoded.data_hash, False, patient_of, parts, dataset.patients_known)
    try:
        split.validate()
    except SplitError as error:
        raise SplitError(f"{source}: {error}") from error
    return split


def _file_named(dataset: SliceDataset, source: str) -> Path | None:
    """The file that `source` names; None for a column. What the data set brings along comes first.

    Raises `SplitError` where another file of this name lies in the current folder and in the data set's.
    """
    own, here = dataset.root / source, Path(source)
    if source in own_splits(dataset):
        return own if source in SPLIT_FILES else None
    plain = source == Path(source).as_posix()  # no ./ before it
    if plain and here.is_file() and own.is_file() and not here.samefile(own):
        raise SplitError(
            f"--from {source}: is in the current folder and in {dataset.root}. Write ./{source}, or {own}."
        )
    return next((path for path in (here, own) if path.is_file()), None)


def _partition(dataset: SliceDataset, words: Mapping[str, str], source: str) -> Partition:
    """One fold, of the word for each slice."""
    members: dict[PartName, list[str]] = {part: [] for part in PARTS}
    for record in labelled(dataset):
        word = words.get(record.slice_id, "")
        if word and word.lower() not in WORDS:
            raise SplitError(
                f"{source}: {word!r} of slice {record.slice_id} is no part. Use train, validation and test."
            )
        if word:
            members[WORDS[word.lower()]].append(record.slice_id)
    return Partition(**{part: tuple(slice_ids) for part, slice_ids in members.items()})


def _by_slice_id(dataset: SliceDataset, name: str) -> dict[str, str]:
    """A column's value for each slice, from the slice's own row or its patient's facts."""
    own = dataset.columns.get(name, {})
    return {
        record.slice_id: own.get(record.slice_id, "") or dataset.attributes.get(record.patient, {}).get(name, "")
        for record in dataset.records
    }


def _of_file(dataset: SliceDataset, path: Path) -> list[dict[str, str]]:
    """The word for each slice, fold after fold."""
    column, folds = (None, _of_json(path)) if path.suffix.lower() == ".json" else _of_csv(path)
    slice_ids = _slices_by_name(dataset, column)
    where = [f"{path}: fold {number}" if len(folds) > 1 else str(path) for number in range(len(folds))]
    return [_words(named, slice_ids, each, dataset) for named, each in zip(folds, where, strict=True)]


def _slices_by_name(dataset: SliceDataset, column: str | None) -> dict[str, list[str]]:
    """The slices that each name stands for, first as the kind that `column` says; as any kind without one."""
    every: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {}
    for record in dataset.records:
        names = dict(zip(KINDS, (record.slice_id, record.volume, record.patient), strict=True))
        for name in dict.fromkeys(names.values()):
            every.setdefault(name, []).append(record.slice_id)
        if column is not None:
            own.setdefault(names[column], []).append(record.slice_id)
    return every | own


def _words(named: Named, slice_ids: Mapping[str, Sequence[str]], where: str, dataset: SliceDataset) -> dict[str, str]:
    words: dict[str, str] = {}
    patient_of = {record.slice_id: record.patient for record in dataset.records}
    for name, word in named:
        if name not in slice_ids:
            raise SplitError(f"{where}: {name!r} is no slice, case or patient of {dataset.path}. Correct the name.")
        if len({patient_of[slice_id] for slice_id in slice_ids[name]}) > 1:
            raise SplitError(
                f"{where}: {name!r} is the name of a slice or case, and of another patient. Say which in a CSV file "
                "with the column slice_id, case or patient, and split."
            )
        for slice_id in slice_ids[name]:
            if words.setdefault(slice_id, word) != word:
                raise SplitError(f"{where}: slice {slice_id} is in {words[slice_id]} and in {word}. Name it once.")
    return words


def _of_json(path: Path) -> list[Named]:
    found = read_json(path, _OneOrSeveral, what=WHAT, remedy="Correct it.", error=SplitError).root
    folds = found if isinstance(found, list) else [found]
    if not folds or not all(lists and all(word.lower() in WORDS for word in lists) for lists in folds):
        raise SplitError(f"{path}: expected {WHAT}.")
    return [[(str(name), word) for word, names in lists.items() for name in names] for lists in folds]


def _of_csv(path: Path) -> tuple[str, list[Named]]:
    """The column that names slices, cases or patients, and the one fold."""
    rows = read_rows(path, what=WHAT)
    columns = rows[0].keys() if rows else set()
    named = next((name for name in KINDS if name in columns), None)
    if named is None or "split" not in columns:
        raise SplitError(f"{path}: expected {WHAT}.")
    return named, [[(row[named], row["split"]) for row in rows if row["split"]]]
