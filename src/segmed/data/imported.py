"""Splits that somebody else has made: a column of the data set, or lists of cases or patients in a file."""

from collections.abc import Iterable, Mapping
from pathlib import Path

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
WHAT = "a CSV file with columns case or patient, and split; or JSON with lists train, validation and test"


def split_columns(dataset: SliceDataset) -> tuple[str, ...]:
    """The columns of a data set that name a part for whatever they name, and so are a split already."""
    names = [*dataset.columns, *{name for values in dataset.attributes.values() for name in values}]
    found = {name: {word.lower() for word in _by_case(dataset, name).values() if word} for name in names}
    return tuple(name for name, words in found.items() if len(words) > 1 and words <= WORDS.keys())


def import_split(decoded: DecodedDataset, source: str) -> Split:
    """The split in a file, or in the column `source` of the data set; `SplitError` names what is wrong.

    Names in a file are of cases or of patients. Cases without a mask, and those that are not named, are in no part.
    """
    require_told(decoded.dataset)
    dataset = decoded.dataset
    words = _of_file(dataset, Path(source)) if Path(source).is_file() else _by_case(dataset, source)
    if not any(words.values()):
        known = ", ".join(split_columns(dataset)) or "none"
        raise SplitError(f"--from {source}: neither a file nor a column of the data. Columns with parts: {known}.")
    members: dict[PartName, list[str]] = {part: [] for part in PARTS}
    for record in labelled(dataset):
        word = words.get(record.case, "")
        if word and word.lower() not in WORDS:
            raise SplitError(f"{source}: {word!r} of case {record.case} is no part. Use train, validation and test.")
        if word:
            members[WORDS[word.lower()]].append(record.case)
    fold = Partition(**{part: tuple(cases) for part, cases in members.items()})
    patient_of = {record.case: record.patient for record in labelled(dataset)}
    split = Split("imported", 0, decoded.data_hash, False, patient_of, (fold,), dataset.patients_known)
    try:
        split.validate()
    except SplitError as error:
        raise SplitError(f"{source}: {error}") from error
    return split


def _by_case(dataset: SliceDataset, name: str) -> dict[str, str]:
    """A column's value for each case, from the case's own row or its patient's facts."""
    own = dataset.columns.get(name, {})
    return {
        record.case: own.get(record.case, "") or dataset.attributes.get(record.patient, {}).get(name, "")
        for record in dataset.records
    }


def _of_file(dataset: SliceDataset, path: Path) -> dict[str, str]:
    named = list(_of_json(path) if path.suffix.lower() == ".json" else _of_csv(path))
    cases: dict[str, list[str]] = {}
    for record in dataset.records:
        for name in dict.fromkeys((record.case, record.patient)):
            cases.setdefault(name, []).append(record.case)
    words: dict[str, str] = {}
    for name, word in named:
        if name not in cases:
            raise SplitError(f"{path}: {name!r} is neither a case nor a patient of {dataset.path}. Correct the name.")
        for case in cases[name]:
            if words.setdefault(case, word) != word:
                raise SplitError(f"{path}: case {case} is in {words[case]} and in {word}. Name it once.")
    return words


def _of_json(path: Path) -> Iterable[tuple[str, str]]:
    lists = read_json(path, dict[str, list[str | int]], what=WHAT, remedy="Correct it.", error=SplitError)
    if not lists or not all(word.lower() in WORDS for word in lists):
        raise SplitError(f"{path}: expected {WHAT}.")
    return [(str(name), word) for word, names in lists.items() for name in names]


def _of_csv(path: Path) -> Iterable[tuple[str, str]]:
    rows = read_rows(path, what=WHAT)
    columns = rows[0].keys() if rows else set()
    named = next((name for name in ("case", "patient") if name in columns), None)
    if named is None or "split" not in columns:
        raise SplitError(f"{path}: expected {WHAT}.")
    return [(row[named], row["split"]) for row in rows if row["split"]]
