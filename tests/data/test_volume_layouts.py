"""Data sets of volumes: each layout gives the same slices in one orientation, and says what is wrong by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from commands import segmed
from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.stacking import Plane, stacking
from segmed.core.volume import Grid, Volume
from segmed.data.check import check
from segmed.data.decoded import decode
from segmed.data.imported import import_split
from segmed.data.layouts.manifest import write_manifest
from segmed.data.sources import layout_of, list_dataset, open_dataset
from segmed.data.splits import split_by_patient
from segmed.io.volumes import write_volume
from volume_phantoms import grid_of

SHAPE = (5, 9, 11)


def axial(shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (4.0, 1.0, 1.5)) -> Grid:
    """A grid whose slices go up, rows to the back and columns to the left: as it is cut, nothing is turned."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing[0], -spacing[1], -spacing[2], 1
    return Grid(shape, affine)


def image_of(seed: int, grid: Grid | None = None) -> Volume:
    grid = grid or axial()
    return Volume(np.random.default_rng(seed).integers(0, 900, grid.shape, np.int16), grid)


def mask_of(seed: int, grid: Grid | None = None, labels: int = 1) -> Volume:
    grid = grid or axial()
    return Volume(np.random.default_rng([seed, 1]).integers(0, labels + 1, grid.shape, np.uint8), grid)


def put(path: Path, volume: Volume) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, volume)
    return path


def folder_of(root: Path, names: tuple[str, ...] = ("liver_1", "liver_2", "liver_10"), *, masks: str = "masks") -> Path:
    for seed, name in enumerate(names):
        put(root / "images" / f"{name}.nii.gz", image_of(seed))
        put(root / masks / f"{name}.nii.gz", mask_of(seed))
    return root


def test_a_folder_of_volumes_is_read_as_slices_with_their_grid(tmp_path: Path) -> None:
    data = decode(open_dataset(folder_of(tmp_path / "set")), cache_dir=tmp_path / "cache")

    assert [record.slice_id for record in data.dataset.records][4:6] == ["liver_1_5", "liver_2_1"]
    assert data.dataset.patients == ("liver_1", "liver_2", "liver_10")
    assert data.dataset.patients_known
    np.testing.assert_array_equal(data.image("liver_2_3")[..., 0], image_of(1).array[2])
    np.testing.assert_array_equal(data.mask("liver_10_5"), mask_of(2).array[4])
    grid = data.grid("liver_10")
    assert grid is not None
    assert grid.is_same(axial())
    assert data.grid("nobody") is None
    again = decode(data.dataset, cache_dir=tmp_path / "cache")
    assert again.data_hash == data.data_hash
    assert again.grid("liver_1") is not None


def test_the_hash_knows_the_grid_and_the_plane_but_not_the_orientation_of_the_file(tmp_path: Path) -> None:
    def hashed(grid: Grid, plane: Plane = "acquired", *, stored_other_way: bool = False) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        image = image_of(0, grid)
        if stored_other_way:
            flipped = Grid(grid.shape, np.asarray(grid.affine) @ _flip(grid.shape))
            image = Volume(image.array[:, ::-1], flipped)
        put(root / "images" / "a.nii", image)
        return decode(open_dataset(root, plane=plane), cache_dir=tmp_path / "cache").data_hash

    plain = hashed(axial())
    assert hashed(axial(), stored_other_way=True) == plain
    assert len({plain, hashed(axial(spacing=(5.0, 1.0, 1.5))), hashed(axial(), "coronal")}) == 3


def _flip(shape: tuple[int, int, int]) -> np.ndarray:
    index = np.diag([1.0, -1.0, 1.0, 1.0])
    index[1, 3] = shape[1] - 1
    return index


@pytest.mark.parametrize("plane", ["acquired", "axial", "coronal", "sagittal"])
def test_slices_run_along_the_chosen_plane_and_go_back_exactly(tmp_path: Path, plane: Plane) -> None:
    grid = grid_of(5)
    put(tmp_path / "images" / "a.nii.gz", image_of(0, grid))
    put(tmp_path / "masks" / "a_seg.nii.gz", mask_of(0, grid))
    data = decode(open_dataset(tmp_path, plane=plane), cache_dir=tmp_path / "cache")
    cut = stacking(grid, plane)
    slices = np.stack([data.mask(record.slice_id) for record in data.dataset.records])
    np.testing.assert_array_equal(cut.undo(slices), mask_of(0, grid).array)


def test_volumes_nested_by_patient_say_whose_they_are(tmp_path: Path) -> None:
    for number, name in enumerate(("p01/first", "p01/second", "p02/first")):
        patient, point = name.split("/")
        put(tmp_path / "a" / "images" / f"{name}.nii.gz", image_of(number))
        put(tmp_path / "a" / "labels" / f"{name}_mask.nii.gz", mask_of(number))
        put(tmp_path / "b" / patient / "images" / f"{point}.nii.gz", image_of(number))
        put(tmp_path / "b" / patient / "masks" / f"{point}.nii.gz", mask_of(number))
    first, second = (open_dataset(tmp_path / name) for name in "ab")
    assert [(r.slice_id, r.patient, r.volume) for r in first.records] == [
        (r.slice_id, r.patient, r.volume) for r in second.records
    ]
    assert first.patients == ("p01", "p02")
    assert first.patients_known
    assert list(dict.fromkeys(record.volume for record in first.records)) == ["p01/first", "p01/second", "p02/first"]


def test_hidden_images_among_the_volumes_of_a_data_set_are_passed_over(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data")
    for name in (".thumb/x.png", "._liver_1.png"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(b"")
    assert list_dataset(root).findings == ()


def test_a_data_set_may_be_of_ome_tiffs(tmp_path: Path) -> None:
    grid = Grid(SHAPE, spacing=(4.0, 1.0, 1.5))
    for name in ("liver_1", "liver_2"):
        put(tmp_path / "images" / f"{name}.ome.tif", image_of(0, grid))
        put(tmp_path / "masks" / f"{name}.ome.tif", mask_of(0, grid))
    assert open_dataset(tmp_path).patients == ("liver_1", "liver_2")


def test_several_time_points_ask_who_the_patient_is(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "set", ("p1_1", "p1_2", "p2_1"))
    dataset = open_dataset(root)
    assert not dataset.patients_known
    with pytest.raises(DataError, match="p1_1 and p1_2 look like volumes of one patient"):
        split_by_patient(decode(dataset, cache_dir=tmp_path / "cache"))
    told = open_dataset(root, patient_regex="^(p[0-9]+)_")
    assert told.patients == ("p1", "p2")
    assert told.patients_known
    with pytest.raises(
        DataError, match=r"is a volume, and volumes have their slices\. Leave out the group slice, or move"
    ):
        open_dataset(root, patient_regex="^(.+)_(?P<slice>[0-9]+)$")


def nnunet(root: Path, channels: int = 2, ending: str = ".nii.gz") -> Path:
    for seed, name in enumerate(("brain_001", "brain_002", "brain_003", "brain_004")):
        for channel in range(channels):
            put(root / "imagesTr" / f"{name}_{channel:04d}{ending}", image_of(10 * seed + channel))
        put(root / "labelsTr" / f"{name}{ending}", mask_of(seed, labels=2))
    put(root / "imagesTs" / "brain_009_0000.nii.gz", image_of(99))
    described = {
        "channel_names": {str(channel): f"T{channel}" for channel in range(channels)},
        "labels": {"background": 0, "tumour": 2, "oedema": 1},
        "numTraining": 4,
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(described))
    return root


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_nnunets_volumes_may_have_any_ending_that_is_read(tmp_path: Path, ending: str) -> None:
    data = decode(open_dataset(nnunet(tmp_path / "Dataset002_Other", ending=ending)), cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(data.image("brain_003_2")[..., 1], image_of(21).array[1])


def test_an_ending_of_single_slices_is_refused_with_where_they_go(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "Dataset003_Flat")
    described = (root / "dataset.json").read_text()
    (root / "dataset.json").write_text(described.replace(".nii.gz", ".png"))
    with pytest.raises(DataError, match=r"file_ending \.png is not read.*\.nrrd.*images/ and masks/"):
        open_dataset(root)


def test_nnunets_raw_data_has_channels_labels_and_its_own_folds(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "Dataset001_Brain")
    data = decode(open_dataset(root), cache_dir=tmp_path / "cache")
    assert layout_of(root) == "nnunet"
    assert data.dataset.labels == LabelMap(("oedema", "tumour"), (0, 1, 2))
    assert data.shape("brain_001_1") == (9, 11, 2)
    np.testing.assert_array_equal(data.image("brain_003_2")[..., 1], image_of(21).array[1])

    folds = [{"train": ["brain_001", "brain_002"], "val": ["brain_003", "brain_004"]},
             {"train": ["brain_003", "brain_004"], "val": ["brain_001", "brain_002"]}]  # fmt: skip
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    split = import_split(data, str(tmp_path / "splits_final.json"))
    assert len(split.folds) == 2
    assert len(split.fold(0).train) == 10
    assert {split.patient_of[slice_id] for slice_id in split.fold(1).validation} == {"brain_001", "brain_002"}


def test_a_split_in_the_folder_of_the_data_is_taken_by_name_and_never_ignored_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    root = nnunet(tmp_path / "Dataset001_Brain")
    folds = [{"train": ["brain_001", "brain_002", "brain_003"], "val": ["brain_004"]}]
    (root / "splits_final.json").write_text(json.dumps(folds))
    out = ("-o", str(tmp_path / "split.json"), "--overwrite")
    with pytest.raises(
        DataError, match=r"its splits_final\.json is a split already\. Take it with --from splits_final"
    ):
        segmed("data", "split", root, *out)
    assert "splits_final.json is a split already, which is not used" in segmed(
        "data", "split", root, *out, "--strategy", "patient"
    )
    segmed("data", "split", root, *out, "--from", "splits_final.json")
    data = decode(open_dataset(root, patient_regex="^(brain_004|brain)"), cache_dir=tmp_path / "cache" / "decoded")
    assert {record.patient for record in data.dataset.records} == {"brain", "brain_004"}
    assert len(import_split(data, "splits_final.json").fold(0).train) == 15  # by the names of volumes


def test_masks_of_a_test_set_that_is_left_out_are_told(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "set")
    put(root / "labelsTs" / "brain_009.nii.gz", mask_of(9))
    (finding,) = list_dataset(root).findings
    assert (finding.severity, finding.code) == ("note", "test-set")


def test_the_decathlons_labels_are_read_the_other_way_round(tmp_path: Path) -> None:
    put(tmp_path / "imagesTr" / "liver_1.nii.gz", image_of(1))
    put(tmp_path / "labelsTr" / "liver_1.nii.gz", mask_of(1))
    (tmp_path / "imagesTr" / "._liver_1.nii.gz").write_bytes(b"a Mac was here")
    described = {"labels": {"0": "background", "1": "liver", "2": "cancer"}, "modality": {"0": "CT"}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    dataset = open_dataset(tmp_path)
    assert dataset.labels == LabelMap(("liver", "cancer"), (0, 1, 2))
    assert len(dataset.records) == 5


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"background": 0, "whole": [1, 2], "core": 2}, "'whole' is a region of several values"),
        ({"background": 0, "tumour": 1, "ignore": 2}, "a label to ignore"),
        ({"tumour": 1}, "labels need a background"),
        ({"background": 0, "tumour": -1}, r"dataset\.json: label 'tumour' with value -1, expected a name and a whole"),
        ({"background": 0, "tumour": "x"}, r"dataset\.json: label 'tumour' with value 'x', expected"),
        ({"background": 0, "tumour": 256}, r"dataset\.json: label 'tumour' with value 256, expected"),
        ({"0": "background", "1.0": "liver"}, r"dataset\.json: label '1\.0' with value 'liver', expected"),
        ({"0": "background", "1": "liver", "2": "liver"}, r"dataset\.json: label 'liver' has values 1 and 2"),
        ({"background": 0, "rim": 1, "core": 1}, r"dataset\.json: Stored label values must differ"),
    ],
)
def test_labels_that_are_no_plain_values_are_refused_by_name(tmp_path: Path, labels: object, said: str) -> None:
    root = nnunet(tmp_path)
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(DataError, match=said):
        open_dataset(root)


@pytest.mark.parametrize(("name", "enhancing"), [("BraTS2021_00005", 4), ("BraTS-GLI-00005-001", 3)])
def test_a_folder_of_brats_has_a_file_a_sequence(tmp_path: Path, name: str, enhancing: int) -> None:
    for channel, sequence in enumerate(("flair", "t1", "t1ce", "t2")):
        put(tmp_path / name / f"{name}_{sequence}.nii.gz", image_of(channel))
    labels = mask_of(0, labels=3).array
    put(tmp_path / name / f"{name}_seg.nii.gz", Volume(np.where(labels == 3, enhancing, labels), axial()))
    data = decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")
    assert data.shape(f"{name}_1") == (9, 11, 4)
    assert data.dataset.labels.stored == (0, 1, 2, enhancing)
    np.testing.assert_array_equal(data.mask(f"{name}_2"), labels[1])
    assert data.dataset.patients == (("BraTS-GLI-00005",) if enhancing == 3 else (name,))


def test_a_manifest_has_a_column_for_each_sequence(tmp_path: Path) -> None:
    for name in ("t1", "flair"):
        put(tmp_path / f"{name}.nii.gz", image_of(len(name)))
    put(tmp_path / "seg.nii.gz", mask_of(1))
    (tmp_path / "manifest.csv").write_text(
        "case,patient,image_t1,image_flair,mask,sex,split\nscan a,p1,t1.nii.gz,flair.nii.gz,seg.nii.gz,f,train\n"
    )
    dataset = open_dataset(tmp_path)
    record = dataset.records[0]
    assert [path.name for path in record.files] == ["t1.nii.gz", "flair.nii.gz", "seg.nii.gz"]
    assert (record.slice_id, record.patient, record.volume) == ("scan a_1", "p1", "scan a")
    assert dataset.attributes["p1"] == {"sex": "f", "split": "train"}
    assert dataset.columns["split"]["scan a_3"] == "train"

    write_manifest(tmp_path / "again.csv", dataset)
    again = open_dataset(tmp_path / "again.csv")
    assert again.records == dataset.records
    assert again.attributes == dataset.attributes


def test_a_written_manifest_keeps_columns_that_differ_among_the_volumes_of_a_patient(tmp_path: Path) -> None:
    for name in ("before", "after"):
        put(tmp_path / f"{name}.nii.gz", image_of(len(name)))
    (tmp_path / "manifest.csv").write_text(
        "case,patient,image,split\nbefore,p1,before.nii.gz,train\nafter,p1,after.nii.gz,test\n"
    )
    dataset = open_dataset(tmp_path)
    write_manifest(tmp_path / "again.csv", dataset)
    again = open_dataset(tmp_path / "again.csv")
    assert again.columns == dataset.columns
    assert {again.columns["split"]["before_1"], again.columns["split"]["after_5"]} == {"train", "test"}


def test_a_fact_whose_name_begins_like_that_of_a_sequence_is_none_beside_the_image(tmp_path: Path) -> None:
    put(tmp_path / "a.nii.gz", image_of(1))
    (tmp_path / "manifest.csv").write_text("case,patient,image,image_quality\na,p1,a.nii.gz,good\n")
    dataset = open_dataset(tmp_path)
    assert [path.name for path in dataset.records[0].files] == ["a.nii.gz"]
    assert dataset.attributes["p1"] == {"image_quality": "good"}


def test_a_manifest_says_which_row_lacks_a_sequence(tmp_path: Path) -> None:
    put(tmp_path / "t1.nii.gz", image_of(1))
    rows = "case,patient,image_t1,image_flair\na,p1,t1.nii.gz,t2.nii.gz\n"
    (tmp_path / "manifest.csv").write_text(rows)
    assert [(finding.code, finding.where) for finding in list_dataset(tmp_path).findings] == [
        ("missing-image", str(tmp_path / "t2.nii.gz"))
    ]
    (tmp_path / "manifest.csv").write_text(rows.replace("t2.nii.gz", ""))
    with pytest.raises(DataError, match="row 1 has no image_flair"):
        open_dataset(tmp_path)


def test_a_sequence_that_others_have_is_missed_by_name(tmp_path: Path) -> None:
    root = nnunet(tmp_path)
    (root / "imagesTr" / "brain_002_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"sequence _0001 of brain_002 is missing"):
        open_dataset(root)


def test_a_sequence_on_another_grid_is_resampled_with_a_warning(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(9.0)[None, :, None] * 10, SHAPE).copy()
    put(tmp_path / "images" / "a_0000.nii.gz", Volume(ramp, axial()))
    affine = np.array(axial().affine)
    affine[1, 3] -= 0.5  # half a row of 1 mm further to the back
    put(tmp_path / "images" / "a_0001.nii.gz", Volume(ramp, Grid(SHAPE, affine)))
    with pytest.warns(
        UserWarning,
        match=r"a_0001.nii.gz: lies on another grid than a_0000.nii.gz \(shifted by 0.5 mm along rows; 0.5 voxels",
    ):
        data = decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")
    np.testing.assert_allclose(data.image("a_1")[1:, :, 1], ramp[0, 1:] - 5, atol=1e-9)


def test_a_mask_on_another_grid_is_refused_and_never_resampled(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.nii.gz", image_of(0))
    affine = np.array(axial().affine)
    affine[0, 3] += 3
    put(tmp_path / "masks" / "a.nii.gz", mask_of(0, Grid(SHAPE, affine)))
    with pytest.raises(
        DataError, match=r"masks/a.nii.gz: lies on another grid than its image a.nii.gz: shifted by -3 mm along columns"
    ):
        decode(open_dataset(tmp_path), cache_dir=tmp_path / "cache")


def test_a_damaged_header_is_an_error_of_that_file(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    (root / "images" / "liver_2.nii.gz").write_bytes(b"no volume")
    with pytest.raises(DataError, match=r"liver_2.nii.gz: not a volume"):
        open_dataset(root)


def test_volumes_and_images_of_slices_in_one_folder_are_refused(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    (root / "images" / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"images: 1 image among volumes, such as b.png"):
        open_dataset(root)


def test_the_check_names_the_file_of_a_volume_and_counts_patients(tmp_path: Path) -> None:
    for seed, name in enumerate(("p1/a", "p1/b", "p2/a")):
        put(tmp_path / "images" / f"{name}.nii.gz", image_of(seed))
        put(tmp_path / "masks" / f"{name}.nii.gz", mask_of(seed))
    assert check(tmp_path).facts.patients == 2
    assert check(tmp_path).ok
    put(tmp_path / "masks" / "p1" / "b.nii.gz", mask_of(1, labels=3))
    report = check(tmp_path)
    assert [(finding.code, finding.where) for finding in report.errors] == [
        ("bad-mask", str(tmp_path / "masks" / "p1" / "b.nii.gz"))
    ]
    assert "mask value 2, 3 is not a label" in report.errors[0].message
