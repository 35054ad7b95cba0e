"""A folder of DICOM studies as a data set: masks find their series by what they name, and patients stay unnamed."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from commands import TINY, segmed
from dicom_phantoms import PATIENT, stackable, write_series
from segmed.core.errors import DataError
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.labels import LabelMap
from segmed.core.stacking import stacking
from segmed.core.volume import Grid, Volume
from segmed.data.decoded import decode
from segmed.data.sources import layout_of, list_dataset, open_dataset
from segmed.io.converting import read_any, read_source
from segmed.io.dicom.references import mask_header, read_named_labels
from segmed.io.dicom.series import find_series
from segmed.io.dicom.writing import write_segmentation, write_structures

COS, SIN = np.cos(0.1), np.sin(0.1)
GRID = stackable(
    Grid(
        (4, 20, 24), np.array([[4 * SIN, 0, -1.2 * COS, 9], [0, -1.1, 0, 5], [4 * COS, 0, 1.2 * SIN, -7], [0, 0, 0, 1]])
    )
)
LABELS = (Label(1, "oedema"), Label(2, "core"))
SECRETS = [value for value in PATIENT.values() if "T1" not in value] + ["Quillfeather", "MRN-7788123", "1.2.826"]


def of_patient(number: int) -> Callable[[int, Dataset], None]:
    def change(_: int, dataset: Dataset) -> None:
        dataset.PatientID = f"{PATIENT['PatientID']}-{number}"
        dataset.FrameOfReferenceUID = f"1.2.826.9.{number}"

    return change


def image_of(seed: int) -> Volume:
    return Volume(np.random.default_rng(seed).integers(50, 900, GRID.shape, np.uint16), GRID)


def labels_of(seed: int) -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:3, 4 + seed : 14, 5:16] = 1
    labels[1:3, 7 + seed : 11, 8 : 12 + seed] = 2
    return labels


def write_mask(path: Path, folder: Path, labels: np.ndarray, number: int, names: tuple[Label, ...] = LABELS) -> Path:
    series = next(each for each in find_series(folder).series if each.number == number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write = write_segmentation if "seg" in path.name else write_structures
    write(path, LabelVolume(Volume(labels, GRID), names), series)
    return path


def write_studies(root: Path, patients: int = 3) -> Path:
    """Each patient has series 3 with a mask and series 4 without: in one folder, or each in its own and deeper."""
    for seed in range(patients):
        home = root / f"p{seed}" / "study"
        for series in (3, 4):
            place = home if seed % 2 == 0 else home / f"s{series}"
            names = [f"{series}-{index}.dcm" for index in range(GRID.shape[0])]
            write_series(place, image_of(10 * seed + series), series=series, change=of_patient(seed), names=names)
        kind = "seg" if seed % 2 == 0 else "rtstruct"
        write_mask(home / f"{kind}.dcm", home, labels_of(seed), 3)
    return root


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_studies(tmp_path_factory.mktemp("dicom") / "set", 5)


def edited(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def blank(dataset: Dataset) -> None:
    for key in ("PatientName", "PatientID", "PatientBirthDate", "ReferringPhysicianName"):
        setattr(dataset, key, "")


def codes(listing_of: Path, labels: LabelMap | None = None) -> dict[str, str]:
    return {finding.code: finding.message for finding in list_dataset(listing_of, labels=labels).findings}


def test_series_with_masks_are_slices_with_the_voxels_of_both(studies: Path, tmp_path: Path) -> None:
    assert layout_of(studies) == "dicom"
    data = decode(open_dataset(studies), cache_dir=tmp_path)
    assert data.dataset.patients == ("p0", "p1", "p2", "p3", "p4")
    assert data.dataset.labels == LabelMap(("oedema", "core"), (0, 1, 2))
    assert data.dataset.patients_known
    cut = stacking(GRID)
    for seed in range(3):
        slice_ids = [record.slice_id for record in data.dataset.records if record.volume == f"p{seed}"]
        found = np.stack([data.image(slice_id)[..., 0] for slice_id in slice_ids])
        np.testing.assert_array_equal(found, cut.apply_array(image_of(10 * seed + 3).array))
        np.testing.assert_array_equal(
            np.stack([data.mask(slice_id) for slice_id in slice_ids]), cut.apply_array(labels_of(seed))
        )
        grid = data.grid(f"p{seed}")
        assert grid is not None
        assert grid.distance(cut.apply_grid(GRID)) < 1e-3
    assert "without a mask left out: 4 (MR, 4 slices" in codes(studies)["no-mask"]


def test_a_changed_slice_is_decoded_anew(studies: Path, tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 1)
    before = decode(open_dataset(root), cache_dir=tmp_path / "cache").data_hash
    edited(root / "p0" / "study" / "3-1.dcm", lambda dataset: setattr(dataset, "RescaleIntercept", 7))
    assert decode(open_dataset(root), cache_dir=tmp_path / "cache").data_hash != before


def test_labels_go_by_the_names_of_segments_whatever_their_numbers(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 2)
    swapped = (Label(1, "core"), Label(2, "oedema"))
    labels = labels_of(1)
    write_mask(root / "p1" / "study" / "rtstruct.dcm", root / "p1", np.where(labels, 3 - labels, 0), 3, swapped)
    data = decode(open_dataset(root), cache_dir=tmp_path / "cache")
    slice_ids = [record.slice_id for record in data.dataset.records if record.patient == "p1"]
    found = np.stack([data.mask(slice_id) for slice_id in slice_ids])
    np.testing.assert_array_equal(found, stacking(GRID).apply_array(labels))
    only = decode(open_dataset(root, labels=LabelMap(("core",), (0, 1))), cache_dir=tmp_path / "one")
    np.testing.assert_array_equal(
        np.stack([only.mask(slice_id) for slice_id in slice_ids]),
        stacking(GRID).apply_array(labels == 2).astype(np.uint8),
    )
    assert (
        "no mask has a segment 'liver'; there are core, oedema"
        in codes(root, LabelMap(("liver",), (0, 1)))["missing-label"]
    )


def test_segments_keep_their_names_where_the_one_label_that_is_given_has_none(studies: Path) -> None:
    assert list_dataset(studies, labels=LabelMap()).dataset.labels == list_dataset(studies).dataset.labels


def add_point(dataset: Dataset) -> None:
    """A structure that is no region, such as the isocentre of a treatment."""
    roi, points, contour = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = 9, "ISO", "MANUAL"
    roi.ReferencedFrameOfReferenceUID = dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    contour.ContourGeometricType, contour.NumberOfContourPoints, contour.ContourData = "POINT", 1, ["0", "0", "0"]
    points.ReferencedROINumber, points.ContourSequence = 9, [contour]
    dataset.StructureSetROISequence.append(roi)
    dataset.ROIContourSequence.append(points)


@pytest.mark.filterwarnings("ignore:.*1 point or open contour left out")
def test_a_point_in_a_structure_set_is_no_label(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 2)
    edited(root / "p1" / "study" / "rtstruct.dcm", add_point)
    data = decode(open_dataset(root), cache_dir=tmp_path / "cache")
    assert data.dataset.labels.names == ("oedema", "core")
    masks = [data.mask(record.slice_id) for record in data.dataset.records if record.volume == "p1"]
    np.testing.assert_array_equal(np.stack(masks), stacking(GRID).apply_array(labels_of(1)))


def test_a_structure_set_of_points_alone_is_left_out_with_a_note_and_is_no_empty_mask(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 2)

    def change(dataset: Dataset) -> None:
        add_point(dataset)
        del dataset.StructureSetROISequence[:-1], dataset.ROIContourSequence[:-1]

    shutil.copy(root / "p1" / "study" / "rtstruct.dcm", root / "p1" / "study" / "iso.dcm")
    edited(root / "p1" / "study" / "iso.dcm", change)
    listing = list_dataset(root)
    (told,) = [finding for finding in listing.findings if finding.code == "no-structures"]
    assert (told.severity, Path(told.where).name) == ("note", "iso.dcm")
    data = decode(listing.dataset, cache_dir=tmp_path / "cache")
    masks = [data.mask(record.slice_id) for record in data.dataset.records if record.volume == "p1"]
    np.testing.assert_array_equal(np.stack(masks), stacking(GRID).apply_array(labels_of(1)))


def test_a_structure_set_in_which_an_algorithm_drew_nothing_is_an_empty_mask(tmp_path: Path) -> None:
    path = write_studies(tmp_path / "set", 2) / "p1" / "study" / "rtstruct.dcm"

    def change(dataset: Dataset) -> None:
        for roi, drawn in zip(dataset.StructureSetROISequence, dataset.ROIContourSequence, strict=True):
            roi.ROIGenerationAlgorithm, drawn.ContourSequence = "AUTOMATIC", []

    edited(path, change)
    assert not read_named_labels(path, GRID, ("oedema", "core")).any()


def test_several_series_with_masks_are_volumes_of_one_patient(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 2)
    write_mask(root / "p0" / "study" / "seg4.dcm", root / "p0", labels_of(2), 4)
    dataset = open_dataset(root)
    assert dict.fromkeys(record.volume for record in dataset.records) == dict.fromkeys(["p0/3", "p0/4", "p1"])
    assert dataset.patients == ("p0", "p1")


def test_one_patient_in_two_folders_is_one_patient(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 2)
    for path in (root / "p1").rglob("*.dcm"):
        edited(path, lambda dataset: setattr(dataset, "PatientID", f"{PATIENT['PatientID']}-0"))
    assert open_dataset(root).patients == ("p0",)
    assert codes(root)["one-patient"].startswith("p0, p1 are of one patient by their headers")
    assert open_dataset(root, patient_regex="^p[0-9]").patients == ("p0", "p1")


def test_patients_of_an_exported_medium_are_told_apart_below_one_folder(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set" / "IMAGES", 2).parent
    assert open_dataset(root).patients == ("IMAGES/p0", "IMAGES/p1")
    assert ("note", "several-patients") in {(each.severity, each.code) for each in list_dataset(root).findings}


def unnamed(dataset: Dataset) -> None:
    """A segmentation that names no images, and so has its frame of reference alone."""
    del dataset.ReferencedSeriesSequence
    for group in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
        if "DerivationImageSequence" in group:
            del group.DerivationImageSequence


def test_a_mask_that_names_no_images_goes_by_its_frame_of_reference(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 1)
    edited(root / "p0" / "study" / "seg.dcm", unnamed)
    assert "has the frame of reference of 2 series" in codes(root)["missing-image"]
    for path in (root / "p0" / "study").glob("4-*"):
        path.unlink()
    assert [record.mask is not None for record in open_dataset(root).records] == [True] * 4


@pytest.mark.parametrize("kind", [0, 1])
def test_a_mask_without_its_images_or_in_another_frame_is_refused_by_name(tmp_path: Path, kind: int) -> None:
    root = write_studies(tmp_path / "set", 2)
    mask = root / f"p{kind}" / "study" / ("seg.dcm", "rtstruct.dcm")[kind]
    series = mask_header(mask).series
    assert len(series) == 1
    moved = "1.2.826.9.77"

    def change(dataset: Dataset) -> None:
        if kind == 0:
            dataset.FrameOfReferenceUID = moved
        else:
            for roi in dataset.StructureSetROISequence:
                roi.ReferencedFrameOfReferenceUID = moved

    edited(mask, change)
    assert "drawn in another frame of reference than the series has" in codes(root)["missing-image"]
    for path in (root / f"p{kind}").rglob("3-*"):
        path.unlink()
    found = codes(root)
    assert "refers to images that are not in this data set" in found["missing-image"]
    assert "no segmentation or structure set refers to its images" in found["missing-mask"]


def test_two_masks_of_one_series_are_refused_unless_labels_choose(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 1)
    write_mask(
        root / "p0" / "study" / "seg2.dcm", root / "p0", (labels_of(0) > 0).astype(np.uint8), 3, (Label(1, "liver"),)
    )
    assert "2 masks of series 3" in codes(root)["several-masks"]
    assert len(open_dataset(root, labels=LabelMap(("liver",), (0, 1))).records) == 4


def test_a_damaged_file_costs_its_patient_and_is_named(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 2)
    (root / "p1" / "study" / "s3" / "3-2.dcm").write_bytes(b"")
    found = codes(root)
    assert "named like a DICOM file" in found["bad-image"]
    assert {record.patient for record in list_dataset(root).dataset.records} == {"p0"}
    with pytest.raises(DataError, match=r"3-2\.dcm"):
        open_dataset(root)


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_a_patient_whose_files_are_all_cut_to_nothing_is_named(tmp_path: Path, suffix: str) -> None:
    root = write_studies(tmp_path / "set", 2)
    for path in root.rglob("*.dcm"):
        place = path.rename(path.with_suffix(suffix))
        if "p1" in path.parts:
            place.write_bytes(b"")
    (root / "README").write_text("Scans of 2020.\n")
    assert "named like a DICOM file, but damaged, cut off" in codes(root)["bad-image"]
    with pytest.raises(DataError, match=rf"p1/study/rtstruct{suffix}: named like"):
        open_dataset(root)


def test_images_beside_the_folders_of_patients_are_named(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 1)
    shutil.copy(root / "p0" / "study" / "4-1.dcm", root / "copy.dcm")
    (root / "DICOMDIR").write_bytes(b"")
    assert codes(root)["loose-image"] == "lies in no patient's folder. Put it into one."
    (root / "copy.dcm").write_bytes(b"")
    assert "damaged" in codes(root)["bad-image"]
    (root / "copy.dcm").unlink()
    assert not {"loose-image", "bad-image"} & codes(root).keys()


def test_series_without_an_identifier_are_of_their_folders_patient_or_said_to_be_unknown(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set" / "all", 3)
    for path in [*(root / "p1").rglob("4-*"), *(root / "p2").rglob("*.dcm")]:
        edited(path, lambda dataset: setattr(dataset, "PatientID", ""))
    for path in (root / "p1").rglob("3-*"):
        edited(path, lambda dataset: setattr(dataset, "PatientID", f"{PATIENT['PatientID']}-0"))
    dataset = open_dataset(root)
    assert dataset.patients == ("p0", "p2")  # p1 is p0 by series 3, and so is its series 4
    found = {(each.severity, each.code, Path(each.where).name) for each in list_dataset(root).findings}
    assert ("warning", "unnamed-patient", "p2") in found
    (root / "p0").rename(root.parent / "p0")
    for path in (root / "p1").rglob("*.dcm"):
        edited(path, lambda dataset: setattr(dataset, "PatientID", "another"))
    for path in (root / "p2").rglob("*.dcm"):
        edited(path, lambda dataset: setattr(dataset, "PatientID", "third"))
    told = {each.code: each for each in list_dataset(root.parent).findings if each.code == "several-patients"}
    assert told["several-patients"].severity == "warning"
    assert "who count as all/p1, all/p2" in told["several-patients"].message
    quiet = list_dataset(root.parent, patient_regex="(p[0-9])")
    assert "several-patients" not in {each.code for each in quiet.findings}


@pytest.mark.parametrize(
    ("kind", "planted", "blanked"),
    [
        ("seg", "core of Quillfeather", False), ("seg", "core of Quillfeather", True),
        ("rtstruct", "CORE_{PatientBirthDate}", False), ("rtstruct", "core {PatientID}", True),
    ],
)  # fmt: skip
def test_a_segments_name_that_tells_the_patient_is_withheld_and_said(
    tmp_path: Path, kind: str, planted: str, blanked: bool
) -> None:
    root = write_studies(tmp_path / "set", 1)
    (root / "p0" / "study" / "seg.dcm").unlink()
    name = planted.format(**PATIENT)
    file = write_mask(
        root / "p0" / "study" / f"{kind}.dcm", root / "p0", labels_of(0), 3, (Label(1, "oedema"), Label(2, name))
    )
    if blanked:  # as by a tool that takes the header's names out, and not those that people typed into labels
        edited(file, blank)
    listing = list_dataset(root)
    number = "2" if kind == "seg" else "structure 2"
    assert listing.dataset.labels.names == ("oedema", number)
    said = {each.code: each.message for each in listing.findings}
    assert "the name of segment 2 holds something of the patient's header" in said["withheld-label"]
    assert f"reach runs and reports: {', '.join(sorted(['oedema', number]))}" in said["label-names"]
    with pytest.warns(UserWarning, match="the name of segment 2 holds something of the patient's header"):
        read = read_any(file, source=read_source(root / "p0", 3))
    assert isinstance(read, LabelVolume)
    assert [label.name for label in read.labels] == ["oedema", number]
    with pytest.warns(UserWarning, match="the name of segment 2"):
        data = decode(listing.dataset, cache_dir=tmp_path / "cache")
    found = np.stack([data.mask(record.slice_id) for record in data.dataset.records])
    np.testing.assert_array_equal(found, stacking(GRID).apply_array(labels_of(0)))
    assert not any(secret in str(said) for secret in SECRETS)


def test_images_without_any_mask_are_all_listed(tmp_path: Path) -> None:
    root = write_studies(tmp_path / "set", 1)
    (root / "p0" / "study" / "seg.dcm").unlink()
    assert {record.volume for record in open_dataset(root).records} == {"p0/3", "p0/4"}


def test_the_whole_way_names_no_patient(studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMED_CACHE", str(tmp_path / "cache"))
    said = [segmed("data", "check", studies)]
    assert re.search(r"patients +│ +5 ", said[0])
    said.append(segmed("data", "split", studies, "-o", tmp_path / "split.json"))
    split = tmp_path / "split.json"
    said.append(
        segmed("train", *TINY, "--set", "augment=mri", "--data", studies, "--split", split, "-o", tmp_path / "run")
    )
    assert "reads channels [0] of the data, model.channels 1" in (tmp_path / "run" / "log.txt").read_text()
    said.append(segmed("evaluate", tmp_path / "run", "--data", studies, "--resamples", 100))
    said.append(segmed("predict", tmp_path / "run", studies / "p0", "--series", 3, "-o", tmp_path / "masks"))
    assert len(list((tmp_path / "masks").rglob("*.nii.gz"))) == 1
    for text, whose in ((said[2], studies), (said[-1], "the run's data")):
        assert f"names that DICOM headers of {whose} give labels, oedema, core, reach" in " ".join(str(text).split())
    written = list(tmp_path.rglob("*"))
    content = b"".join(path.read_bytes() for path in written if path.is_file())
    for secret in SECRETS:
        assert secret.encode() not in content, secret
        assert not any(secret in path.name for path in written), secret
        assert not any(secret in str(line) for line in said), secret
