"""A table of slices, for data that lies in any other way."""

import json
from pathlib import Path

import pytest

from segmed.core.errors import DataError
from segmed.data.layouts.manifest import write_manifest
from segmed.data.listing import Listing
from segmed.data.sources import list_dataset, open_dataset

ROWS = [
    {"slice_id": "x2", "patient": "p1", "image": "i/x2.png", "mask": "m/x2.png", "slice": 2, "site": "A", "note": "u"},
    {"slice_id": "y1", "patient": "p2", "image": "i/y1.png", "mask": "m/y1.png", "slice": 1, "site": "B", "note": "v"},
    {"slice_id": "x1", "patient": "p1", "image": "i/x1.png", "mask": "m/x1.png", "slice": 1, "site": "A", "note": "w"},
]


def make_manifest(root: Path, rows: list[dict[str, object]], name: str = "list.csv", delimiter: str = ",") -> Path:
    for row in rows:
        for key in ("image", "mask"):
            if row.get(key):
                (root / str(row[key])).parent.mkdir(exist_ok=True)
                (root / str(row[key])).write_bytes(b"pixels")
    path = root / name
    if name.endswith(".json"):
        path.write_text(json.dumps(rows))
    else:
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        path.write_text("\n".join(delimiter.join(map(str, line)) for line in lines))
    return path


@pytest.mark.parametrize(("name", "delimiter"), [("list.csv", ","), ("list.csv", ";"), ("list.json", "")])
def test_slices_come_by_patient_and_in_the_order_of_slices(tmp_path: Path, name: str, delimiter: str) -> None:
    dataset = open_dataset(make_manifest(tmp_path, ROWS, name, delimiter))
    assert [record.slice_id for record in dataset.records] == ["x1", "x2", "y1"]
    assert dataset.records[0].image == tmp_path / "i" / "x1.png"
    assert dataset.records[0].mask == tmp_path / "m" / "x1.png"


def test_other_columns_are_attributes_where_they_hold_for_the_whole_patient(tmp_path: Path) -> None:
    dataset = open_dataset(make_manifest(tmp_path, ROWS))
    assert dataset.attributes == {"p1": {"site": "A"}, "p2": {"site": "B"}}


def test_without_slice_numbers_the_order_of_rows_counts(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "slice"} for row in ROWS]
    records = open_dataset(make_manifest(tmp_path, rows)).records
    assert [(record.slice_id, record.slice_index) for record in records] == [("x2", 1), ("x1", 2), ("y1", 1)]


@pytest.mark.parametrize("name", ["list.csv", "list.json"])
def test_slice_numbers_in_some_rows_alone_are_refused_with_the_first_row_that_lacks_one(
    tmp_path: Path, name: str
) -> None:
    path = make_manifest(tmp_path, [ROWS[0], ROWS[1] | {"slice": ""}, ROWS[2] | {"slice": ""}], name)
    with pytest.raises(DataError, match=rf"{name}: row 2 has no slice, and other rows have.* Number the slices of"):
        open_dataset(path)


def test_masks_may_be_left_out(tmp_path: Path) -> None:
    records = open_dataset(make_manifest(tmp_path, [{"slice_id": "a", "patient": "p", "image": "a.png"}])).records
    assert records[0].mask is None


@pytest.mark.parametrize("slice_id", ["../../evil", "/tmp/evil", "a/../../b", "..\\evil", "C:\\evil"])
def test_a_slice_whose_name_is_a_path_out_of_a_folder_is_refused(tmp_path: Path, slice_id: str) -> None:
    path = make_manifest(tmp_path, [*ROWS, ROWS[0] | {"slice_id": slice_id, "image": "other.png"}])
    with pytest.raises(DataError, match=r"list\.csv: row 4: slice_id '.*' is a path"):
        open_dataset(path)


def test_a_slice_may_name_a_folder_within(tmp_path: Path) -> None:
    rows = [{"slice_id": "p1/a..b", "patient": "p1", "image": "a.png"}]
    assert open_dataset(make_manifest(tmp_path, rows)).records[0].slice_id == "p1/a..b"


def test_a_slice_listed_twice_is_refused(tmp_path: Path) -> None:
    path = make_manifest(tmp_path, [*ROWS, ROWS[0] | {"image": "other.png"}])
    with pytest.raises(DataError, match=r"list\.csv: row 4: slice 'x2' is listed twice"):
        open_dataset(path)


@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_file_listed_for_two_slices_is_refused(tmp_path: Path, column: str) -> None:
    path = make_manifest(tmp_path, [ROWS[0], ROWS[1] | {column: ROWS[0][column]}])
    with pytest.raises(DataError, match=r"x2\.png: listed for slice x2 and for slice y1"):
        open_dataset(path)


@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, column: str) -> None:
    path = make_manifest(tmp_path, ROWS)
    (tmp_path / str(ROWS[1][column])).unlink()
    with pytest.raises(DataError, match=rf"y1\.png: not found \({column} of slice y1\)"):
        open_dataset(path)


@pytest.mark.parametrize("column", ["slice_id", "patient", "image"])
def test_an_empty_required_value_is_refused(tmp_path: Path, column: str) -> None:
    path = make_manifest(tmp_path, [ROWS[0] | {column: ""}])
    with pytest.raises(DataError, match=f"row 1 has no {column}"):
        open_dataset(path)


def test_a_slice_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="slice 'last' is not a whole number"):
        open_dataset(make_manifest(tmp_path, [ROWS[0] | {"slice": "last"}]))


@pytest.mark.parametrize("text", ["{}", "[1]", "not json"])
def test_json_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(DataError, match=r"list\.json"):
        open_dataset(tmp_path / "list.json")


@pytest.mark.parametrize("content", [b"", b"slice_id,patient,image\n", b"\xff\xfe\x00"])
def test_a_csv_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"list\.csv: .*expected a manifest with columns slice_id"):
        open_dataset(tmp_path / "list.csv")


def test_a_written_manifest_gives_the_same_data_set_from_another_folder(tmp_path: Path) -> None:
    dataset = open_dataset(make_manifest(tmp_path, ROWS))
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "list.csv"
    write_manifest(path, dataset)
    again = open_dataset(path)
    assert again.attributes == dataset.attributes
    assert [(r.slice_id, r.patient, r.slice_index) for r in again.records] == [
        (r.slice_id, r.patient, r.slice_index) for r in dataset.records
    ]
    assert [record.image.resolve() for record in again.records] == [record.image for record in dataset.records]
    assert "../i/x1.png" in path.read_text()


def test_a_written_manifest_keeps_columns_that_differ_among_the_slices_of_a_patient(tmp_path: Path) -> None:
    dataset = open_dataset(make_manifest(tmp_path, ROWS))
    write_manifest(tmp_path / "again.csv", dataset)
    assert dataset.columns["note"] == {"x2": "u", "y1": "v", "x1": "w"}
    assert open_dataset(tmp_path / "again.csv").columns == dataset.columns


def test_a_fact_whose_name_begins_like_that_of_an_image_makes_no_volumes_of_slices(tmp_path: Path) -> None:
    rows = [row | {"image_quality": quality} for row, quality in zip(ROWS, ("good", "poor", "good"), strict=True)]
    dataset = open_dataset(make_manifest(tmp_path, rows))
    assert [record.slice_id for record in dataset.records] == ["x1", "x2", "y1"]
    assert dataset.columns["image_quality"] == {"x2": "good", "y1": "poor", "x1": "good"}
    write_manifest(tmp_path / "again.csv", dataset)
    assert open_dataset(tmp_path / "again.csv").columns == dataset.columns


def test_a_written_manifest_leaves_absent_masks_empty(tmp_path: Path) -> None:
    dataset = open_dataset(make_manifest(tmp_path, [{"slice_id": "a", "patient": "p", "image": "a.png"}]))
    write_manifest(tmp_path / "again.csv", dataset)
    assert open_dataset(tmp_path / "again.csv").records[0].mask is None


def test_a_data_set_is_opened_again_by_the_manifest_that_it_was_opened_by(tmp_path: Path) -> None:
    path = make_manifest(tmp_path, ROWS, "any name.csv")
    dataset = open_dataset(path)
    assert dataset.path == path
    assert open_dataset(dataset.path).records == dataset.records


def listed(root: Path, **row: str) -> Listing:
    path = root / "list.json"
    path.write_text(json.dumps([{"slice_id": "a", "patient": "p", **row}]))
    return list_dataset(path)


def test_paths_with_back_slashes_are_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    listing = listed(tmp_path, image="images\\a.png")
    assert listing.findings == ()
    assert listing.dataset.records[0].image == tmp_path / "images" / "a.png"


@pytest.mark.parametrize(("on_disk", "written"), [("e\u0301.png", "\u00e9.png"), ("\u00e9.png", "e\u0301.png")])
def test_names_in_the_other_form_of_unicode_are_found(tmp_path: Path, on_disk: str, written: str) -> None:
    (tmp_path / on_disk).touch()
    assert listed(tmp_path, image=written).dataset.records[0].image == tmp_path / on_disk


def test_a_patient_in_two_forms_of_unicode_is_one(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"patient": "\u00e9"}, ROWS[2] | {"patient": "e\u0301"}]
    assert open_dataset(make_manifest(tmp_path, rows)).patients == ("\u00e9",)


def test_an_image_that_is_its_own_mask_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    for mask in ("a.png", "link.png"):
        (finding,) = listed(tmp_path, image="a.png", mask=mask).findings
        assert (finding.severity, finding.code) == ("error", "own-mask")
        assert "the same file as its image (slice a)" in finding.message


def test_an_npz_file_may_hold_image_and_mask(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    assert listed(tmp_path, image="a.npz", mask="a.npz").findings == ()


def test_a_name_that_no_file_can_have_is_refused_with_its_length(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: image has a name of 304 bytes"):
        listed(tmp_path, image="x" * 300 + ".png")


def test_a_manifest_of_0_1_which_calls_slices_cases_reads_alike(tmp_path: Path) -> None:
    present = open_dataset(make_manifest(tmp_path, ROWS))
    former = [{"case" if name == "slice_id" else name: value for name, value in row.items()} for row in ROWS]
    assert open_dataset(make_manifest(tmp_path, former)) == present


VISITS = [
    {"slice_id": f"{case}_{number}", "case": case, "patient": case[:2], "image": f"i/{case}_{number}.png"}
    for case in ("p1 before", "p1 after", "p2")
    for number in (1, 2)
]


@pytest.mark.parametrize("told", [True, False])
def test_the_column_case_beside_the_slice_id_names_the_volume(tmp_path: Path, told: bool) -> None:
    rows = VISITS if told else [{name: row[name] for name in ("slice_id", "case", "image")} for row in VISITS]
    dataset = open_dataset(make_manifest(tmp_path, rows))
    found = [(record.slice_id, record.volume, record.slice_index) for record in dataset.records]
    assert found == [(f"{case}_{n}", case, n) for case in ("p1 before", "p1 after", "p2") for n in (1, 2)]
    assert dataset.patients == (("p1", "p2") if told else ("p1 before", "p1 after", "p2"))
    assert dataset.patients_known == told
    assert not dataset.columns
    write_manifest(tmp_path / "again.csv", dataset)
    assert open_dataset(tmp_path / "again.csv").records == dataset.records


def test_a_case_of_two_patients_is_refused(tmp_path: Path) -> None:
    path = make_manifest(tmp_path, [*VISITS[:4], VISITS[4] | {"case": "p1 after"}])
    with pytest.raises(DataError, match=r"list\.csv: case p1 after is of patients p1 and p2\. Give each volume a name"):
        open_dataset(path)


def test_a_case_of_two_patients_that_the_ids_tell_of_is_refused(tmp_path: Path) -> None:
    rows = [
        {"slice_id": f"{patient}_{n}", "case": "v", "image": f"i/{patient}{n}.png"} for patient in "ab" for n in (1, 2)
    ]
    with pytest.raises(DataError, match="case v is of patients a and b"):
        open_dataset(make_manifest(tmp_path, rows), patient_regex="^(.)_")


def test_a_case_called_as_another_patient_whose_slices_name_none_is_refused(tmp_path: Path) -> None:
    rows = [
        {"slice_id": "a_1", "case": "B", "patient": "A", "image": "i/a.png"},
        {"slice_id": "b_1", "case": "", "patient": "B", "image": "i/b.png"},
    ]
    with pytest.raises(DataError, match=r"case B is of patients (A and B|B and A)"):
        open_dataset(make_manifest(tmp_path, rows))
