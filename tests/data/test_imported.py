"""A split of somebody else is taken by slice, case or patient, or refused in words; never ignored."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from commands import segmed
from segmed.core.errors import DataError, SplitError
from segmed.core.split import PARTS, Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.imported import import_split, split_columns
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import open_dataset
from toydata import write_toy

WORDS = ("train", "Training", "val", "test", "train", "TEST")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DecodedDataset:
    """Six patients with two slices each; the manifest says of each patient which part it is in."""
    root = tmp_path_factory.mktemp("data")
    dataset = open_dataset(write_toy(root, slices=2))
    words = dict(zip(dataset.patients, WORDS, strict=True))
    write_manifest(root / "manifest.csv", replace(dataset, attributes={p: {"split": w} for p, w in words.items()}))
    return decode(open_dataset(root))


def patients(split: Split) -> list[list[str]]:
    return [sorted({split.patient_of[slice_id][-1] for slice_id in split.fold(0).part(part)}) for part in PARTS]


EXPECTED = [["1", "2", "3"], ["5"], ["0", "4"]]


def test_a_column_is_known_as_a_split_and_taken(data: DecodedDataset) -> None:
    assert split_columns(data.dataset) == ("split",)
    split = import_split(data, "split")
    assert patients(split) == EXPECTED
    assert (split.data_hash, split.strategy) == (data.data_hash, "imported")


@pytest.mark.parametrize("by", ["slice_id", "case", "patient"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_lists_of_slices_and_of_patients_give_the_same_split(
    data: DecodedDataset, tmp_path: Path, by: str, form: str
) -> None:
    words = dict(zip(data.dataset.patients, WORDS, strict=True))
    field = "patient" if by == "patient" else "slice_id"  # a list of slices calls them `case` in 0.1
    named = dict.fromkeys((getattr(record, field), words[record.patient]) for record in data.dataset.records)
    path = tmp_path / f"lists.{form}"
    if form == "csv":
        path.write_text("\n".join([f"{by},split", *(f"{name},{word}" for name, word in named)]))
    else:
        path.write_text(json.dumps({word: [name for name, its in named if its == word] for word in WORDS}))
    assert patients(import_split(data, str(path))) == EXPECTED


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("patient,split\nnobody,train", "'nobody' is no slice, case or patient"),
        ("patient,split\n{0},train\n{0},test", "is in train and in test"),
        ("patient,split\n{0},learn", "'learn' of slice .* is no part"),
        ("slice_id,split\n{1},train\n{2},test", "is in both train and test"),
        ("name,part\n{0},train", "expected a CSV file with columns"),
    ],
)
def test_what_is_no_split_is_refused_in_words(data: DecodedDataset, tmp_path: Path, lines: str, why: str) -> None:
    first, second = data.dataset.records[:2]
    path = tmp_path / "lists.csv"
    path.write_text(lines.format(first.patient, first.slice_id, second.slice_id))
    with pytest.raises(SplitError, match=why):
        import_split(data, str(path))
    with pytest.raises(SplitError, match=r"--from institution: neither a file nor a column.*: split\."):
        import_split(data, "institution")


def test_numbers_that_name_patients_are_not_taken_for_slices_of_the_same_number(tmp_path: Path) -> None:
    dataset = open_dataset(write_toy(tmp_path / "toy", slices=2))
    number = {patient: str(place) for place, patient in enumerate(dataset.patients, start=1)}
    records = [
        replace(record, slice_id=str(place), patient=number[record.patient])
        for place, record in enumerate(dataset.records, start=1)
    ]
    data = decode(replace(dataset, records=tuple(records), attributes={}), cache_dir=tmp_path / "cache")
    path = tmp_path / "lists.csv"
    path.write_text("patient,split\n1,train\n2,train\n3,val\n4,test\n5,test\n6,train\n")
    assert patients(import_split(data, str(path))) == [["1", "2", "6"], ["3"], ["4", "5"]]
    path = path.with_suffix(".json")
    path.write_text(json.dumps({"train": [1, 2, 6], "val": [3], "test": [4, 5]}))
    with pytest.raises(SplitError, match="'2' is the name of a slice or case, and of another patient"):
        import_split(data, str(path))


def test_the_command_does_not_ignore_a_column_and_deals_anew_when_told(data: DecodedDataset, tmp_path: Path) -> None:
    root = data.dataset.root
    with pytest.raises(DataError, match=r"its column 'split' is a split already. Take it with --from split, or"):
        segmed("data", "split", root, "-o", tmp_path / "a.json")
    segmed("data", "split", root, "-o", tmp_path / "b.json", "--from", "split")
    assert patients(Split.load(tmp_path / "b.json")) == EXPECTED
    segmed("data", "split", root, "-o", tmp_path / "c.json", "--strategy", "patient")
    assert Split.load(tmp_path / "c.json").strategy == "patient"


def test_a_list_of_folds_as_nnunet_writes_it_gives_as_many_folds(data: DecodedDataset, tmp_path: Path) -> None:
    slice_ids = {
        name: [r.slice_id for r in data.dataset.records if r.patient == name] for name in data.dataset.patients
    }
    first, second, *others = slice_ids
    folds = [
        {"train": [slice_id for name in (kept, *others) for slice_id in slice_ids[name]], "val": slice_ids[left_out]}
        for kept, left_out in ((second, first), (first, second))
    ]
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps(folds))
    split = import_split(data, str(path))
    assert [fold.validation for fold in split.folds] == [tuple(slice_ids[first]), tuple(slice_ids[second])]
    assert [len(fold.train) for fold in split.folds] == [10, 10]
    said = segmed("data", "split", data.dataset.root, "-o", tmp_path / "a.json", "--from", path)
    assert "no fold has a test part: evaluate with --part validation" in " ".join(said.split())
    assert Split.load(tmp_path / "a.json").folds == split.folds


def test_what_the_data_set_brings_along_comes_before_the_current_folder(
    data: DecodedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *others = data.dataset.patients

    def of(patient: str) -> tuple[str, ...]:
        return tuple(record.slice_id for record in data.dataset.records if record.patient == patient)

    monkeypatch.chdir(tmp_path)
    Path("split").write_text(f"patient,split\n{first},train\n")  # a column of the data is called so
    assert patients(import_split(data, "split")) == EXPECTED
    for name in ("splits_final.json", "lists.json"):
        Path(name).write_text(json.dumps({"train": [first], "val": [second]}))
        (data.dataset.root / name).write_text(json.dumps({"train": others, "val": [first]}))
    try:
        assert import_split(data, "splits_final.json").fold(0).validation == of(first)
        assert import_split(data, "./splits_final.json").fold(0).validation == of(second)
        with pytest.raises(SplitError, match=r"lists.json: is in the current folder and in .*Write ./lists.json, or"):
            import_split(data, "lists.json")
    finally:
        for name in ("splits_final.json", "lists.json"):
            (data.dataset.root / name).unlink()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"val": ["nobody"]}, r"fold 1: 'nobody' is no slice, case or patient"),
        ({"val": ["{0}"], "test": ["{0}"]}, r"fold 1: slice .* is in val and in test"),
        ({"rest": []}, "expected a CSV file with columns"),
        ({}, "expected a CSV file with columns"),
    ],
)
def test_a_fold_that_is_none_is_refused_by_its_number(
    data: DecodedDataset, tmp_path: Path, change: dict[str, list[str]], why: str
) -> None:
    patient = data.dataset.patients[0]
    good = {"train": [patient]}
    second = {word: [name.format(patient) for name in names] for word, names in change.items()}
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([good, second]))
    with pytest.raises(SplitError, match=why):
        import_split(data, str(path))
