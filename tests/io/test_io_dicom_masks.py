"""DICOM segmentations and structure sets in and out, checked by highdicom, pydicom and matplotlib."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from pydicom.sr.codedict import codes

from dicom_phantoms import MR, PATIENT, stackable, write_enhanced, write_series
from segmed import read_volume
from segmed.core.errors import DataError
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.stacking import Stacking
from segmed.core.volume import Grid, Volume
from segmed.io.dicom.contours import filled, outlines
from segmed.io.dicom.reading import read_dicom_labels
from segmed.io.dicom.series import Series, find_series
from segmed.io.dicom.writing import Algorithm, write_segmentation, write_structures
from volume_phantoms import grid_of

LPS = np.array([-1, -1, 1])


def scene(folder: Path, seed: int, *, enhanced: bool = False, tilt: bool = False) -> tuple[Series, LabelVolume]:
    """A series on an oblique odd-sized grid, and blobs with holes and two labels on it."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(side) for side in rng.choice([5, 7, 9, 11], 3))
    grid = stackable(Grid((shape[0], shape[1], shape[2]), grid_of(seed).affine))
    if tilt:
        affine = grid.affine.copy()
        affine[:3, 0] += 0.2 * affine[:3, 1]
        grid = Grid(grid.shape, affine)
    image = Volume(rng.integers(0, 99, grid.shape, dtype=np.uint16), grid)
    folder.mkdir(exist_ok=True)
    write_enhanced(folder / "a", image) if enhanced else write_series(folder, image)
    labels = (rng.random(grid.shape) < 0.5).astype(np.uint8)
    labels[rng.random(grid.shape) < 0.2] = 2
    labels[0] = 0  # a slice without any
    named = (Label(1, "oedema", (200, 30, 40)), Label(2, "core"))
    return find_series(folder).series[0], LabelVolume(Volume(labels, grid), named)


def turned(mask: LabelVolume) -> LabelVolume:
    """The same mask, stored in another order of its voxels."""
    return LabelVolume(Stacking((2, 0, 1), (True, False, True)).apply(mask.volume), mask.labels)


def same(found: LabelVolume, expected: LabelVolume) -> None:
    np.testing.assert_array_equal(found.volume.array, expected.volume.array)
    assert found.volume.grid.distance(expected.volume.grid) < 1e-2
    assert [(label.value, label.name) for label in found.labels] == [
        (label.value, label.name) for label in expected.labels
    ]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_masks_as_segmentations_come_back_and_highdicom_agrees(
    tmp_path_factory: pytest.TempPathFactory, seed: int, enhanced: bool
) -> None:
    folder = tmp_path_factory.mktemp("seg")
    series, mask = scene(folder / "images", seed, enhanced=enhanced)
    write_segmentation(folder / "seg.dcm", turned(mask), series, Algorithm("unet-cpu", "7"))
    same(read_dicom_labels(folder / "seg.dcm", grid=mask.volume.grid), mask)
    theirs = hd.seg.segread(folder / "seg.dcm")
    volume = theirs.get_volume(combine_segments=True, rtol=1e-3)
    voxels = np.argwhere(volume.array > 0)
    places = volume.map_indices_to_reference(voxels) * LPS
    affine = mask.volume.grid.affine
    indices = (places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(indices - np.rint(indices)).max(initial=0) < 0.05
    ours = np.zeros_like(mask.volume.array)
    ours[tuple(np.rint(indices).astype(int).T)] = volume.array[tuple(voxels.T)]
    np.testing.assert_array_equal(ours, mask.volume.array)
    described = theirs.get_segment_description(1)
    assert described.segment_label == "oedema"
    (algorithm,) = described.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("unet-cpu", "7")
    assert theirs.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    np.testing.assert_allclose(read_dicom_labels(folder / "seg.dcm").labels[0].colour, (200, 30, 40), atol=2)


def written(path: Path, series: Series, array: np.ndarray, kind: str, *, omit: bool = True, segments: int = 2) -> None:
    """A segmentation as highdicom writes it."""
    images = [pydicom.dcmread(frame.file) for frame in series.stack().frames]
    algorithm = hd.AlgorithmIdentificationSequence("other", codes.DCM.ArtificialIntelligence, "1")
    tissue = codes.SCT.AnatomicalStructure
    described = [
        hd.seg.SegmentDescription(n + 1, f"organ {n + 1}", tissue, tissue, "AUTOMATIC", algorithm)
        for n in range(segments)
    ]
    hd.seg.Segmentation(
        images, array, kind, described, hd.UID(), 9, hd.UID(), 1, "maker", "model", "1", "0",
        omit_empty_frames=omit, max_fractional_value=100,
    ).save_as(path)  # fmt: skip


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("seed", [1, 2])
def test_segmentations_of_other_tools_are_read_with_frames_left_out(tmp_path: Path, kind: str, seed: int) -> None:
    series, mask = scene(tmp_path / "images", seed)
    labels = mask.volume.array.copy()
    labels[2] = labels[-1] = 0
    stored: np.ndarray = labels
    if kind == "FRACTIONAL":
        stored = np.stack([np.where(labels == each, 0.8, 0.3) for each in (1, 2)], axis=-1)
        stored[~labels.astype(bool)] = 0
    written(tmp_path / "seg.dcm", series, stored, kind)
    if kind != "FRACTIONAL":
        assert pydicom.dcmread(tmp_path / "seg.dcm").NumberOfFrames < 2 * len(labels)
    found = read_dicom_labels(tmp_path / "seg.dcm", grid=mask.volume.grid)
    np.testing.assert_array_equal(found.volume.array, labels)
    own = read_dicom_labels(tmp_path / "seg.dcm")
    filled_slices = np.flatnonzero(labels.any(axis=(1, 2)))
    np.testing.assert_array_equal(own.volume.array, labels[filled_slices[0] : filled_slices[-1] + 1])
    assert (
        own.volume.grid.distance(Grid(own.volume.grid.shape, shifted(mask.volume.grid, int(filled_slices[0])))) < 1e-2
    )


def shifted(grid: Grid, slices: int) -> np.ndarray:
    affine = grid.affine.copy()
    affine[:3, 3] += slices * affine[:3, 0]
    return affine


def test_segments_that_overlap_are_refused_by_name_and_one_can_be_taken(tmp_path: Path) -> None:
    series, mask = scene(tmp_path / "images", 1)
    stored = np.stack([mask.volume.array == 1, mask.volume.array > 0], axis=-1).astype(np.uint8)
    written(tmp_path / "seg.dcm", series, stored, "BINARY")
    shared = int((mask.volume.array == 1).sum())
    with pytest.raises(DataError, match=f"organ 1 and organ 2 overlap in {shared} voxels"):
        read_volume(tmp_path / "seg.dcm")
    for segment in ("2", "organ 2"):
        found = read_dicom_labels(tmp_path / "seg.dcm", grid=mask.volume.grid, segments=[segment])
        np.testing.assert_array_equal(found.volume.array, 2 * (mask.volume.array > 0))
    with pytest.raises(DataError, match="no segment 'liver'; it has 1 organ 1, 2 organ 2"):
        read_dicom_labels(tmp_path / "seg.dcm", segments=["liver"])


def test_an_empty_mask_is_written_and_read(tmp_path: Path) -> None:
    series, mask = scene(tmp_path / "images", 3)
    empty = LabelVolume(mask.volume.with_array(np.zeros_like(mask.volume.array)), mask.labels)
    write_segmentation(tmp_path / "seg.dcm", empty, series)
    same(read_dicom_labels(tmp_path / "seg.dcm", grid=mask.volume.grid), empty)


def test_labels_with_gaps_are_renumbered_with_a_warning(tmp_path: Path) -> None:
    series, mask = scene(tmp_path / "images", 3)
    volume = mask.volume.with_array(np.where(mask.volume.array == 2, 4, mask.volume.array).astype(np.uint8))
    brats = LabelVolume(volume, (Label(1, "necrosis"), Label(4, "enhancing")))
    with pytest.warns(UserWarning, match="so label 1 becomes 1, 4 becomes 2"):
        write_segmentation(tmp_path / "seg.dcm", brats, series)
    found = read_dicom_labels(tmp_path / "seg.dcm", grid=volume.grid)
    np.testing.assert_array_equal(found.volume.array, mask.volume.array)
    assert found.labels[1].name == "enhancing"


def test_a_mask_on_another_grid_is_refused_with_how_far_off_it_is(tmp_path: Path) -> None:
    series, mask = scene(tmp_path / "images", 3)
    moved = mask.volume.grid.affine.copy()
    moved[:3, 3] += 0.5 * moved[:3, 1]
    off = LabelVolume(Volume(mask.volume.array, Grid(mask.volume.grid.shape, moved)), mask.labels)
    for write in (write_segmentation, write_structures):
        with pytest.raises(DataError, match="not on the grid of its image: shifted by"):
            write(tmp_path / "a.dcm", off, series)
    assert not (tmp_path / "a.dcm").exists()
    write_segmentation(tmp_path / "seg.dcm", mask, series)
    with pytest.raises(DataError, match=r"seg\.dcm: not on the grid of its image: shifted by"):
        read_volume(tmp_path / "seg.dcm", grid=off.volume.grid)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_masks_as_structure_sets_come_back_and_their_polygons_agree(
    tmp_path_factory: pytest.TempPathFactory, seed: int, enhanced: bool
) -> None:
    folder = tmp_path_factory.mktemp("rt")
    series, mask = scene(folder / "images", seed, enhanced=enhanced)
    write_structures(folder / "rtstruct.dcm", turned(mask), series)
    same(read_dicom_labels(folder / "rtstruct.dcm", grid=mask.volume.grid), mask)
    dataset = pydicom.dcmread(folder / "rtstruct.dcm")
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["oedema", "core"]
    known = set() if enhanced else {str(pydicom.dcmread(path).SOPInstanceUID) for path in series.files}
    for roi in dataset.ROIContourSequence:
        inside = np.zeros(mask.volume.grid.shape, int)
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3) * LPS
            affine = mask.volume.grid.affine
            indices = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
            assert np.ptp(indices[:, 0]) < 0.01
            centres = np.stack(np.indices(inside.shape[1:]), axis=-1).reshape(-1, 2)
            within = Polygon(indices[:, 1:]).contains_points(centres)
            inside[round(indices[0, 0])] += within.reshape(inside.shape[1:])
            if not enhanced:
                assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in known
        ours = mask.volume.array == roi.ReferencedROINumber
        assert 2 * (ours & (inside % 2 == 1)).sum() >= 0.99 * (ours.sum() + (inside % 2).sum())


def test_a_tilted_series_keeps_the_places_of_its_masks(tmp_path: Path) -> None:
    series, mask = scene(tmp_path / "images", 6, tilt=True)
    with pytest.warns(UserWarning, match="gantry tilt"):
        write_structures(tmp_path / "rtstruct.dcm", mask, series)
    same(read_dicom_labels(tmp_path / "rtstruct.dcm", grid=mask.volume.grid), mask)
    with pytest.warns(UserWarning, match="gantry tilt"):
        write_segmentation(tmp_path / "seg.dcm", mask, series)
    same(read_dicom_labels(tmp_path / "seg.dcm", grid=mask.volume.grid), mask)


def structures(path: Path, contours: Sequence[np.ndarray], kind: str = "CLOSED_PLANAR", frame: str = "1.2.3.9") -> Path:
    """A structure set with one structure of contours (x, y, z) in millimetres, LPS."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.4.5"
    roi, drawn = pydicom.Dataset(), pydicom.Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "GTV", frame
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, []
    for points in contours:
        contour = pydicom.Dataset()
        contour.ContourGeometricType, contour.ContourData = kind, [f"{each:.3f}" for each in np.ravel(points)]
        drawn.ContourSequence.append(contour)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [drawn]
    dataset.save_as(path, enforce_file_format=True)
    return path


AXIAL = Grid.of_columns_first((5, 9, 11), np.diag([1.0, 1, 2, 1]), "LPS")


def square(low: float, high: float, z: float) -> np.ndarray:
    return np.array([(low, low, z), (high, low, z), (high, high, z), (low, high, z)])


def test_a_contour_in_another_is_a_hole_and_several_of_a_slice_are_joined(tmp_path: Path) -> None:
    drawn = [square(0.6, 7.4, 2), square(2.6, 4.4, 2), square(-0.4, 0.4, 2)]
    found = read_volume(structures(tmp_path / "rt", drawn), grid=AXIAL)
    expected = np.zeros((5, 9, 11), np.uint8)
    expected[1, 1:8, 1:8], expected[1, 3:5, 3:5], expected[1, 0, 0] = 1, 0, 1
    np.testing.assert_array_equal(found.array, expected)


def test_contours_through_centres_hold_the_pixels_that_they_pass(tmp_path: Path) -> None:
    found = read_volume(structures(tmp_path / "rt", [square(2, 6, 2)]), grid=AXIAL)
    assert found.array[1, 2:7, 2:7].all()
    assert found.array.sum() == 25


@pytest.mark.parametrize(
    ("contours", "message"),
    [
        ([square(1, 5, 3)], r"GTV lie up to 1 mm off the slices"),
        ([square(1, 5, 12)], "lie outside of the image"),
        ([np.add(square(1, 5, 2), [[0, 0, 0], [0, 0, 0], [0, 0, 2], [0, 0, 2]])], "mm off the slices"),
        ([], "no closed contours"),
        ([np.zeros((2, 3))], "a closed contour of no three points"),
    ],
)
def test_contours_that_fit_no_slice_are_refused(tmp_path: Path, contours: list[np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_volume(structures(tmp_path / "rt", contours), grid=AXIAL)


def test_a_structure_set_needs_its_own_image(tmp_path: Path) -> None:
    path = structures(tmp_path / "rt", [square(1, 5, 2)])
    with pytest.raises(DataError, match="Name their image"):
        read_volume(path)
    with pytest.raises(DataError, match="another frame of reference"):
        read_dicom_labels(path, grid=AXIAL, frame_of_reference="9.9")
    with pytest.warns(UserWarning, match="on one of every 2 slices"):
        read_volume(structures(path, [square(1, 5, 0), square(1, 5, 4)]), grid=AXIAL)
    both = structures(path, [square(1, 5, 0)], "POINT")
    with pytest.raises(DataError, match="no closed contours"):
        read_volume(both, grid=AXIAL)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outlines_of_any_mask_fill_to_it_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 15, 2)) < rng.random()
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


def test_damaged_masks_are_refused_in_one_line_that_quotes_no_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series, mask = scene(tmp_path / "images", 1)
    write_segmentation(tmp_path / "seg.dcm", mask, series)
    write_structures(tmp_path / "rtstruct.dcm", mask, series)
    said, rng = list[str](), np.random.default_rng(0)
    for name in ("seg.dcm", "rtstruct.dcm"):
        whole = (tmp_path / name).read_bytes()
        assert PATIENT["PatientName"].encode() in whole  # as the standard wants
        for place in rng.integers(132, len(whole), 60):
            changed = bytearray(whole)
            changed[place] ^= 1 << int(rng.integers(8))
            for content in (bytes(changed), whole[:place]):
                (tmp_path / "b.dcm").write_bytes(content)
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        read_dicom_labels(tmp_path / "b.dcm", grid=mask.volume.grid)
                except DataError as error:
                    said.append(str(error))
    assert len(said) > 60
    assert [value for value in PATIENT.values() if value in "".join(said)] == []
    assert [text for text in said if "\n" in text] == []
    assert caplog.text == ""


@pytest.mark.parametrize("write", [write_segmentation, write_structures])
def test_a_cut_mask_is_refused_or_whole_wherever_it_is_cut(
    tmp_path: Path, write: Callable[[Path, LabelVolume, Series], None]
) -> None:
    series, mask = scene(tmp_path / "images", 5)
    write(tmp_path / "a.dcm", mask, series)
    whole, refused, ends = (tmp_path / "a.dcm").read_bytes(), 0, 0
    for end in range(1, len(whole), len(whole) // 80):
        (tmp_path / "b.dcm").write_bytes(whole[:end])
        ends += 1
        try:
            found = read_dicom_labels(tmp_path / "b.dcm", grid=mask.volume.grid)
        except DataError:
            refused += 1
            continue
        np.testing.assert_array_equal(found.volume.array, mask.volume.array)
    assert refused > 0.9 * ends


def test_anonymised_images_may_lack_what_the_standard_lets_be_empty(tmp_path: Path) -> None:
    series, mask = scene(tmp_path / "images", 1)
    for path in series.files:
        dataset = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                        "StudyID", "AccessionNumber", "ReferringPhysicianName", "SliceThickness"):  # fmt: skip
            delattr(dataset, keyword)
        dataset.save_as(path)
    for write in (write_segmentation, write_structures):
        write(tmp_path / "a.dcm", mask, series)
        same(read_dicom_labels(tmp_path / "a.dcm", grid=mask.volume.grid), mask)
    for path in series.files:
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    for write in (write_segmentation, write_structures):
        with pytest.raises(DataError, match="series 3 have no frame of reference"):
            write(tmp_path / "a.dcm", mask, find_series(tmp_path / "images").series[0])


def test_writing_quotes_no_patient_when_images_are_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    series, mask = scene(tmp_path / "images", 1)
    for path in series.files:
        dataset = pydicom.dcmread(path)
        del dataset.StudyInstanceUID, dataset.FrameOfReferenceUID
        dataset.save_as(path)
    for write in (write_segmentation, write_structures):
        with caplog.at_level(logging.DEBUG), pytest.raises(DataError) as caught:
            write(tmp_path / "a.dcm", mask, series)
        assert [value for value in PATIENT.values() if value in f"{caught.value}{caplog.text}"] == []
    assert MR == "1.2.840.10008.5.1.4.1.1.4"
